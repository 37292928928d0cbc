"""The four scores of the paper, all read off one confusion matrix over the whole set."""

from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from fcnseg.shapes import VOID, Predictions, Targets

MOST_CLASSES = 255
"""Up to so many, bytes have a value left for predictions outside the classes."""

MOST_ON_GPU = 127
"""Up to so many, a number of 16 bits holds a target of 8 bits with a prediction."""

MOST_EXACT = 2**24
"""Up to so many pixels, OpenCV's histograms in float32 are exact."""

SHORT_RUN = 6
"""Pixels: where runs of equal labels are shorter on average, counting pixel by pixel is faster."""


class Scores(NamedTuple):
    """The paper's four scores as fractions, and the IU of every class.

    Attributes:
        pixel_acc: correctly labelled pixels over all pixels.
        mean_acc: mean over classes of the share of their pixels that is found.
        mean_iu: mean over classes of intersection over union.
        fw_iu: intersection over union weighted by how often the class occurs.
        per_class_iu: NaN for classes that neither occur nor are predicted; means leave them out.

    Paper: Sec. 5
    """

    pixel_acc: float
    mean_acc: float
    mean_iu: float
    fw_iu: float
    per_class_iu: tuple[float, ...]


def scores_from_confusion(matrix: Tensor) -> Scores:
    """Computes the scores from a matrix [k, k] of pixel counts, truth in rows and predictions in columns."""
    counts = matrix.double()
    hits, truth, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    iu = hits / (truth + predicted - hits)
    return Scores(
        pixel_acc=float(hits.sum() / counts.sum()),
        mean_acc=float((hits / truth).nanmean()),
        mean_iu=float(iu.nanmean()),
        fw_iu=float((truth / counts.sum() * iu).nansum()) if counts.any() else float("nan"),
        per_class_iu=tuple(iu.tolist()),
    )


