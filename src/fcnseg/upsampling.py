"""Bilinear upsampling, as a product of two small matrices, and its learned form."""

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

Window = tuple[slice, slice]
"""The rows and columns of an upsampled map that are wanted; both ends are given."""

BAND_BYTES = {"cpu": 2**22, "other": 2**28}
"""Memory of the logits of a band: what stays in a processor's cache, and what keeps a GPU busy."""


def bands(scores: Tensor, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Cuts an image's rows into bands, whose logits are computed, used and forgotten one after the other.

    Args:
        scores: [n, k, rows, columns] before upsampling.
        size: height and width of the image.

    Returns:
        The first row of each band, and the one behind its last.
    """
    height, width = size
    row_bytes = len(scores) * scores.shape[1] * width * max(4, scores.itemsize)
    rows = max(1, BAND_BYTES["cpu" if scores.device.type == "cpu" else "other"] // max(1, row_bytes))
    return [(first, min(height, first + rows)) for first in range(0, height, rows)]


class Upsampling(nn.Module):
    """Fixed bilinear upsampling: the transposed convolution with a bilinear kernel.

    That kernel is an outer product, so a map S becomes R S C^T: a row of R says how much each cell adds to one row of
    the result. No more is computed than is asked for, and nothing is stored.

    Attributes:
        kernel: side of the kernel.
        factor: cells of the result per cell of the map.
    """

    def __init__(self, channels: int, kernel: int, factor: int) -> None:
        """Remembers the shape; ``channels`` is for learned layers."""
        super().__init__()
        self.channels, self.kernel, self.factor = channels, kernel, factor

    def reach(self, cells: int) -> int:
        """Returns how many cells of the result a side of so many cells becomes."""
        return (cells - 1) * self.factor + self.kernel

    def forward(self, scores: Tensor, window: Window | None = None) -> Tensor:
        """Upsamples [n, k, rows, columns] to [n, k, (rows - 1) * factor + kernel, ...].

        Args:
            scores: the coarse map.
            window: the part of the result that is wanted, within the result; None is all of it.
        """
        height, width = window or (slice(0, self.reach(side)) for side in scores.shape[2:])
        matrix = spread if torch.compiler.is_compiling() else kept_spread  # compilers know no caches
        of_rows, of_columns = (
            matrix(cells, self.kernel, self.factor, part.start, part.stop, scores.dtype, scores.device)
            for cells, part in ((scores.shape[2], height), (scores.shape[3], width))
        )
        part = scores[:, :, of_rows.cells, of_columns.cells]
        with _exact(scores.device.type):
            return of_rows.matrix @ part @ of_columns.matrix.t()


def _exact(device: str) -> AbstractContextManager[None]:
    """Keeps autocast from rounding the products; tensors without memory know none."""
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


class LearnedUpsampling(Upsampling):
    """A transposed convolution that starts bilinear and is learned, every class from every class."""

    def __init__(self, channels: int, kernel: int, factor: int) -> None:
        """Builds the kernel [k, k, kernel, kernel], bilinear on the diagonal of classes."""
        super().__init__(channels, kernel, factor)
        self.weight = nn.Parameter(torch.zeros(channels, channels, kernel, kernel))
        if not self.weight.is_meta:
            diagonal = torch.arange(channels)
            self.weight.data[diagonal, diagonal] = bilinear_kernel(kernel)

    def forward(self, scores: Tensor, window: Window | None = None) -> Tensor:
        """Upsamples as the base class does, with the learned kernel."""
        if window is None:
            return functional.conv_transpose2d(scores, self.weight, stride=self.factor)
        cells, places = zip(
            *(seen(side, self.kernel, self.factor, part) for side, part in zip(scores.shape[2:], window, strict=True)),
            strict=True,
        )
        fine = functional.conv_transpose2d(scores[:, :, cells[0], cells[1]], self.weight, stride=self.factor)
        return fine[:, :, places[0], places[1]]


class Spread(NamedTuple):
    """How the cells along one side become the cells of a part of the result.

    Attributes:
        cells: the cells that are seen.
        matrix: [cells of the result, cells that are seen].
    """

    cells: slice
    matrix: Tensor


def seen(cells: int, kernel: int, factor: int, part: slice) -> tuple[slice, slice]:
    """Returns the cells along one side that a part of the result sees, and where in their result alone it lies.

    Args:
        cells: of the map.
        kernel: side of the kernel.
        factor: cells of the result per cell of the map.
        part: of the result.
    """
    first = max(0, -(-(part.start - kernel + 1) // factor))
    last = min(cells - 1, (part.stop - 1) // factor)
    return slice(first, last + 1), slice(part.start - factor * first, part.stop - factor * first)


def spread(
    cells: int, kernel: int, factor: int, start: int, stop: int, dtype: torch.dtype, device: torch.device
) -> Spread:
    """Returns the matrix of bilinear upsampling along one side.

    Args:
        cells: of the map.
        kernel: side of the kernel.
        factor: cells of the result per cell of the map.
        start: first cell of the result that is wanted.
        stop: the one behind the last.
        dtype: of the matrix.
        device: of the matrix.
    """
    here, _ = seen(cells, kernel, factor, slice(start, stop))
    rows, columns = (torch.arange(*ends, device=device) for ends in ((start, stop), (here.start, here.stop)))
    place = rows[:, None] - factor * columns
    inside = (place >= 0) & (place < kernel)
    matrix = torch.where(inside, bilinear_line(kernel, device)[place.clamp(0, kernel - 1)], 0.0)
    return Spread(here, matrix.to(dtype))


@lru_cache(maxsize=64)
def kept_spread(*arguments: Any) -> Spread:
    """Returns what ``spread`` does, and keeps it for trainings too."""
    with torch.inference_mode(False):
        return spread(*arguments)


def bilinear_line(size: int, device: torch.device | None = None) -> Tensor:
    """Returns the bilinear kernel's factor along one side, [size], float64, on a device or torch's default one.

    Paper: Sec. 3.3
    """
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    return 1 - (torch.arange(size, dtype=torch.float64, device=device) - centre).abs() / factor


def bilinear_kernel(size: int) -> Tensor:
    """Returns the [size, size] kernel of bilinear upsampling, float32."""
    line = bilinear_line(size)
    return (line[:, None] * line).float()
