"""Predicts all inputs, in batches of one size, and keeps account of what was written and what was skipped."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import cv2
import numpy as np

from fcnseg.data.decoding import Pixels
from fcnseg.prediction.inputs import Item
from fcnseg.prediction.outputs import Outputs, OverlayVideo
from fcnseg.prediction.predictor import Prediction, Predictor
from fcnseg.prediction.reading import BrokenInputError, Frames, View, resized_back, stored_image, upright_image

WAITING = 4
"""Batches that may wait for more images of their size."""

WANT = re.compile(r"out of memory|[Nn]ot enough memory|can't allocate|[Ii]nsufficient memory")
"""What torch and OpenCV say when memory ends."""


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
            ValueError: an output cannot be written.
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
            self._skip(item, str(error))
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
        try:
            predictions = self._predicted([each.seen for each in batch])
        except BrokenInputError as error:
            for item, _, _ in batch:
                self._skip(item, f"{item.path}: {error}")
            return
        for (item, image, _), (labels, shares) in zip(batch, predictions, strict=True):
            self.outputs.write(item.name, image, resized_back(labels, image.shape[:2]), shares)
            self.done[str(item.path)] = item.name

    def _predicted(self, seen: Sequence[Pixels], before: str = "") -> list[Prediction]:
        """Predicts images of one size.

        Args:
            seen: as the net sees them.
            before: what a message begins with.

        Raises:
            BrokenInputError: the net refuses this size, or memory does not suffice for it.
        """
        try:
            return self.predictor.predict(np.stack(seen), self.probabilities)
        except ValueError as error:
            raise BrokenInputError(f"{before}{error}") from error
        except (MemoryError, RuntimeError, cv2.error) as error:  # each library has its own way to say so
            if not isinstance(error, MemoryError) and not WANT.search(str(error)):
                raise
            height, width = seen[0].shape[:2]
            raise BrokenInputError(
                f"{before}memory does not suffice for {len(seen)} images of {width}x{height} at once: set a smaller "
                "memory=, tile= or batch_size="
            ) from error

    def _predict_video(self, item: Item) -> None:
        """Writes a mask for each frame that is taken, and one video of overlays."""
        try:
            frames = Frames.opened(item.path)
            legend = self.outputs.names(range(len(self.outputs.classes)))
            name = item.name if item.name.lower().endswith(".mp4") else f"{item.name}.mp4"
            target = self.outputs.folder / "overlays" / name
            video = OverlayVideo(target, frames.rate / self.frame_step, legend) if self.outputs.overlays else None
            with video or nullcontext():
                for batch in self._taken(frames):
                    predictions = self._predicted([self.view.of(image) for _, image in batch], f"{item.path}: ")
                    for (number, image), (seen, shares) in zip(batch, predictions, strict=True):
                        labels, name = resized_back(seen, image.shape[:2]), f"{item.name}/{number:06d}"
                        self.outputs.write_mask(name, labels)
                        self.outputs.write_probabilities(name, labels, shares)
                        self.done[str(item.path)] = item.name
                        if video is not None:
                            video.add(self.outputs.mixed(image, labels))
        except BrokenInputError as error:
            self._skip(item, str(error))

    def _taken(self, frames: Frames) -> Iterator[list[tuple[int, Pixels]]]:
        """Yields the frames that are taken with their numbers, so many at a time as are predicted together.

        Raises:
            BrokenInputError: as Frames.read, when what was read before is yielded.
        """
        batch: list[tuple[int, Pixels]] = []
        try:
            for number, image in enumerate(frames.read(self.channels)):
                if number % self.frame_step == 0:
                    batch.append((number, image))
                if len(batch) == self.batch_size:
                    yield batch
                    batch = []
        except BrokenInputError:
            if batch:
                yield batch
            raise
        if batch:
            yield batch

    def _skip(self, item: Item, said: str) -> None:
        self.skipped[str(item.path)] = said
        self.report(said)
