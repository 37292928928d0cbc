"""Files to arrays: images of any number of channels, and the numbers or colours that masks hold."""

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from fcnseg.data.fast import numbers_of_png, rgb_of_jpeg

Pixels: TypeAlias = NDArray[np.uint8]
Labels: TypeAlias = NDArray[np.uint8] | NDArray[np.int32]

Read = TypeVar("Read")

CONVERTED = {1: "L", 3: "RGB"}
"""The PIL modes that images of so many channels are converted to; of any other number, channels stay as they are."""

NUMBER_MODES = ("P", "L", "1", "I;16", "I;16L", "I;16B", "I")
"""PIL modes whose values are numbers of classes: palette, grey of 8, 1, 16 or 32 bits."""

OVERVIEW_OR_MASK = 0b101
"""Bits of a TIFF page's NewSubfileType: it is a smaller copy of another page, or a mask of transparency."""


def image_size(path: Path) -> tuple[int, int]:
    """Returns height and width without decoding the image.

    Raises:
        ValueError: names the file that cannot be read.
    """
    if _is_array(path):
        shape = _array(path).shape
        return shape[0], shape[1]
    return _opened(path, lambda file: (file.height, file.width))


def decoded_image(path: Path, channels: int = 3) -> Pixels:
    """Decodes an image as it is stored, in so many channels.

    Three channels are RGB: grey and palettes become it, alpha is dropped. One channel is grey. Any other number must be
    in the file: its bands, the pages of a TIFF, or the last axis of a .npy.

    Args:
        path: an image that Pillow reads, or a .npy [h, w] or [h, w, c]; uint8.
        channels: of the result.

    Returns:
        [h, w, channels].

    Raises:
        ValueError: names the file that cannot be read, has more than 8 bits a channel or other channels.
    """
    if channels == 3 and (quick := rgb_of_jpeg(path)) is not None:
        return quick
    pixels = _stored(path, channels)
    if pixels.dtype != np.uint8:
        raise ValueError(
            f"{path} has channels of {pixels.dtype}; images are of 8 bits, 0..255, and only you know which range "
            "matters: scale it to 0..255 and save it as uint8"
        )
    if pixels.shape[2] != channels:
        raise ValueError(
            f"{path} has {pixels.shape[2]} channels instead of the {channels} asked for: set backbone.in_channels, "
            "or data.channels where nothing is trained, or save the image with as many (more than Pillow reads go into "
            "a .npy of shape [h, w, channels])"
        )
    return pixels


def mask_values(path: Path, colours: bool = False) -> NDArray[np.integer[Any]]:
    """Decodes a mask as it is stored: one number a pixel, or one colour.

    Args:
        path: an image that Pillow reads, or a .npy.
        colours: whether pixels hold colours; palettes are then followed.

    Returns:
        [h, w], colours as 0xRRGGBB.

    Raises:
        ValueError: names the file that cannot be read, or holds something else.
    """
    if colours:
        return _packed(path)
    if (quick := numbers_of_png(path)) is not None:
        return quick
    if _is_array(path):
        values = np.array(_array(path))
        values = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
        found, fits = (
            f"an array of {values.dtype} {list(values.shape)}",
            values.ndim == 2 and values.dtype.kind in "uib",
        )
    else:
        mode, values = _opened(path, lambda file: (file.mode, np.array(file)))
        found, fits = f"mode {mode}", mode in NUMBER_MODES
    if not fits:
        raise ValueError(
            f"the mask {path} has {found}; class numbers stand in palette (P) or grey (L, I;16) PNGs or in arrays "
            "[h, w] of integers, and colours need data=folder with data.classes={name: [red, green, blue], ...}: "
            "convert it"
        )
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def _packed(path: Path) -> NDArray[np.int32]:
    pixels = _stored(path, 3)
    if pixels.dtype != np.uint8 or pixels.shape[2] != 3:
        raise ValueError(
            f"the mask {path} has {pixels.shape[2]} channels of {pixels.dtype}, but data.classes gives colours, which "
            "are three of uint8: convert it, or give numbers in data.classes"
        )
    red, green, blue = np.moveaxis(pixels, 2, 0).astype(np.int32)
    packed: NDArray[np.int32] = (red << 16) | (green << 8) | blue
    return packed


def _stored(path: Path, channels: int) -> NDArray[Any]:
    return _from_array(path, channels) if _is_array(path) else _opened(path, lambda file: _bands(file, channels))


def _is_array(path: Path) -> bool:
    return path.suffix.lower() == ".npy"


def _array(path: Path) -> NDArray[Any]:
    """Maps an array into memory; no size that a header claims is allocated, and no object is unpickled."""
    array = _guarded(path, lambda: open_memmap(path, mode="r"))
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"{path} holds an array {list(array.shape)}: save it as [h, w] or [h, w, channels]")
    return array


def _from_array(path: Path, channels: int) -> NDArray[Any]:
    pixels = np.array(_array(path))
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.dtype == np.uint8 and (pixels.shape[2], channels) in ((1, 3), (3, 1)):
        return _bands(Image.fromarray(pixels.squeeze(2) if channels == 3 else pixels), channels)
    return pixels


def _bands(file: Image.Image, channels: int) -> NDArray[Any]:
    if file.format == "TIFF" and getattr(file, "n_frames", 1) > 1:
        pages = [
            np.atleast_3d(np.array(page))
            for page in ImageSequence.Iterator(file)
            if not page.tag_v2.get(254, 0) & OVERVIEW_OR_MASK  # type: ignore[attr-defined]
        ]
        if len(pages) > 1:
            return np.concatenate(pages, axis=2)
        file.seek(0)
    if _is_deep(file):  # Pillow would clip grey values, and cut the colours' lower bits
        return np.zeros((1, 1, 1), np.uint16)
    mode = CONVERTED.get(channels)
    return np.atleast_3d(np.array(_converted(file, mode) if mode else file))


def _is_deep(file: Image.Image) -> bool:
    if file.mode[0] in "IF" or file.format == "JPEG":
        return file.format != "JPEG"
    layout = str(getattr(file, "tile", ""))  # BGR;16 is a pixel of 16 bits, 5 or 6 a channel
    return re.search(r"(?<!BGR);16", layout) is not None


def _converted(file: Image.Image, mode: str) -> Image.Image:
    # Of a palette with alpha that goes straight to RGB or grey Pillow warns.
    return (file.convert("RGBA") if file.mode == "P" and "transparency" in file.info else file).convert(mode)


def _opened(path: Path, use: Callable[[Image.Image], Read]) -> Read:
    def read() -> Read:
        with Image.open(path) as file:
            return use(file)

    return _guarded(path, read)


def _guarded(path: Path, read: Callable[[], Read]) -> Read:
    try:
        return read()
    except FileNotFoundError:
        raise ValueError(f"{path} is gone, and was there when the data set was opened: restore it") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        ArithmeticError,
        AttributeError,
        LookupError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        raise ValueError(
            f"{path} cannot be read as an image ({error}): restore it, or take its id out of the split"
        ) from error
