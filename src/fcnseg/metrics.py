"""The four scores of the paper, all read off one confusion matrix over the whole set."""

from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from fcnseg.shapes import VOID, Predictions, Targets

MOST_CLASSES = 126
"""Up to so many, a number of 16 bits holds a target of 8 bits with a prediction."""

MOST_EXACT = 2**24
"""Up to so many pixels, OpenCV's histograms in float32 are exact."""

COPIES = 4
"""Of the matrix, among which neighbouring pixels take turns."""


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
        self.matrix += self._count_checked(predictions, targets) if pairs is None else pairs
        self.images += len(targets)

    def _count_checked(self, predictions: Predictions, targets: Targets) -> Tensor:
        """Counts labels of any kind, and says what is wrong with them."""
        valid = targets != self.void
        truth, guess = targets[valid].long(), predictions[valid].long()
        if truth.numel():
            self._check(truth, "targets")
            self._check(guess, "predictions")
        pairs = torch.bincount(truth * self.num_classes + guess, minlength=self.num_classes**2)
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
    """Counts bytes, whose pairs are few enough for one histogram; None where other labels must be looked at one by one.

    What lies outside the classes is in no cell, so that the sum tells whether anything but void was left out.
    """
    if not (predictions.dtype == targets.dtype == torch.uint8 and classes <= MOST_CLASSES and targets.numel()):
        return None
    if targets.device.type == "cpu":
        truth, guess = targets.numpy(), predictions.numpy()
        matrix = torch.from_numpy(_in_turns(truth, guess, classes))
        ignored: Tensor | int = int(np.count_nonzero(truth == void)) if classes <= void < 256 else 0
    else:
        matrix, ignored = _by_bincount(targets, predictions, classes, void)
    if matrix.sum() + ignored != targets.numel():
        return None
    if 0 <= void < classes:
        matrix[void] = 0
    return matrix


def _in_turns(targets: NDArray[np.uint8], predictions: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Counts pairs of bytes on the CPU, neighbours in different copies of the matrix that are added up at the end.

    Neighbours mostly fall into the same cell, and a processor that must increase one number again and again waits each
    time until the last sum is stored.
    """
    truth, guess = targets.reshape(-1), predictions.reshape(-1)
    turns = _turns(1 << (min(len(truth), MOST_EXACT) - 1).bit_length())
    total = np.zeros((classes, classes), np.int64)
    sizes, ranges = [COPIES, classes, classes], [0, COPIES, 0, classes, 0, classes]
    for start in range(0, len(truth), MOST_EXACT):
        each = truth[start : start + MOST_EXACT], guess[start : start + MOST_EXACT]
        total += cv2.calcHist([turns[: len(each[0])], *each], [0, 1, 2], None, sizes, ranges).sum(0).astype(np.int64)
    return total


@lru_cache(maxsize=1)
def _turns(pixels: int) -> NDArray[np.uint8]:
    return np.resize(np.arange(COPIES, dtype=np.uint8), pixels)


def _by_bincount(targets: Targets, predictions: Predictions, classes: int, void: int) -> tuple[Tensor, Tensor | int]:
    """Counts pairs of bytes on a GPU; returns the matrix of those within the classes, and the number of void pixels.

    A row for each of the 256 values that a target may have, and in it a cell for each prediction and one for others.
    """
    columns = classes + 1
    pairs = targets.to(torch.int16).mul_(columns).add_(predictions.clamp(max=classes))
    cells = torch.bincount(pairs.flatten(), minlength=256 * columns).view(256, columns)
    return cells[:classes, :classes].clone(), cells[void].sum() if classes <= void < 256 else 0


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