class ConfusionMatrix(Metric):
    """Counts pixels by true and predicted class over a whole set, summed exactly across processes.

    Unlike means of per-batch or per-image scores, what is read off it does not depend on batches or processes.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    matrix: Tensor
    images: Tensor

    def __init__(self, num_classes: int, void: int = VOID, **options: Any) -> None:
        """Starts with a matrix of zeros.

        Args:
            num_classes: classes including background.
            void: label of pixels that do not count.
            options: torchmetrics' own.

        Raises:
            ValueError: fewer than two classes.
        """
        super().__init__(**options)
        if num_classes < 2:
            raise ValueError(f"num_classes counts background, so it is at least 2, not {num_classes}")
        self.num_classes, self.void = num_classes, void
        self.add_state("matrix", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predictions: Predictions, targets: Targets) -> None:
        """Adds the pixels of some images.

        Args:
            predictions: [n, h, w] classes.
            targets: [n, h, w] classes, void included.

        Raises:
            ValueError: the shapes differ, or a label is neither a class nor void.
        """
        if predictions.shape != targets.shape:
            raise ValueError(f"predictions {list(predictions.shape)} and targets {list(targets.shape)} differ in shape")
        pairs = _count(predictions, targets, self.num_classes, self.void)
        self.matrix.add_(self._count_checked(predictions, targets) if pairs is None else pairs)
        self.images.add_(len(targets))

    def _count_checked(self, predictions: Predictions, targets: Targets) -> Tensor:
        """Counts labels of any kind, and says what is wrong with them."""
        targets = targets.long()  # as bytes they would equal a void of -1 or 300 that they cannot hold
        valid = targets != self.void
        targets, predictions = targets[valid], predictions[valid].long()
        if targets.numel():
            self._check(targets, "targets")
            self._check(predictions, "predictions")
        pairs = torch.bincount(targets * self.num_classes + predictions, minlength=self.num_classes**2)
        return pairs.view(self.num_classes, self.num_classes)

    def _check(self, labels: Tensor, what: str) -> None:
        low, high = labels.min(), labels.max()
        if low < 0 or high >= self.num_classes:
            raise ValueError(
                f"the {what} hold labels from {int(low)} to {int(high)}; classes are "
                f"0..{self.num_classes - 1}, void {self.void}"
            )

    def compute(self) -> Scores:
        """Returns the scores of everything counted so far."""
        return scores_from_confusion(self.matrix)


def _count(predictions: Predictions, targets: Targets, classes: int, void: int) -> Tensor | None:
    """Counts bytes, whose pairs are few enough for one table; None where other labels must be looked at one by one.

    The table has a row for each of the 256 values that a target may have, and in it a cell for each prediction and one
    for others, so that its sum tells whether anything but void lies outside the classes.
    """
    on_cpu = targets.device.type == "cpu"
    most = MOST_CLASSES if on_cpu else MOST_ON_GPU
    if not (predictions.dtype == targets.dtype == torch.uint8 and classes <= most and targets.numel()):
        return None
    table: Tensor | NDArray[np.int64]
    if on_cpu:
        table = _table_by_runs(targets.numpy().reshape(-1), predictions.numpy().reshape(-1), classes + 1)
    else:
        table = _table_by_bincount(targets.flatten(), predictions.flatten(), classes + 1)
    matrix, ignored = table[:classes, :classes], table[void].sum() if classes <= void < 256 else 0
    if matrix.sum() + ignored != targets.numel():
        return None
    if 0 <= void < classes:
        matrix[void] = 0
    return matrix if isinstance(matrix, Tensor) else torch.from_numpy(matrix)


def _table_by_runs(targets: NDArray[np.uint8], predictions: NDArray[np.uint8], columns: int) -> NDArray[np.int64]:
    """Counts by runs of pixels that are labelled alike, of which a segmented image has far fewer than pixels.

    Counting pixel by pixel, a processor increases one number again and again, and each time waits for the last sum.
    """
    changes = targets[1:] != targets[:-1]
    changes |= predictions[1:] != predictions[:-1]
    runs = int(np.count_nonzero(changes)) + 1
    if runs * SHORT_RUN > len(targets):
        return _table_by_histogram(targets, predictions, columns)
    ends, lengths = np.empty(runs, np.intp), np.empty(runs)
    ends[:-1], ends[-1] = changes.nonzero()[0], len(targets) - 1
    lengths[0] = ends[0] + 1
    np.subtract(ends[1:], ends[:-1], out=lengths[1:])
    cells = targets[ends] * np.intp(columns)
    cells += np.minimum(predictions[ends], columns - 1)
    return np.bincount(cells, lengths, 256 * columns).astype(np.int64).reshape(256, columns)


def _table_by_histogram(targets: NDArray[np.uint8], predictions: NDArray[np.uint8], columns: int) -> NDArray[np.int64]:
    """Counts pixel by pixel on the CPU."""
    total, others = np.zeros((256, columns), np.int64), np.minimum(predictions, columns - 1)
    for start in range(0, len(targets), MOST_EXACT):
        each = [labels[start : start + MOST_EXACT] for labels in (targets, others)]
        total += cv2.calcHist(each, [0, 1], None, [256, columns], [0, 256, 0, columns]).astype(np.int64)
    return total


def _table_by_bincount(targets: Tensor, predictions: Tensor, columns: int) -> Tensor:
    """Counts pixel by pixel on a GPU."""
    pairs = targets.to(torch.int16).mul_(columns).add_(predictions.clamp(max=columns - 1))
    return torch.bincount(pairs, minlength=256 * columns).view(256, columns)


class MeanLoss(Metric):
    """The loss over a whole set: all totals over all weights, in float64 whatever the net computes in."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self, **options: Any) -> None:
        """Starts from nothing; options are torchmetrics' own."""
        super().__init__(**options)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, total: Tensor, weight: Tensor) -> None:
        """Adds one batch's loss, as a fraction."""
        self.total += total.double()
        self.weight += weight.double()

    def compute(self) -> Tensor:
        """Returns the loss of everything added so far; NaN for nothing."""
        return self.total / self.weight
