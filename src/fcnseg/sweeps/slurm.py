"""Jobs of a sweep as jobs of Slurm, which outlive the launcher and wait for each other by themselves."""

import os
import subprocess
import time
from contextlib import suppress

from fcnseg.disk import CLAIM, held, write_durably
from fcnseg.sweeps.batch import OUTCOME, SCRIPT, script, submission
from fcnseg.sweeps.command import inherited
from fcnseg.sweeps.job import Job, State
from fcnseg.sweeps.wishes import Wishes

PATIENCE_S = 60
"""Seconds for an answer of one of Slurm's programs."""

STATUS = {"COMPLETED": 0, "CANCELLED": 143, "PREEMPTED": 143}
"""Exit statuses that Slurm's last words for a job speak of; all others are failures."""

OVER = (
    *("COMPLETED", "CANCELLED", "PREEMPTED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL"),
    *("DEADLINE", "REVOKED"),
)
"""Slurm's states from which a job goes nowhere; it may be queued again from some, and then has another state."""

ASK = ("squeue", "--noheader", "--all", "--states=all", "--format=%i|%T")
"""Asks for the states of all jobs of a user that Slurm remembers: without accounting those of the last minutes."""


NAMES = ("squeue", "--noheader", "--format=%i|%j")
"""Asks for the names of a user's jobs; squeue cannot look for one that holds commas."""


class Slurm:
    """Submits jobs with sbatch and looks after them with squeue.

    Attributes:
        queues: Slurm takes a job before the one that it starts from has finished.
        wishes: what the jobs ask for.
        states: {number in Slurm: state}, as last seen.
    """

    queues = True

    def __init__(
        self,
        wishes: Wishes,
        *,
        max_jobs: int | None = None,
        wait: bool = True,
        cancel_on_exit: bool = False,
        poll_s: float = 10.0,
    ) -> None:
        """Makes sure that Slurm answers.

        Args:
            wishes: what the jobs ask for.
            max_jobs: jobs in Slurm at once; None is any number.
            wait: whether to look after the jobs until they have ended.
            cancel_on_exit: whether to cancel them when the launcher is told to end.
            poll_s: seconds between two looks at the queue.

        Raises:
            ValueError: a wish that cannot be, or there is no Slurm.
        """
        wishes.check()
        if max_jobs is not None and (max_jobs < 1 or not wait):
            raise ValueError(
                f"hydra.launcher.max_jobs={max_jobs} must be at least 1, and hydra.launcher.wait=true: somebody has to "
                "stay and submit the next one"
            )
        self.wishes, self.max_jobs, self.wait = wishes, max_jobs, wait
        self.cancel_on_exit, self.poll_s = cancel_on_exit, poll_s
        self.states: dict[str, str] = {}
        self._asked_at = float("-inf")
        self._live: set[str] = set()
        self._look()

    # ---- asking Slurm

    def _look(self) -> None:
        """Asks for the states, but not more often than Slurm should be; what it said before stands if it is silent.

        Raises:
            ValueError: it has not answered yet.
        """
        if time.monotonic() - self._asked_at < self.poll_s:
            return
        try:
            lines = ask(*ASK, f"--user={os.getuid()}").splitlines()
        except ValueError:
            if not self.states and not self._live:
                raise
        else:
            self.states = dict(line.strip().split("|", 1) for line in lines if "|" in line)
        self._asked_at = time.monotonic()

    def _is_live(self, number: str) -> bool:
        return self.states.get(number, "COMPLETED") not in OVER

    # ---- what the sweep asks for

    def start(self, job: Job, words: list[str]) -> bool:
        """Submits a job, or takes one over that an earlier launcher has submitted.

        Raises:
            ValueError: Slurm does not take it; says why.
        """
        if job.after is not None and job.after.state in (State.WAITING, State.ELSEWHERE):
            return False
        if self.max_jobs is not None and len(self._live) >= self.max_jobs:
            return False
        try:
            with held(job.folder / CLAIM, "another launcher looks after it"):
                return self._take(job, words)
        except FileExistsError as error:
            job.state, job.note = State.ELSEWHERE, str(error)
            return False

    def _take(self, job: Job, words: list[str]) -> bool:
        """Takes a job over or submits it, while no other launcher can; False if it is just ending."""
        known = str(job.recall().get("cluster_id"))
        if job.recall().get("cluster_id") and known not in self.states:  # another launcher's, of a moment ago
            self._asked_at = float("-inf")
        self._look()
        if self.states.get(known) == "COMPLETING" or job.results() is not None:
            return False
        job.cluster_id = known if self._is_live(known) else self._submit(job, words)
        self._live.add(job.cluster_id)
        self.states.setdefault(job.cluster_id, "PENDING")
        self._note(job, taken_over=job.cluster_id == known)
        return True

    def _submit(self, job: Job, words: list[str]) -> str:
        path = job.folder / SCRIPT
        text = script(self.wishes, job, words).encode()
        write_durably(path, lambda file: file.write(text))
        waits = job.after is not None and job.after.state is not State.FINISHED
        after = job.after.cluster_id if waits and job.after is not None else None
        with suppress(FileNotFoundError):
            (job.folder / OUTCOME).unlink()
        try:
            return ask(*("sbatch", *submission(job, job.folder.name, after), str(path))).split(";")[0]
        except SilentError:  # Slurm may have taken it all the same
            named = (line.partition("|") for line in ask(*NAMES, f"--user={os.getuid()}").splitlines())
            if (found := next((number for number, _, name in named if name == job.folder.name), None)) is None:
                raise
            return found.strip()

    def _note(self, job: Job, taken_over: bool) -> None:
        number = job.cluster_id
        if not self.wait:
            job.set(State.SUBMITTED, f"job {number} of Slurm; scancel {number} ends it")
            return
        before = "of an earlier launcher, " if taken_over else ""
        running = self.states.get(str(number)) == "RUNNING"
        job.started, job.first_step = time.time(), job.progress()[0]
        job.set(State.RUNNING if running else State.QUEUED, f"{before}job {number} of Slurm")

    def poll(self, job: Job) -> int | None:
        """Returns the exit status of a job that has ended; None while it waits or runs, and while Slurm is silent."""
        self._look()
        number = str(job.cluster_id)
        state = self.states.get(number)
        if self._is_live(number):
            self._follow(job, str(state))
            return None
        if job.after is not None and job.after.state in (State.QUEUED, State.RUNNING):
            return None  # cancelled because of that one, whose end the sweep has to see first
        self._live.discard(number)
        status = outcome(job)
        if status is None:
            status = STATUS.get(state, 1) if state is not None else vanished(job)
        return status

    def _follow(self, job: Job, state: str) -> None:
        now = State.QUEUED if state in ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD") else State.RUNNING
        if job.state is not now:
            job.started, job.first_step = time.time(), job.progress()[0]
            job.set(now, job.note)

    def stop(self, jobs: list[Job], at_once: bool) -> None:
        """Leaves the jobs to Slurm, or cancels them if that was asked for: then they save, and are waited for."""
        numbers = [str(job.cluster_id) for job in jobs]
        if numbers and self.cancel_on_exit:
            with suppress(ValueError):
                ask("scancel", *(["--full", "--signal=KILL"] if at_once else []), *numbers)
            return
        for job in jobs:
            job.set(State.SUBMITTED, f"goes on as job {job.cluster_id} of Slurm; scancel {job.cluster_id} ends it")

    def settled(self) -> None:
        """Does nothing: the jobs are Slurm's."""

    def close(self) -> None:
        """Does nothing: the jobs are Slurm's."""


