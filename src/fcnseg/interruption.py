"""Signals: the first one asks a run to save and end, a second Ctrl-C ends it at once."""

import ctypes
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

INTERRUPTED = {signal.SIGTERM: 143, signal.SIGUSR1: 143, signal.SIGINT: 130}
"""Signals that end a run, with its exit status; Slurm warns with SIGUSR1 before the time is over."""

STARTED_BY = "FCNSEG_STARTED_BY"
"""Environment variable with the id of the process that starts the others of a run."""

LAUNCHER = "FCNSEG_LAUNCHER"
"""Environment variable with the id of the process that runs a sweep, in the processes of its jobs."""

SIGNAL_AT_PARENTS_DEATH = 1
"""prctl's PR_SET_PDEATHSIG."""


def end_with_launcher() -> None:
    """Asks the system to end this job, as SIGTERM does, when the process that runs the sweep is gone.

    Only Linux can; elsewhere jobs outlive a launcher that is killed.

    Raises:
        SystemExit: it is gone already.
    """
    launcher = os.environ.get(LAUNCHER)
    if launcher is None or "LOCAL_RANK" in os.environ:  # other processes of a run end with its first
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SIGNAL_AT_PARENTS_DEATH, int(signal.SIGTERM))
    if str(os.getppid()) != launcher:
        sys.exit(INTERRUPTED[signal.SIGTERM])


def starts_others() -> None:
    """Lets the processes that this one will start know that it did."""
    os.environ[STARTED_BY] = str(os.getpid())


def was_started() -> bool:
    """Says whether another process of the run started this one, and not torchrun or a scheduler."""
    return os.environ.get(STARTED_BY) == str(os.getppid())


class Stop(Exception):  # noqa: N818
    """A run ends because it was asked to.

    Attributes:
        status: the exit status.
        step: optimiser steps that the last checkpoint has seen.
    """

    def __init__(self, status: int, step: int) -> None:
        """Keeps both."""
        super().__init__(f"stopped at step {step}: the same command continues from there")
        self.status, self.step = status, step


class Interruption:
    """Remembers the signal that asked the run to end, while the context is open.

    Attributes:
        signal: its number; 0 if none came.
    """

    def __init__(self) -> None:
        """No signal came yet."""
        self.signal = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        """Starts to listen, in the main thread only, as Python asks for."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in INTERRUPTED}
            self.listen()
        return self

    def __exit__(self, *error: object) -> None:
        """Gives the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Takes the signals back from whoever put a handler of its own before this one."""
        for number in self._before:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT == self.signal:
            os._exit(INTERRUPTED[signal.SIGINT])
        self.signal = number
