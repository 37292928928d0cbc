"""Images and masks to a batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fcnseg.data.dataset import Drawn, Sample
from fcnseg.shapes import VOID, Batch


def collate(samples: Sequence[Sample] | Drawn, void: int = VOID, pad: bool = False) -> Batch:
    """Makes a batch of images in channels-last order.

    Deviation: with ``pad`` smaller images are padded at the right and below, with void in the mask; the logits near the
    pad are not those of the image alone.

    Args:
        samples: images with masks, at least one.
        void: label for padded pixels.
        pad: allow images of different sizes.

    Raises:
        ValueError: the sizes differ and ``pad`` is false; or, of samples that are read only here, what reading raises.
    """
    if pad:
        samples = list(samples)
    rest: list[tuple[Any, ...]] = []
    for sample in samples:  # not enumerated: that would hold on to the last one while the next is read
        row, size = len(rest), sample.mask.shape
        if row == 0:
            height, width = np.max([each.mask.shape for each in samples], 0) if pad else size
            pixels = np.empty((len(samples), height, width, sample.image.shape[2]), np.uint8)
            targets = np.empty((len(samples), height, width), sample.mask.dtype)
            if pad:
                pixels.fill(0)
                targets.fill(void)
        elif not pad and size != (height, width):
            raise ValueError(
                f"images of different sizes came into one batch ({rest[0][2]} of {width}x{height}, {sample.name} of "
                f"{size[1]}x{size[0]}): set data.batching=crop, groups or pad"
            )
        pixels[row, : size[0], : size[1]] = sample.image
        targets[row, : size[0], : size[1]] = sample.mask
        rest.append((size, sample.index, sample.name, sample.factors, sample.chance))
        del sample  # its memory is the next one's
    sizes, indices, names, factors, chances = zip(*rest, strict=True)
    return Batch(
        torch.from_numpy(pixels).permute(0, 3, 1, 2),
        torch.from_numpy(targets),
        torch.tensor(sizes),
        torch.tensor(indices),
        list(names),
        None if factors[0] is None else torch.tensor(factors),
        None if chances[0] is None else torch.tensor(chances),
    )
