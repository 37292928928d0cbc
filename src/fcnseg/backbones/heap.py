"""Memory that was freed goes back to the system, where the C library would keep it for later."""

import ctypes
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

LEAST_BYTES = 2**20
"""Of inputs for whose maps it is worth the trouble."""


def trim() -> None:
    """Hands back what is free; does nothing where the C library has no such call.

    glibc keeps freed blocks of up to 32 MiB, hundreds of MiB together after a pass. The next pass takes some of its
    maps from them, and those for which no block is long enough on top.
    """
    if (call := _malloc_trim()) is not None:
        call(0)


def trim_before(inputs: Tensor) -> None:
    """Hands back what earlier steps have left, before a training pass through large maps on a processor.

    Not without gradients: there it would cost a tenth of the time, for memory that is small beside a training's.
    """
    large = inputs.device.type == "cpu" and inputs.nbytes >= LEAST_BYTES
    if large and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        trim()


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # there is none on macOS, and no library of that name on Windows
        return None
