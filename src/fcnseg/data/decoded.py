"""Images decoded once and kept on disk, so that later epochs copy pixels instead of decoding JPEGs."""

import hashlib
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from fcnseg.data.decoding import Pixels, decoded_image
from fcnseg.disk import write_durably

RESERVE = 2 << 30
"""Bytes of the disk that are left to checkpoints and results."""


class Decoded:
    """A folder of decoded images; whatever is not there, or no longer as its image is, is decoded and kept.

    An image is known by its path, its size in bytes, its time of modification and its channels, so that a changed one
    is decoded again. Any number of processes may share a folder, and it may be removed at any time.

    Attributes:
        folder: takes a .npy for each image, as large as its pixels.
        full: whether this process has found that the folder takes no more.
    """

    def __init__(self, folder: Path, reserve: int = RESERVE) -> None:
        """Touches nothing yet.

        Args:
            folder: see the class.
            reserve: bytes of its disk that stay free.
        """
        self.folder, self.reserve, self.full = folder, reserve, False

    def image(self, path: Path, channels: int) -> Pixels:
        """Returns what decoding.decoded_image does, and raises what it raises.

        Args:
            path: the image.
            channels: of the result.
        """
        try:
            place = self.place(path, channels)
        except OSError:  # decoding says what is wrong
            return decoded_image(path, channels)
        with suppress(Exception):  # not there, or damaged, which numpy tells by errors of many kinds
            return self._kept(place, channels)
        pixels = decoded_image(path, channels)
        if not self.full:
            self._keep(place, pixels)
        return pixels

    def place(self, path: Path, channels: int) -> Path:
        """Returns the file that takes an image as it is now.

        Raises:
            OSError: there is no such image.
        """
        now = path.stat()
        known = f"{path.absolute()} {now.st_size} {now.st_mtime_ns} {channels}"
        return self.folder / f"{hashlib.sha256(known.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.npy"

    def _kept(self, place: Path, channels: int) -> Pixels:
        with place.open("rb") as file:
            pixels = np.lib.format.read_array(file, allow_pickle=False)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != channels:
            raise ValueError(f"{place} holds something else")
        return pixels

    def _keep(self, place: Path, pixels: Pixels) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self.folder).free < self.reserve + pixels.nbytes:
                raise OSError(f"{self.reserve / 2**30:.3g} GiB of the disk stay free for checkpoints")
            write_durably(place, partial(np.save, arr=pixels), shared=True)
        except (OSError, ValueError) as error:
            if isinstance(error.__cause__, FileNotFoundError):  # the folder has just been removed
                return
            self.full = True
            Console(stderr=True, soft_wrap=True, highlight=False).print(
                f"data.decoded={self.folder} takes no more images ({error}): what is not in it is decoded each time; "
                "make room there, or name another folder, before the next run",
                markup=False,
            )
