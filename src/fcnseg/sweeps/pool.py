"""Jobs as processes of this machine, each with GPUs of its own."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress

from fcnseg.config import TrainConfig
from fcnseg.disk import CLAIM, held
from fcnseg.hardware import accelerator
from fcnseg.interruption import INTERRUPTED
from fcnseg.sweeps.command import environment, own_devices, processors
from fcnseg.sweeps.job import CONSOLE, Job, State


class Pool:
    """Runs as many jobs at once as there are GPUs and places.

    Attributes:
        queues: it takes a job only when the one that it starts from has finished.
    """

    queues = False

    def __init__(self, gpus: Sequence[str], gpus_per_job: int | None, n_jobs: int | None) -> None:
        """Divides the machine.

        Args:
            gpus: as CUDA_VISIBLE_DEVICES names them.
            gpus_per_job: GPUs of a job; None takes its trainer.devices.
            n_jobs: jobs at once; None is one without GPUs, and with them as many as they carry.

        Raises:
            ValueError: fewer than one.
        """
        for key, value in (("gpus_per_job", gpus_per_job), ("n_jobs", n_jobs)):
            if value is not None and value < 1:
                raise ValueError(f"hydra.launcher.{key} must be at least 1, not {value}")
        self.gpus, self.gpus_per_job = list(gpus), gpus_per_job
        self.places = n_jobs or (len(gpus) if gpus else 1)
        self.threads = None if gpus or not n_jobs else max(1, processors() // n_jobs)
        self._free = list(gpus)
        self._running: dict[int, tuple[subprocess.Popen[bytes], ExitStack]] = {}
        self._ended: list[ExitStack] = []

    def start(self, job: Job, words: list[str]) -> bool:
        """Starts a job in a process group of its own, if there is room and nobody else runs it.

        Raises:
            ValueError: it needs more GPUs than there are.
        """
        needed = self.needs(job.config)
        if needed > len(self.gpus):
            raise ValueError(f"it needs {needed} GPUs, and the pool has {len(self.gpus)}: set trainer.devices")
        if len(self._running) >= self.places or needed > len(self._free):
            return False
        with ExitStack() as stack:
            try:
                stack.enter_context(held(job.folder / CLAIM, "another launcher runs it"))
                with held(job.folder / ".lock", "its process still runs"):
                    pass
            except FileExistsError as error:
                job.state, job.note = State.ELSEWHERE, str(error)
                return False
            if job.results() is not None:  # another launcher has finished it meanwhile
                return False
            job.devices, self._free = tuple(self._free[:needed]), self._free[needed:]
            stack.callback(self._give_back, job)
            process = self._spawn(job, [*words, *self._devices(job, needed)])
            self._running[job.number] = process, stack.pop_all()
        return True

    def _spawn(self, job: Job, words: list[str]) -> "subprocess.Popen[bytes]":
        """Starts the process and writes it down; a failure leaves nothing behind."""
        variables = environment(job, os.environ, self.threads, launcher=os.getpid())
        with (job.folder / CONSOLE).open("ab") as console:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=variables, start_new_session=True
            )
        job.started, job.first_step = time.time(), job.progress()[0]
        try:
            job.set(State.RUNNING, pid=process.pid, command=words)
        except ValueError:
            _kill_group(process)
            process.wait()
            raise
        return process

    def _give_back(self, job: Job) -> None:
        self._free += job.devices
        job.devices = ()

    def needs(self, config: TrainConfig) -> int:
        """Returns the number of GPUs that a job of this configuration needs.

        Raises:
            ValueError: it wants a GPU, and the pool has none.
        """
        if config.trainer.accelerator == "cpu" or (not self.gpus and accelerator(config.trainer.accelerator) == "cpu"):
            return 0
        if not self.gpus:
            raise ValueError(
                "it wants a GPU, and the pool has none: set trainer.accelerator=cpu or hydra.launcher.gpus"
            )
        own = own_devices(config.trainer)
        return self.gpus_per_job or (len(self.gpus) if own in ("auto", -1, "-1") else int(own))

    def _devices(self, job: Job, needed: int) -> list[str]:
        return [f"trainer.devices={needed}"] if needed and job.config.trainer.devices != needed else []

    def poll(self, job: Job) -> int | None:
        """Returns a job's exit status once its process has ended, and takes its GPUs back."""
        process, claim = self._running[job.number]
        if (status := process.poll()) is None:
            return None
        _kill_group(process)  # what it may have left behind
        del self._running[job.number]
        self._ended.append(claim)
        return status

    def settled(self) -> None:
        """Gives back what the jobs had whose ends are written down by now, their claims among it."""
        while self._ended:
            self._ended.pop().close()

    def stop(self, jobs: list[Job], at_once: bool) -> None:
        """Sends SIGTERM, at which trainings save and end; or SIGKILL, to all their processes."""
        for process in (self._running[job.number][0] for job in jobs):
            if at_once:
                _kill_group(process)
            else:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Kills what still runs."""
        self.settled()
        for process, claim in self._running.values():
            _kill_group(process)
            process.wait()
            claim.close()
        self._running = {}


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def found_gpus(asked: object, outer: Mapping[str, str]) -> list[str]:
    """Returns the GPUs of the pool, as CUDA_VISIBLE_DEVICES names them.

    Args:
        asked: "auto" for all that this process may use, their number, or a list of them.
        outer: the variables around the sweep.

    Raises:
        ValueError: neither of these, or more than there are.
    """
    visible = _visible(outer)
    if asked == "auto":
        return visible
    if isinstance(asked, int) and not isinstance(asked, bool) and asked >= 0:
        if asked > len(visible):
            raise ValueError(f"hydra.launcher.gpus={asked}, but this machine offers {len(visible)}")
        return visible[:asked]
    if isinstance(asked, Sequence) and not isinstance(asked, str):
        return [str(each) for each in asked]
    raise ValueError(f"hydra.launcher.gpus must be auto, a number or a list such as [0,1], not {asked!r}")


def _visible(outer: Mapping[str, str]) -> list[str]:
    import torch

    said = outer.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return [each.strip() for each in said.split(",") if each.strip() not in ("", "-1", "NoDevFiles")]
    return [str(index) for index in range(torch.cuda.device_count())]


def meaning(status: int) -> State:
    """Returns the state that an exit status speaks of."""
    if status == 0:
        return State.FINISHED
    # The signals themselves end a process that does not listen for them yet.
    asked = {*INTERRUPTED.values(), -signal.SIGTERM, -signal.SIGINT}
    return State.INTERRUPTED if status in asked else State.FAILED
