"""Images and masks to a batch."""

from collections.abc import Sequence

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
        ValueError: the sizes differ and ``pad`` is false.
    """
    if pad:
        samples = list(samples)
    sizes: list[tuple[int, ...]] = []
    indices, names, factors, chances = [], [], [], []
    for sample in samples:  # not enumerated: that would hold on to the last one while the next is read
        row = len(sizes)
        sizes.append(sample.mask.shape)
        indices.append(sample.index)
        names.append(sample.name)
        factors.append(sample.factors)
        chances.append(sample.chance)
        if row == 0:
            height, width = np.max([each.mask.shape for each in samples], 0) if pad else sample.mask.shape
            pixels = np.empty((len(samples), height, width, sample.image.shape[2]), np.uint8)
            targets = np.empty((len(samples), height, width), sample.mask.dtype)
            if pad:
                pixels.fill(0)
                targets.fill(void)
        elif not pad and sizes[row] != sizes[0]:
            raise ValueError(
                f"images of different sizes came into one batch ({', '.join(names[:1] + names[-1:])}): set "
                "data.batching=crop or groups"
            )
        pixels[row, : sizes[row][0], : sizes[row][1]] = sample.image
        targets[row, : sizes[row][0], : sizes[row][1]] = sample.mask
        del sample  # its memory is the next one's
    return Batch(
        torch.from_numpy(pixels).permute(0, 3, 1, 2),
        torch.from_numpy(targets),
        torch.tensor(sizes),
        torch.tensor(indices),
        names,
        None if factors[0] is None else torch.tensor(factors),
        None if chances[0] is None else torch.tensor(chances),
    )
