"""Carries out the jobs of a sweep: each when it can, none twice, and none because of another's failure."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from fcnseg.disk import CLAIM, held
from fcnseg.interruption import INTERRUPTED
from fcnseg.sweeps.backend import Backend
from fcnseg.sweeps.job import ENDED, Job, State
from fcnseg.sweeps.plan import Fingerprints
from fcnseg.sweeps.pool import meaning

POLL_S = 0.2
"""Seconds between two looks at the jobs."""

GRACE_S = 120.0
"""Seconds that jobs have for their checkpoints when the sweep is stopped."""


class Sweep:
    """The jobs, and what carries them out.

    Attributes:
        jobs: all of them.
        signal: the one that asked the sweep to end; 0 if none came.
    """

    def __init__(
        self,
        jobs: list[Job],
        backend: Backend,
        words: Callable[[Job], list[str]],
        *,
        fail_fast: bool = False,
        show: Callable[[list[Job]], None] = lambda jobs: None,
        grace_s: float = GRACE_S,
    ) -> None:
        """Takes finished parts.

        Args:
            jobs: as planned.
            backend: carries them out.
            words: the command of a job.
            fail_fast: whether the first failure stops the others.
            show: called with the jobs, again and again.
            grace_s: seconds that jobs have to save when the sweep is stopped.
        """
        self.jobs, self.backend, self.words = jobs, backend, words
        self.fail_fast, self.show, self.grace_s = fail_fast, show, grace_s
        self.signal = 0
        self._asked_at: float | None = None
        self._killed = self._stopping = self._ended_at_once = False
        self._prints = Fingerprints()
        self._began = time.time()

    def look(self) -> None:
        """Finds out which jobs have finished before, and which cannot run."""
        for job in self.jobs:
            if job.state is State.WAITING:
                self._recognise(job)

    def _recognise(self, job: Job) -> bool:
        if (results := job.results()) is None:
            return False
        if results.get("config_hash") != job.config_hash:
            job.state, job.note = State.REFUSED, f"{job.folder} holds another run: move it away"
        elif self._prints.changed(job, results):
            job.state = State.REFUSED
            job.note = f"{job.folder} has finished with other data: move it away, or set hydra.sweep.dir"
        else:
            job.state, job.note = State.FINISHED, f"before, at commit {str(results.get('commit'))[:8]}"
        return True

    def run(self) -> None:
        """Runs all jobs to their ends; a signal asks them to save, the second one kills them."""
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.look()
            while any(job.state not in ENDED for job in self.jobs):
                self._turn()
                self.show(self.jobs)
                time.sleep(POLL_S)
            self._leave_word()
            self.show(self.jobs)
        finally:
            self.backend.close()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._killed = self.signal != 0
        self.signal = number

    def _turn(self) -> None:
        for job in self._in(State.RUNNING, State.QUEUED):
            self._see_end(job)
        self.backend.settled()
        if self.signal or self._stopping:
            self._stop()
        else:
            for job in self._in(State.WAITING, State.ELSEWHERE):
                self._try(job)

    def _in(self, *states: State) -> list[Job]:
        return [job for job in self.jobs if job.state in states]

    def _see_end(self, job: Job) -> None:
        if (status := self.backend.poll(job)) is None:
            return
        state = meaning(status)
        if state is State.FINISHED and job.results() is None:
            state, status = State.FAILED, 1
        note = "" if state is State.FINISHED else said_of(status, job)
        if state is not State.FINISHED and self._has_lost_stage(job):
            state, note = State.BLOCKED, lost_stage(job)
        try:
            job.set(state, note, exit_status=status)
        except ValueError as error:  # a full disk must not cost the other jobs
            job.note = f"{note} ({error})".strip()
        if state is State.FAILED and self.fail_fast:
            self._stopping = True

    def _try(self, job: Job) -> None:
        """Starts a job, if what it starts from is there and there is room."""
        if self._recognise(job) or (job.state is State.ELSEWHERE and self._failed_elsewhere(job)):
            return
        if self._has_lost_stage(job):
            job.state, job.note = State.BLOCKED, lost_stage(job)
            return
        stage = job.after
        if stage is not None and stage.state is not State.FINISHED and not self.backend.queues:
            return
        try:
            self.backend.start(job, self.words(job))
        except (ValueError, OSError) as error:
            job.state, job.note = State.REFUSED, str(error)

    def _failed_elsewhere(self, job: Job) -> bool:
        """Says whether another launcher has seen the job fail since this sweep began; once is enough."""
        known = job.recall()
        if known.get("state") != State.FAILED or float(known.get("updated") or 0) < self._began:
            return False
        job.state, job.note = State.FAILED, str(known.get("error") or "it failed under another launcher")
        return True

    def _leave_word(self) -> None:
        """Writes down why jobs did not run; another run's folder, and a job that somebody runs, are left alone."""
        for job in self._in(State.BLOCKED, State.REFUSED):
            known = job.recall()
            submitted = known.get("cluster_id") and known.get("state") in (State.QUEUED, State.RUNNING, State.SUBMITTED)
            if submitted or job.results() is not None or known.get("config_hash", job.config_hash) != job.config_hash:
                continue
            with suppress(ValueError, FileExistsError), held(job.folder / CLAIM, "another launcher runs it"):
                job.write()

    def _has_lost_stage(self, job: Job) -> bool:
        lost = set(ENDED) - {State.FINISHED, State.SUBMITTED}
        return job.after is not None and job.after.state in lost

    def _stop(self) -> None:
        running = self._in(State.RUNNING, State.QUEUED)
        for job in self._in(State.WAITING, State.ELSEWHERE):
            note = "not started" if job.state is State.WAITING else "left to another launcher"
            job.state, job.note = State.INTERRUPTED, note
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            self.backend.stop(running, at_once=False)
        late = self._killed or time.monotonic() - self._asked_at > self.grace_s
        if late and not self._ended_at_once:
            self._ended_at_once = True
            self.backend.stop(running, at_once=True)

    def status(self) -> int:
        """Returns the sweep's exit status: 0 only if every job has finished."""
        if self.signal:
            return INTERRUPTED[signal.Signals(self.signal)]
        return int(any(job.state is not State.FINISHED for job in self.jobs))


def lost_stage(job: Job) -> str:
    """Says which job this one would have started from."""
    return "" if job.after is None else f"starts from job {job.after.number}, which is {job.after.state}"


def said_of(status: int, job: Job) -> str:
    """Puts a job's end into words: its own last ones, or the signal that ended it."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return job.last_words() or f"exit status {status}"


def returned(job: Job) -> Any:
    """Returns what a sweeper that optimises takes from a job: its mean IU."""
    results = job.results() if job.state is State.FINISHED else None
    return None if results is None else results["mean_iu"]
