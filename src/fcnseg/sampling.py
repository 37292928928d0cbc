"""Chance on the device: which cells of the last score map, and which pixels of a class, count in a training step.

Every draw is a function of a number that the loader gave the image and of the place in the image, and of nothing else:
neither the batch, the process nor how much of its surroundings the map holds changes it.
"""

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from fcnseg.geometry import Grid
from fcnseg.shapes import Features, Targets

STEP, FIRST, SECOND = 0x9E3779B97F4A7C15 - 2**64, 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64
"""Odd constants of the hash splitmix64, as signed numbers."""


def kept_cells(
    scores: Features, size: tuple[int, int], chances: Integer[Tensor, " n"], keep: float
) -> Bool[Tensor, "n h w"]:
    """Draws the cells of the last score map that count, and says it of the pixels that they own.

    A cell owns the stride x stride pixels around the centre that its grid gives it (of two cells as near, the later
    one owns a pixel). Where the map ends before the image does, the outermost cells own the rest too.

    Args:
        scores: the map before the last upsampling, with its grid.
        size: height and width of the image.
        chances: a number for each image.
        keep: probability of each cell.

    Paper: Sec. 4.3, Fig. 5
    """
    (rows, columns), device = scores.tensor.shape[2:], chances.device
    first = int(scores.grid.offset // scores.grid.stride)  # the same cell has the same number in any part of the map
    numbers = (torch.arange(first, first + cells, device=device) for cells in (rows, columns))
    kept = uniform(chances, *numbers) < keep
    of_rows = owners(scores.grid, rows, size[0], device)
    return kept[:, of_rows][:, :, owners(scores.grid, columns, size[1], device)]


def kept_pixels(
    targets: Targets, valid: Bool[Tensor, "n h w"], chances: Integer[Tensor, " n"], rates: Float[Tensor, " k"]
) -> Bool[Tensor, "n h w"]:
    """Draws the pixels that count, each with the probability of its class.

    Args:
        targets: classes.
        valid: where they are classes and not void.
        chances: a number for each image.
        rates: probability of each class.
    """
    places = (torch.arange(side, device=targets.device) for side in targets.shape[1:])
    # The complement is another number, so that pixels are drawn independently of the cells around them.
    return uniform(chances.bitwise_not(), *places) < rates[targets.long().where(valid, 0)]


def owners(grid: Grid, cells: int, pixels: int, device: torch.device) -> Integer[Tensor, " pixels"]:
    """Returns which of the cells along a side owns each pixel."""
    from_edge = 2 * torch.arange(pixels, device=device) - int(2 * grid.offset) + grid.stride  # offsets may be halves
    return from_edge.div(2 * grid.stride, rounding_mode="floor").clamp(0, cells - 1)


def uniform(
    chances: Integer[Tensor, " n"], rows: Integer[Tensor, " h"], columns: Integer[Tensor, " w"]
) -> Float[Tensor, "n h w"]:
    """Returns numbers evenly spread over 0 <= number < 1, a function of chance, row and column alone."""
    of_rows = _mixed(_mixed(chances)[:, None] + rows)
    return _shifted(_mixed(of_rows[:, :, None] + columns), 40).float() / 2**24


def _mixed(numbers: Tensor) -> Tensor:
    """Hashes each 64-bit number, all of whose bits change about half of the result's."""
    numbers = numbers + STEP
    numbers = (numbers ^ _shifted(numbers, 30)) * FIRST
    numbers = (numbers ^ _shifted(numbers, 27)) * SECOND
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    """Shifts to the right and fills with zeros; torch fills with the sign."""
    return torch.bitwise_right_shift(numbers, bits).bitwise_and(2 ** (64 - bits) - 1)