class SilentError(ValueError):
    """Slurm does not answer in time."""


def ask(*command: str) -> str:
    """Returns what one of Slurm's programs says.

    Raises:
        SilentError: it does not answer.
        ValueError: it is not there, or refuses; with its own words.
    """
    try:
        done = subprocess.run(command, env=variables(), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except FileNotFoundError as error:
        raise ValueError(
            f"there is no {command[0]} on PATH: hydra/launcher=slurm needs a machine from which Slurm takes jobs; "
            "hydra/launcher=pool runs them on this one"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SilentError(f"{command[0]} does not answer within {PATIENCE_S} s") from error
    if done.returncode:
        raise ValueError(f"{command[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


def variables() -> dict[str, str]:
    """Returns the environment of the jobs: this one, without what belongs to another run or to a job around it."""
    # The node's Slurm says which GPUs a job has.
    return {key: value for key, value in inherited(os.environ).items() if key != "CUDA_VISIBLE_DEVICES"}


def outcome(job: Job) -> int | None:
    """Returns the exit status that the job's script has left; None if it is of another time, or there is none."""
    with suppress(OSError, ValueError):
        number, status = (job.folder / OUTCOME).read_text().split()
        return int(status) if number == job.cluster_id else None
    return None


def vanished(job: Job) -> int:
    """Returns the exit status of a job that squeue knows no more: by accounting, or by its results."""
    with suppress(ValueError):
        said = ask("sacct", "--noheader", "--allocations", "--parsable2", "--format=State", f"--jobs={job.cluster_id}")
        if said:
            return STATUS.get(said.split()[0], 1)
    return 0 if job.results() is not None else 1
