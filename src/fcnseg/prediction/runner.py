"""Predicts all inputs, in batches of one size, and keeps account of what was written and what was skipped."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np

from fcnseg.data.decoding import Pixels
from fcnseg.prediction.inputs import Item
from fcnseg.prediction.outputs import Outputs, OverlayVideo
from fcnseg.prediction.predictor import Predictor
from fcnseg.prediction.reading import BrokenInputError, Frames, View, resized_back, stored_image, upright_image

WAITING = 4
"""Batches that may wait for more images of their size."""


class Waiting(NamedTuple):
    """An image that is due.

    Attributes:
        item: the input.
        image: [h, w, c], as it is drawn.
        seen: as the net sees it.
    """

    item: Item
    image: Pixels
    seen: Pixels


class Run:
    """Predicts inputs one after the other.

    Attributes:
        skipped: {path: what is wrong with it}.
        done: {path: name of the outputs}.
    """

    def __init__(
        self,
        predictor: Predictor,
        view: View,
        outputs: Outputs,
        *,
        batch_size: int = 1,
        probabilities: bool = False,
        as_stored: bool = False,
        frame_step: int = 1,
        report: Callable[[str], None] = lambda said: None,
    ) -> None:
        """Keeps what is needed.

        Args:
            predictor: the net.
            view: how it saw images in its validation.
            outputs: where predictions go.
            batch_size: images of one size that are predicted together.
            probabilities: whether to write them.
            as_stored: whether to leave images as they are stored, without EXIF's turn.
            frame_step: take one of so many frames of a video.
            report: told of each input that is skipped.
        """
        self.predictor, self.view, self.outputs, self.report = predictor, view, outputs, report
        self.batch_size, self.probabilities, self.frame_step = batch_size, probabilities, frame_step
        self.read = stored_image if as_stored else upright_image
        self.channels = predictor.net.backbone.in_channels
        self.skipped: dict[str, str] = {}
        self.done: dict[str, str] = {}
        self._waiting: dict[tuple[int, ...], list[Waiting]] = {}

    def predict(self, items: Iterable[Item]) -> None:
        """Predicts all inputs; a broken one is reported and skipped.

        Raises:
            ValueError: an output cannot be written, or the net refuses what it gets.
        """
        for item in items:
            if item.is_video:
                self._predict_video(item)
            else:
                self._predict_image(item)
        for size in list(self._waiting):
            self._flush(size)

    def _predict_image(self, item: Item) -> None:
        try:
            image = self.read(item.path, self.channels)
        except BrokenInputError as error:
            self._skip(item, error)
            return
        seen = self.view.of(image)
        self._waiting.setdefault(seen.shape, []).append(Waiting(item, image, seen))
        large = max(seen.shape[:2]) > self.predictor.cut.side
        if large or len(self._waiting[seen.shape]) >= self.batch_size:
            self._flush(seen.shape)
        elif sum(map(len, self._waiting.values())) >= WAITING * self.batch_size:
            self._flush(max(self._waiting, key=lambda size: len(self._waiting[size])))

    def _flush(self, size: tuple[int, ...]) -> None:
        batch = self._waiting.pop(size)
        predictions = self.predictor.predict(np.stack([each.seen for each in batch]), self.probabilities)
        for (item, image, _), (labels, shares) in zip(batch, predictions, strict=True):
            self.outputs.write(item.name, image, resized_back(labels, image.shape[:2]), shares)
            self.done[str(item.path)] = item.name

    def _predict_video(self, item: Item) -> None:
        """Writes a mask for each frame that is taken, and one video of overlays."""
        try:
            frames = Frames.opened(item.path)
            legend = self.outputs.names(range(len(self.outputs.classes)))
            name = item.name if item.name.lower().endswith(".mp4") else f"{item.name}.mp4"
            target = self.outputs.folder / "overlays" / name
            video = OverlayVideo(target, frames.rate / self.frame_step, legend) if self.outputs.overlays else None
            with video or nullcontext():
                for number, image in self._taken(frames):
                    labels = resized_back(self.predictor.predict(self.view.of(image)[None])[0].labels, image.shape[:2])
                    self.outputs.write_mask(f"{item.name}/{number:06d}", labels)
                    self.done[str(item.path)] = item.name
                    if video is not None:
                        video.add(self.outputs.mixed(image, labels))
        except BrokenInputError as error:
            self._skip(item, error)

    def _taken(self, frames: Frames) -> Iterator[tuple[int, Pixels]]:
        for number, image in enumerate(frames.read(self.channels)):
            if number % self.frame_step == 0:
                yield number, image

    def _skip(self, item: Item, error: Exception) -> None:
        self.skipped[str(item.path)] = str(error)
        self.report(str(error))
