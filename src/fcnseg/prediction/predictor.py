"""A trained net that predicts whole images: in parts where they are large, and averaged over flips and scales."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcnseg.data.decoding import Labels, Pixels
from fcnseg.fcn import FCN, best_classes
from fcnseg.prediction.tiling import Region, Tiling, region_logits
from fcnseg.upsampling import bands

MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""What the forward pass computes in."""


class Variant(NamedTuple):
    """One view of the images, of several whose probabilities are averaged.

    Attributes:
        scale: factor on both sides.
        flip: left and right exchanged.
    """

    scale: float = 1.0
    flip: bool = False


def variants(scales: Sequence[float], flip: bool) -> tuple[Variant, ...]:
    """Returns every scale as it is, and with ``flip`` mirrored too."""
    return tuple(
        Variant(float(scale), mirrored) for scale in scales for mirrored in ((False, True) if flip else (False,))
    )


class Prediction(NamedTuple):
    """What is predicted of one image.

    Attributes:
        labels: [h, w], uint8, or int32 above 256 classes.
        probabilities: [k, h, w], float16; None where they were not asked for.
    """

    labels: Labels
    probabilities: NDArray[np.float16] | None


class Predictor:
    """Predicts images of any size.

    Attributes:
        net: in evaluation mode.
        cut: how large images are cut.
        variants: the views whose probabilities are averaged.
        precision: of the forward pass, as trainer.precision.
    """

    def __init__(
        self, net: FCN, cut: Tiling, variants: Sequence[Variant] = (Variant(),), precision: str = "32-true"
    ) -> None:
        """Keeps the net as it is, in evaluation mode."""
        self.net, self.cut, self.variants, self.precision = net.eval(), cut, tuple(variants), precision

    def predict(self, images: Pixels, probabilities: bool = False) -> list[Prediction]:
        """Predicts images of one size.

        Args:
            images: [n, h, w, c].
            probabilities: whether they are returned too.

        Raises:
            ValueError: what the net refuses.
        """
        number, height, width = images.shape[:3]
        dtype = np.int32 if self.net.num_classes > 256 else np.uint8
        labels: NDArray[Any] = np.empty((number, height, width), dtype)
        shape = (number, self.net.num_classes, height, width)
        kept = np.empty(shape, np.float16) if probabilities else None
        views = [seen_as(images, variant) for variant in self.variants]
        with torch.inference_mode():
            for region in self.cut.regions(height, width):
                rows, columns = region.slices
                for part, found, shares in self._region(views, region, (height, width), probabilities):
                    band = slice(rows.start + part[0], rows.start + part[1])
                    labels[:, band, columns] = found.cpu().numpy()
                    if kept is not None and shares is not None:
                        kept[:, :, band, columns] = shares.half().cpu().numpy()
        return [Prediction(labels[n], None if kept is None else kept[n]) for n in range(number)]

    def _region(
        self, views: Sequence[Pixels], region: Region, size: tuple[int, int], probabilities: bool
    ) -> Iterator[tuple[tuple[int, int], Tensor, Tensor | None]]:
        """Yields rows of a region with the labels in them, and the probabilities if they are needed."""
        if self.variants == (Variant(),):
            for rows, logits in self._logits(views[0], region):
                yield rows, best_classes(logits), logits.softmax(1) if probabilities else None
            return
        total = sum(
            self._mapped(view, variant, region, size) for view, variant in zip(views, self.variants, strict=True)
        )
        mean = cast(Tensor, total) / len(self.variants)
        yield (0, region.size[0]), best_classes(mean), mean

    def _logits(self, images: Pixels, region: Region) -> Iterator[tuple[tuple[int, int], Tensor]]:
        """Yields the logits of a region band by band, so that memory does not grow with classes times pixels."""
        device = next(self.net.parameters()).device
        seen = self.cut.seen(region, images.shape[1], images.shape[2])
        tensor = torch.from_numpy(np.ascontiguousarray(images[:, *seen.slices])).permute(0, 3, 1, 2).to(device)
        with self._arithmetic(device.type):
            scores = self.net.scores(tensor)
            for rows in bands(scores.tensor, region.size):
                yield rows, region_logits(self.net, scores, seen, region, rows)

    def _arithmetic(self, device: str) -> AbstractContextManager[None]:
        mixed = MIXED.get(self.precision)
        return torch.autocast(device, mixed) if mixed else nullcontext()

    def _mapped(self, view: Pixels, variant: Variant, region: Region, size: tuple[int, int]) -> Tensor:
        """Returns the probabilities [n, k, ...] of a region by one view, laid back onto the image."""
        _, height, width, _ = view.shape
        rows = Line.between(size[0], height, *region.rows)
        columns = Line.between(size[1], width, *region.columns)
        span = (width - columns.span[1], width - columns.span[0]) if variant.flip else columns.span
        parts = [logits.softmax(1) for _, logits in self._logits(view, Region(rows.span, span))]
        shares = torch.cat(parts, dim=2)
        shares = shares.flip(3) if variant.flip else shares
        if (height, width) == size:
            return shares
        return rows.matrix(shares) @ shares @ columns.matrix(shares).t()


class Line(NamedTuple):
    """How pixels along one side of a resized map become pixels along that side of the image, bilinearly.

    Attributes:
        span: first pixel of the map that is needed, and the one behind the last.
        low: the pixel before each wanted one.
        high: the one after it.
        share: of the latter.
    """

    span: tuple[int, int]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    share: NDArray[np.float64]

    @classmethod
    def between(cls, pixels: int, mapped: int, first: int, behind: int) -> "Line":
        """Finds them.

        Args:
            pixels: along the image's side.
            mapped: along the map's.
            first: pixel of the image that is wanted.
            behind: the one behind the last.
        """
        place = ((np.arange(first, behind) + 0.5) * (mapped / pixels) - 0.5).clip(0, mapped - 1)
        low = place.astype(np.int64)
        high = np.minimum(low + 1, mapped - 1)
        return cls((int(low[0]), int(high[-1]) + 1), low, high, place - low)

    def matrix(self, like: Tensor) -> Tensor:
        """Returns [wanted pixels, pixels in the span]."""
        weights, at = np.zeros((len(self.low), self.span[1] - self.span[0])), np.arange(len(self.low))
        np.add.at(weights, (at, self.low - self.span[0]), 1 - self.share)
        np.add.at(weights, (at, self.high - self.span[0]), self.share)
        return torch.from_numpy(weights).to(like)


def seen_as(images: Pixels, variant: Variant) -> Pixels:
    """Returns images [n, h, w, c] resized (by areas where they shrink, else bilinearly) and mirrored."""
    height, width = (max(1, round(side * variant.scale)) for side in images.shape[1:3])
    if (height, width) != images.shape[1:3]:
        way = cv2.INTER_AREA if variant.scale < 1 else cv2.INTER_LINEAR
        channels = images.shape[3]
        resized = np.empty((len(images), height, width, channels), np.uint8)
        for image, place in zip(images, resized, strict=True):
            for first in range(0, channels, 4):  # OpenCV's areas end at four channels
                part = np.ascontiguousarray(image[:, :, first : first + 4])
                place[:, :, first : first + 4] = np.atleast_3d(cv2.resize(part, (width, height), interpolation=way))
        images = resized
    return images[:, :, ::-1] if variant.flip else images
