"""What carries the jobs of a sweep out: processes of this machine, or a scheduler."""

from typing import Protocol, runtime_checkable

from fcnseg.sweeps.job import Job


@runtime_checkable
class Backend(Protocol):
    """Starts jobs and tells how they end.

    Attributes:
        queues: whether it takes a job before the one that it starts from has finished.
    """

    queues: bool

    def start(self, job: Job, words: list[str]) -> bool:
        """Starts a job or puts it in a queue, or says that there is no room for it now.

        Args:
            job: is given its devices, and its state is written.
            words: the command.
        """

    def poll(self, job: Job) -> int | None:
        """Returns the exit status of a job that was started; None while it runs."""

    def settled(self) -> None:
        """Hears that the ends that it told of are written down."""

    def stop(self, jobs: list[Job], at_once: bool) -> None:
        """Asks jobs to save and end, or kills them, or lets them go on without the sweep.

        Args:
            jobs: those that run or are queued.
            at_once: whether to kill them.
        """

    def close(self) -> None:
        """Lets go of everything."""
