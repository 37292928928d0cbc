"""Ground truth as a coarse net would see it at best: one label every few pixels, and bilinear upsampling in between.

The paper gives bounds on mean IU by output stride without saying how it resampled. Here, along each side:

* cell i of a map of stride f is centred on pixel f * i + f // 2; there are as many cells as centres in the image, and
  at least one, whose centre is the last pixel if need be;
* a cell's label is that of the pixel at its centre (nearest subsampling);
* the map of each class, one where a cell has the label and zero elsewhere, is upsampled bilinearly between centres and
  continued as it is beyond the outermost ones; each pixel gets the class whose map is highest, the first of equals;
* a cell whose centre is void adds to no class, and void is never predicted. Where that leaves nothing, it is
  background.
"""

from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from fcnseg.data.dataset import Labels


class Side(NamedTuple):
    """Cells along one side of an image.

    Attributes:
        centres: [cells] pixels.
        matrix: [pixels, cells], how much each cell adds to each pixel.
    """

    centres: NDArray[np.int64]
    matrix: NDArray[np.float64]


def side(pixels: int, factor: int) -> Side:
    """Lays cells along a side of so many pixels."""
    centres = np.arange(factor // 2, pixels, factor)
    if not len(centres):
        centres = np.array([pixels - 1])
    place = np.clip((np.arange(pixels) - factor // 2) / factor, 0, len(centres) - 1)
    return Side(centres, np.maximum(0.0, 1 - np.abs(place[:, None] - np.arange(len(centres)))))


def coarse_truth(mask: Labels, factor: int, void: int) -> Labels:
    """Returns labels [h, w] after subsampling by a factor and upsampling again.

    Args:
        mask: [h, w] labels.
        factor: pixels from cell to cell, at least 1.
        void: label of pixels that belong to no class.

    Raises:
        ValueError: the factor is less than 1.
    """
    if factor < 1:
        raise ValueError(f"factors must be at least 1, not {factor}")
    rows, columns = (side(pixels, factor) for pixels in mask.shape)
    cells = mask[np.ix_(rows.centres, columns.centres)]
    classes = np.unique(cells[cells != void])
    if not len(classes):
        return np.zeros_like(mask)
    maps = np.stack([rows.matrix @ (cells == label) @ columns.matrix.T for label in classes])
    known = maps.max(0) > 0
    return cast(Labels, np.where(known, classes[maps.argmax(0)], 0).astype(mask.dtype))
