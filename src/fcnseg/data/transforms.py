"""What happens to an image and its mask before the net sees them; masks are never interpolated."""

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from fcnseg.data.chance import Numbers, below, numbers
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

Array = TypeVar("Array", bound=NDArray[Any])

Step: TypeAlias = Callable[[Pixels, Labels, Numbers], tuple[Pixels, Labels]]
"""Changes image [h, w, c] and mask [h, w] together; all chance comes from the numbers. May return views."""


class Augmentation:
    """Random steps, each with numbers of its own that depend on (seed, epoch, index, turn) alone."""

    def __init__(self, steps: Sequence[Step], seed: int) -> None:
        """Keeps the steps in the order they are taken."""
        self.steps, self.seed = tuple(steps), seed

    def __call__(self, image: Pixels, mask: Labels, draw: Draw) -> tuple[Pixels, Labels]:
        """Returns the transformed image [h, w, c] and mask [h, w]."""
        for place, step in enumerate(self.steps):
            image, mask = step(image, mask, numbers(self.seed, draw.epoch, draw.index, draw.turn, place))
        return image, mask


@dataclass(frozen=True)
class Albumentations:
    """A transform of albumentations, with generators made of the numbers."""

    transform: A.BasicTransform

    def __call__(self, image: Pixels, mask: Labels, chance: Numbers) -> tuple[Pixels, Labels]:
        """Transforms both."""
        self.transform.set_random_state(np.random.default_rng(chance[0]), random.Random(chance[1]))
        result = self.transform(image=image, mask=mask)
        return result["image"], result["mask"]


@dataclass(frozen=True)
class Crop:
    """A square at random: within the image along a side that is long enough, around it along one that is not.

    Attributes:
        side: of the square, pixels.
        fill: colour around the image.
        void: label around it.
    """

    side: int
    fill: int | tuple[int, ...]
    void: int

    def __call__(self, image: Pixels, mask: Labels, chance: Numbers) -> tuple[Pixels, Labels]:
        """Cuts both out; without a copy where the image is large enough."""
        starts = [self._start(size, number) for size, number in zip(mask.shape, chance, strict=False)]
        source = tuple(slice(max(start, 0), start + self.side) for start in starts)
        if min(mask.shape) >= self.side:
            return image[source], mask[source]
        target = tuple(slice(max(-start, 0), size - start) for start, size in zip(starts, mask.shape, strict=True))
        square = np.full((self.side, self.side, image.shape[2]), self.fill, np.uint8)
        labels = np.full((self.side, self.side), self.void, mask.dtype)
        square[target], labels[target] = image[source], mask[source]
        return square, labels

    def _start(self, size: int, number: int) -> int:
        """Returns where the square starts along a side of the image; before it, if the square is longer."""
        room = size - self.side
        return min(room, 0) + below(number, abs(room) + 1)


def mirror_half(image: Pixels, mask: Labels, chance: Numbers) -> tuple[Pixels, Labels]:
    """Exchanges left and right of every other image."""
    if below(chance[0], 2):
        return image, mask
    return _mirrored(image), _mirrored(mask)


def _mirrored(array: Array) -> Array:
    if array.ndim == 3 and array.shape[2] > 4:  # OpenCV ends at 512 channels
        return cast(Array, np.ascontiguousarray(array[:, ::-1]))
    return cast(Array, cv2.flip(array, 1).reshape(array.shape))  # OpenCV drops the axis of a single channel


def transforms(
    *,
    image_side: int | None = None,
    scale: tuple[float, float] | None = None,
    shift: int = 0,
    crop: int | None = None,
    flip: bool = False,
    void: int = VOID,
    channels: int = 3,
) -> list[Step]:
    """Lists the steps in the order they are taken.

    Args:
        image_side: the longer side is resized to this many pixels; None leaves images as they are.
        scale: range of a random factor on both sides.
        shift: largest random translation in pixels, along each side; what moves in is void. Paper: Sec. 4.3.
        crop: side of a random square; smaller images are filled up, with void in the mask.
        flip: mirror every other image.
        void: label of filled pixels.
        channels: of the images; three are RGB.

    Raises:
        ValueError: a side or a factor that is not positive.
    """
    for key, value in (("image_side", image_side), ("crop", crop), ("scale", scale)):
        if value is not None and np.min(value) <= 0:
            raise ValueError(f"data.{key} must be positive, not {value}")
    chosen: list[Step] = []
    nearest = {"mask_interpolation": cv2.INTER_NEAREST_EXACT}
    fill = FILL if channels == 3 else GREY
    if image_side is not None:
        chosen.append(Albumentations(A.LongestMaxSize(image_side, interpolation=cv2.INTER_AREA, **nearest)))
    if scale is not None:
        limits = (scale[0] - 1, scale[1] - 1)
        chosen.append(Albumentations(A.RandomScale(limits, interpolation=cv2.INTER_LINEAR, **nearest, p=1)))
    if shift:
        moved = {"translate_px": {"x": (-shift, shift), "y": (-shift, shift)}, "interpolation": cv2.INTER_NEAREST}
        filled = {"mask_interpolation": cv2.INTER_NEAREST, "fill": fill, "fill_mask": void}
        chosen.append(Albumentations(A.Affine(**moved, **filled, p=1)))
    if crop is not None:
        chosen.append(Crop(crop, fill, void))
    if flip:
        chosen.append(mirror_half)
    return chosen
