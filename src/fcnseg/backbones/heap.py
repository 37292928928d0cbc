"""Memory that was freed goes back to the system, where the C library would keep it for later."""

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

LEAST_BYTES = 2**20
"""Of inputs for whose maps it is worth the trouble."""

MOST_KEPT = 96
"""Bytes for each of the inputs by which a process without gradients may grow: half as much again as one pass leaves."""


def trim() -> None:
    """Hands back what is free; does nothing where the C library has no such call.

    glibc keeps freed blocks of up to 32 MiB, hundreds of MiB together after a pass. The next pass takes some of its
    maps from them, and those for which no block is long enough on top.
    """
    if (call := _malloc_trim()) is not None:
        call(0)


class Trimmer:
    """Hands back what earlier passes have left, before one through large maps on a processor.

    A training does so every step. Without gradients it would cost a tenth of the time, for memory that is small beside
    a training's; there it is done once the process has grown so much that images of ever new sizes must have left the
    heap in pieces.

    Attributes:
        resident: bytes of the process when it was last done, or first asked.
    """

    def __init__(self) -> None:
        """Was not asked yet."""
        self.resident: int | None = None

    def before(self, inputs: Tensor) -> None:
        """Hands back, if it is worth it before a pass over such inputs."""
        if inputs.device.type != "cpu" or inputs.nbytes < LEAST_BYTES or torch.compiler.is_compiling():
            return
        if torch.is_grad_enabled():
            trim()
            self.resident = None
            return
        now = resident_bytes()
        if self.resident is None:
            self.resident = now
        elif now > self.resident + MOST_KEPT * inputs.nbytes:
            trim()
            self.resident = resident_bytes()


TRIMMER = Trimmer()
"""Of the process."""


def resident_bytes() -> int:
    """Returns the memory that the process has; 0 where the system does not say so in a file."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):  # there is no /proc on macOS, and no sysconf on Windows
        return 0


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # there is none on macOS, and no library of that name on Windows
        return None
