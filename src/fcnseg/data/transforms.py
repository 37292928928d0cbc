"""What happens to an image and its mask before the net sees them; masks are never interpolated."""

import os
import random
from collections.abc import Sequence

import numpy as np

from fcnseg.data.dataset import Draw, Labels, Pixels
from fcnseg.shapes import VOID

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A  # noqa: N812
import cv2

FILL = (123, 116, 104)
"""Colour of pixels outside the image: ImageNet's mean, nearly zero once normalised."""

GREY = 114
"""Its average, for images of other than three channels."""


PAPER_SHIFT = 32
"""Largest translation that the paper tried, in pixels: one cell of its coarsest map."""

AUGMENTS = (None, "paper")
"""What data.augment may say."""


class Augmentation:
    """Random transforms, each with a generator of its own that depends on (seed, epoch, index, turn) alone.

    Albumentations' Compose gives all its transforms the same seed, so that flips and crops go together.
    """

    def __init__(self, transforms: Sequence[A.BasicTransform], seed: int) -> None:
        """Keeps the transforms in the order they are applied."""
        self.transforms, self.seed = tuple(transforms), seed

    def __call__(self, image: Pixels, mask: Labels, draw: Draw) -> tuple[Pixels, Labels]:
        """Returns the transformed image [h, w, c] and mask [h, w]."""
        keys = np.random.SeedSequence([self.seed, draw.epoch, draw.index, draw.turn]).spawn(len(self.transforms))
        for transform, key in zip(self.transforms, keys, strict=True):
            generator = np.random.default_rng(key)
            transform.set_random_state(generator, random.Random(int(generator.integers(2**32))))
            result = transform(image=image, mask=mask)
            image, mask = result["image"], result["mask"]
        return image, mask


def transforms(
    *,
    image_side: int | None = None,
    scale: tuple[float, float] | None = None,
    shift: int = 0,
    crop: int | None = None,
    flip: bool = False,
    jitter: float = 0.0,
    void: int = VOID,
    channels: int = 3,
) -> list[A.BasicTransform]:
    """Lists the transforms in the order they are applied.

    Args:
        image_side: the longer side is resized to this many pixels; None leaves images as they are.
        scale: range of a random factor on both sides.
        shift: largest random translation in pixels, along each side; what moves in is void. Paper: Sec. 4.3.
        crop: side of a random square; smaller images are filled up, with void in the mask.
        flip: mirror every other image.
        jitter: strength of random brightness, contrast, saturation and, less, hue, 0..1; the last two of RGB alone.
        void: label of filled pixels.
        channels: of the images; three are RGB.

    Raises:
        ValueError: a side or a factor that is not positive.
    """
    for key, values in (("image_side", [image_side]), ("crop", [crop]), ("scale", scale or [])):
        if any(value is not None and value <= 0 for value in values):
            raise ValueError(f"data.{key} must be positive, not {values}")
    chosen: list[A.BasicTransform] = []
    nearest = {"mask_interpolation": cv2.INTER_NEAREST_EXACT}
    if image_side is not None:
        chosen.append(A.LongestMaxSize(image_side, interpolation=cv2.INTER_AREA, **nearest))
    if scale is not None:
        limits = (scale[0] - 1, scale[1] - 1)
        chosen.append(A.RandomScale(limits, interpolation=cv2.INTER_LINEAR, **nearest, p=1))
    fill = {"fill": FILL if channels == 3 else GREY, "fill_mask": void}
    if shift:
        moved = {"translate_px": {"x": (-shift, shift), "y": (-shift, shift)}, "interpolation": cv2.INTER_NEAREST}
        chosen.append(A.Affine(**moved, mask_interpolation=cv2.INTER_NEAREST, **fill, p=1))
    if crop is not None:
        chosen.append(A.PadIfNeeded(crop, crop, position="random", border_mode=cv2.BORDER_CONSTANT, **fill))
        chosen.append(A.RandomCrop(crop, crop))
    if flip:
        chosen.append(A.HorizontalFlip(p=0.5))
    if jitter and channels != 3:
        chosen.append(A.RandomBrightnessContrast(jitter, jitter, p=1))
    elif jitter:
        chosen.append(A.ColorJitter(brightness=jitter, contrast=jitter, saturation=jitter, hue=0.1 * jitter, p=1))
    return chosen
