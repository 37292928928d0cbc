"""Where predictions go: masks, overlays, probabilities, and a record of them."""

import json
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fcnseg.data.decoding import Labels, Pixels
from fcnseg.disk import write_durably, writing
from fcnseg.prediction.reading import BrokenInputError
from fcnseg.visualize import as_palette, as_rgb, overlay, with_legend

RECORD = "predictions.json"
"""The file that says what made a folder of predictions, and what was skipped."""

PARTS = ("masks", "overlays", "probabilities", "archive")
"""The folders in it."""

MOST_FRAMES = 600.0
"""Frames a second of a video of overlays."""

JPEG_SIDE = 65_500
"""Longest side that a JPEG can have."""


def open_folder(folder: Path, overwrite: bool) -> None:
    """Makes the folder of the outputs, or takes those of an earlier call out of it.

    Args:
        folder: must not be there, or be empty, or with ``overwrite`` hold what an earlier call wrote.
        overwrite: whether that may go.

    Raises:
        FileExistsError: it holds files, which are never mixed with new ones.
        ValueError: it cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        return
    if not (folder / RECORD).is_file():
        raise FileExistsError(
            f"output={folder} is not empty, and what is in it was not written by fcnseg.predict: choose another folder"
        )
    if not overwrite:
        raise FileExistsError(
            f"output={folder} holds predictions already: choose another folder, or set overwrite=true"
        )
    with writing(folder):
        for part in PARTS:
            if (folder / part).is_dir():
                shutil.rmtree(folder / part)


class Outputs:
    """Writes predictions into a folder.

    Attributes:
        folder: what open_folder has made.
        written: how many masks.
    """

    def __init__(self, folder: Path, classes: Sequence[str], overlays: bool, opacity: float) -> None:
        """Remembers how pictures are drawn.

        Args:
            folder: of the outputs.
            classes: names by label.
            overlays: whether to draw them.
            opacity: of the colours over the image, 0..1.
        """
        self.folder, self.classes, self.overlays, self.opacity = folder, tuple(classes), overlays, opacity
        self.written = 0

    def names(self, labels: Sequence[int]) -> dict[int, str]:
        """Returns the legend of some labels; background is left clear in overlays, and has no entry."""
        return {label: self.classes[label] for label in labels if label}

    def write(self, name: str, image: Pixels, labels: Labels, probabilities: NDArray[np.float16] | None) -> None:
        """Writes what is predicted of an image.

        Args:
            name: of the outputs, without an ending.
            image: [h, w, c].
            labels: [h, w].
            probabilities: [k, rows, columns], as the net saw the image.

        Raises:
            ValueError: the disk is full, or refuses otherwise.
        """
        self.write_mask(name, labels)
        self.write_probabilities(name, labels, probabilities)
        if self.overlays:
            legend = self.names([int(label) for label in np.unique(labels)])
            picture = with_legend(self.mixed(image, labels), legend)
            picture.thumbnail((JPEG_SIDE, JPEG_SIDE))
            saved = partial(picture.save, format="JPEG", quality=92, subsampling=0)
            write_durably(self.folder / "overlays" / f"{name}.jpg", saved)

    def write_probabilities(self, name: str, labels: Labels, probabilities: NDArray[np.float16] | None) -> None:
        """Writes the probabilities [k, rows, columns], as the net saw the image; nothing where there are none.

        Raises:
            ValueError: the disk is full, or refuses otherwise.
        """
        if probabilities is not None:
            names, size = np.array(self.classes), np.array(labels.shape)
            write_durably(
                self.folder / "probabilities" / f"{name}.npz",
                lambda file: np.savez_compressed(file, probabilities=probabilities, classes=names, size=size),
            )

    def write_mask(self, name: str, labels: Labels) -> None:
        """Writes labels as VOC does, a palette PNG; labels beyond a byte as grey values of 16 bits.

        Raises:
            ValueError: the disk is full, or refuses otherwise.
        """
        wide = labels.dtype != np.uint8
        picture = Image.fromarray(labels.astype(np.uint16)) if wide else as_palette(labels, None)
        write_durably(self.folder / "masks" / f"{name}.png", partial(picture.save, format="PNG"))
        self.written += 1

    def mixed(self, image: Pixels, labels: Labels) -> Pixels:
        """Lays the colours of labels over an image."""
        return overlay(as_rgb(image), labels, self.opacity, void=None)

    def record(self, content: Mapping[str, Any]) -> None:
        """Writes predictions.json.

        Raises:
            ValueError: the disk is full, or refuses otherwise.
        """
        text = json.dumps(content, indent=1) + "\n"
        write_durably(self.folder / RECORD, lambda file: file.write(text.encode()))


class OverlayVideo:
    """Writes overlays as a video with a legend of all classes, which stays the same from frame to frame."""

    def __init__(self, path: Path, rate: float, names: Mapping[int, str]) -> None:
        """Opens nothing yet: the first frame tells the size.

        Args:
            path: of the video, .mp4.
            rate: frames a second.
            names: {label: class}, of the legend.
        """
        self.path, self.rate, self.names = path, rate, names
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> "OverlayVideo":
        """Returns itself."""
        return self

    def add(self, picture: Pixels) -> None:
        """Adds a frame [h, w, 3].

        Raises:
            BrokenInputError: a video of this size cannot be encoded.
            ValueError: the disk is full, or refuses otherwise.
        """
        sheet = np.asarray(with_legend(picture, self.names))
        height, width = (side + side % 2 for side in sheet.shape[:2])  # codecs halve the colours' sides
        even = np.pad(sheet, ((0, height - sheet.shape[0]), (0, width - sheet.shape[1]), (0, 0)), mode="edge")
        if self._writer is None:
            with writing(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
            code = cv2.VideoWriter.fourcc(*"mp4v")
            rate = min(max(round(self.rate, 2), 0.01), MOST_FRAMES)  # MPEG-4 counts time in no finer steps
            self._writer = cv2.VideoWriter(str(self.path), code, rate, (width, height))
        if not self._writer.isOpened():
            raise BrokenInputError(
                f"{self.path} of {width}x{height} cannot be written as a video: set overlays=false to write masks alone"
            )
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the video."""
        if self._writer is not None:
            self._writer.release()
