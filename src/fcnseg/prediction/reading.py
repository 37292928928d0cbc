"""Images and frames as people see them: upright, in the channels that the net reads, at the size of its training."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np
from PIL import Image

from fcnseg.data.dataset import Draw
from fcnseg.data.decoding import Labels, Pixels, decoded_image
from fcnseg.data.orientation import UPRIGHT, orientation
from fcnseg.data.transforms import Augmentation, transforms

OF_DATA_SETS = {
    ", or take its id out of the split": "",
    " asked for: set backbone.in_channels, or data.channels where nothing is trained, or": " that this net reads:",
}
"""What decoding advises where files stand in lists and nets are yet to be built, and what is said of it here."""


class BrokenInputError(ValueError):
    """An input that cannot be predicted, while others can."""


def upright_image(path: Path, channels: int) -> Pixels:
    """Decodes an image and turns it as its EXIF data ask viewers to.

    Deviation: data sets are read as stored; there image and mask lie alike, and here there is no mask yet.

    Args:
        path: of the file.
        channels: of the result; see decoding.decoded_image.

    Returns:
        [h, w, channels], uint8.

    Raises:
        BrokenInputError: names the file that is no image, is broken, too large or too deep.
    """
    return turned(stored_image(path, channels), _turn(path))


def stored_image(path: Path, channels: int) -> Pixels:
    """Decodes an image as it is stored; as upright_image without the turn.

    Raises:
        BrokenInputError: as upright_image.
    """
    if path.is_dir():
        raise BrokenInputError(
            f"{path} is a folder, where an image was expected: give input={path} to predict what is in it"
        )
    if not path.is_file():
        raise BrokenInputError(f"{path} is no file that is there")
    try:
        with warnings.catch_warnings():
            # From 89 million pixels on Pillow warns, from twice as many it refuses.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return decoded_image(path, channels)
    except (ValueError, OSError, MemoryError) as error:
        said = str(error)
        for advice, here in OF_DATA_SETS.items():
            said = said.replace(advice, here)
        raise BrokenInputError(said) from error


def _turn(path: Path) -> int:
    """Returns the turn that is still to be made; Pillow turns TIFFs itself when it decodes them."""
    turn = orientation(path)
    if turn == UPRIGHT:
        return turn
    with Image.open(path) as file:
        return UPRIGHT if file.format == "TIFF" else turn


def turned(pixels: Pixels, turn: int) -> Pixels:
    """Returns pixels [h, w, c] as EXIF's orientation 1..8 asks for."""
    if turn in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


class View:
    """Images as the net's validation saw them: the longer side resized, by the same steps."""

    def __init__(self, image_side: int | None, channels: int) -> None:
        """Makes the steps.

        Raises:
            ValueError: a side that is not positive.
        """
        self.steps = Augmentation(transforms(image_side=image_side, channels=channels), 0)

    def of(self, image: Pixels) -> Pixels:
        """Returns an image [h, w, c] as the net sees it."""
        return self.steps(image, np.zeros(image.shape[:2], np.uint8), Draw(0))[0]


def resized_back(labels: Labels, size: tuple[int, int]) -> Labels:
    """Returns labels of a resized image at the size of the image itself, each pixel the nearest one's."""
    if labels.shape == size:
        return labels
    height, width = size
    rows, columns = (
        ((np.arange(side) + 0.5) * (seen / side)).astype(np.int64).clip(0, seen - 1)
        for side, seen in zip((height, width), labels.shape, strict=True)
    )
    return cast(Labels, labels[rows[:, None], columns])


class Frames(NamedTuple):
    """An open video.

    Attributes:
        path: of its file.
        reader: OpenCV's.
        rate: frames a second.
        announced: how many frames its header speaks of, or OpenCV reckons from its length; 0 where neither is known.
    """

    path: Path
    reader: cv2.VideoCapture
    rate: float
    announced: int

    @classmethod
    def opened(cls, path: Path) -> "Frames":
        """Opens a video.

        Raises:
            BrokenInputError: there is none that OpenCV can read.
        """
        if not path.is_file():
            raise BrokenInputError(f"{path} is no file that is there")
        reader = cv2.VideoCapture(str(path))
        if not reader.isOpened():
            raise BrokenInputError(f"{path} cannot be read as a video: restore it, or convert it to MP4 or AVI")
        rate, count = reader.get(cv2.CAP_PROP_FPS), reader.get(cv2.CAP_PROP_FRAME_COUNT)
        return cls(path, reader, rate if 0 < rate < 1000 else 25.0, int(count) if 0 < count < 1e9 else 0)

    def read(self, channels: int) -> Iterator[Pixels]:
        """Yields the frames [h, w, c], RGB or grey, turned as the video asks.

        Raises:
            BrokenInputError: the net reads neither one nor three channels, or more frames are missing than longer sound
                or an edit explains.
        """
        if channels not in (1, 3):
            raise BrokenInputError(f"{self.path} has 3 channels instead of the {channels} that this net reads")
        count = 0
        while True:
            there, frame = self.reader.read()
            if not there:
                break
            count += 1
            code = cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGR2GRAY
            yield np.asarray(np.atleast_3d(cv2.cvtColor(frame, code)), np.uint8)
        if not count:
            raise BrokenInputError(f"{self.path} holds no frame that can be read: restore it")
        if count + self.rate + self.announced / 50 < self.announced:
            raise BrokenInputError(
                f"{self.path} ends after {count} of the {self.announced} frames that it announces: restore it, or take "
                "what was predicted of these"
            )
