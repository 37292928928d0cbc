"""Labels as colours: VOC's palette, masks laid over their images, and maps of where a prediction is wrong."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fcnseg.data.decoding import Labels, Pixels
from fcnseg.shapes import VOID

Colour: TypeAlias = tuple[int, int, int]

VOID_COLOUR: Colour = (224, 224, 192)
"""VOC's colour of label 255."""

ERROR_COLOURS: dict[str, Colour] = {
    "right": (205, 205, 205),
    "missed": (213, 94, 0),
    "invented": (0, 114, 178),
    "confused": (204, 121, 167),
}
"""Of an error map, told apart by the colour-blind too: an object found, one taken for background, background taken for
one, and one class taken for another. Background that was found is white."""

BAND_PIXELS = 2**20
"""Pixels that are mixed at once: arithmetic takes eight times the memory of the picture."""


def palette(count: int = 256) -> Pixels:
    """Returns VOC's colours [count, 3]: bit 3i + j of a label is bit 7 - i of its colour j."""
    labels = np.arange(count)
    colours = np.zeros((count, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((labels >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def colourise(mask: Labels, void: int | None = VOID) -> Pixels:
    """Turns labels [h, w] into VOC's colours [h, w, 3]; None where there is no void, as in predictions."""
    empty: NDArray[np.bool_] | bool = False if void is None else mask == void
    classes = mask if void is None else np.where(empty, 0, mask)
    colours = palette(int(classes.max(initial=0)) + 1)[classes]
    if void is not None:
        colours[empty] = VOID_COLOUR
    return np.asarray(colours)


def as_rgb(image: Pixels) -> Pixels:
    """Makes a picture [h, w, 3] of an image of any number of channels: its first three, or its first alone as grey."""
    return image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, axis=2)


def overlay(image: Pixels, mask: Labels, opacity: float = 0.6, void: int | None = VOID) -> Pixels:
    """Lays the colours of a mask over its image [h, w, 3], background left clear."""
    mixed, rows = np.empty_like(image), max(1, BAND_PIXELS // max(1, image.shape[1]))
    for first in range(0, len(image), rows):
        band = slice(first, first + rows)
        colours = image[band] * (1 - opacity) + colourise(mask[band], void) * opacity
        mixed[band] = np.where((mask[band] == 0)[:, :, None], image[band], colours).astype(np.uint8)
    return mixed


def error_map(prediction: Labels, truth: Labels, void: int | None = VOID) -> Pixels:
    """Draws where a prediction is wrong, and how: [h, w, 3] in ERROR_COLOURS, void pixels in void's colour.

    Args:
        prediction: [h, w].
        truth: [h, w], void included.
        void: label of pixels that do not count; None where there are none.
    """
    object_seen, object_there, same = prediction != 0, truth != 0, prediction == truth
    drawn = np.full((*truth.shape, 3), 255, np.uint8)
    for kind, where in (
        ("right", same & object_there),
        ("missed", ~object_seen & object_there),
        ("invented", object_seen & ~object_there),
        ("confused", object_seen & object_there & ~same),
    ):
        drawn[where] = ERROR_COLOURS[kind]
    if void is not None:
        drawn[truth == void] = VOID_COLOUR
    return drawn


def as_palette(mask: Labels, void: int | None) -> Image.Image:
    """Returns labels as VOC's files hold them, one byte a pixel; as colours alone where labels are larger."""
    if mask.dtype != np.uint8 or void not in (None, VOID):
        return Image.fromarray(colourise(mask, void))
    picture = Image.fromarray(mask)
    picture.putpalette(palette().tobytes())
    return picture
