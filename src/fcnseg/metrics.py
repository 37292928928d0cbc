"""The four scores of the paper, all read off one confusion matrix over the whole set."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from fcnseg.shapes import VOID, Predictions, Targets

SHORT_RUN = 6
"""Mean length of runs of equal pixels up to which they are counted one by one."""


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

    A row for each of the 256 values that a target may have: those behind the classes must hold void alone.
    """
    few = 256 * classes <= torch.iinfo(torch.int16).max
    if not (predictions.dtype == targets.dtype == torch.uint8 and few and targets.numel()):
        return None
    size = 256 * classes
    if (found := _by_runs(targets, predictions, classes, size)) is None:
        pairs = targets.to(torch.int16).mul_(classes).add_(predictions)
        found = torch.bincount(pairs.flatten(), minlength=size), predictions.max()
    counts, largest = found
    rows = counts[:size].reshape(256, classes)
    known = rows[:classes].sum() + (rows[void].sum() if classes <= void < 256 else 0)
    if known != targets.numel() or largest >= classes:
        return None
    matrix = torch.as_tensor(rows[:classes]).clone()
    if 0 <= void < classes:
        matrix[void] = 0
    return matrix


def _by_runs(targets: Tensor, predictions: Tensor, classes: int, size: int) -> tuple[Any, Any] | None:
    """Counts runs of equal pairs of bytes, of which there are few where objects have areas.

    Args:
        targets: [n, h, w].
        predictions: [n, h, w].
        classes: number of classes.
        size: number of pairs.

    Returns:
        [size or more] pixels of each pair, and the largest prediction, both of numpy; None where runs are short, and on
        a GPU, which would have to wait for their number.
    """
    if targets.device.type != "cpu":
        return None
    truth, guess = targets.numpy().reshape(-1), predictions.numpy().reshape(-1)
    changes = (truth[1:] != truth[:-1]) | (guess[1:] != guess[:-1])  # numpy compares bytes several times as fast
    if np.count_nonzero(changes) * SHORT_RUN > len(truth):
        return None
    ends = np.append(np.flatnonzero(changes), len(truth) - 1)
    pairs = truth[ends].astype(np.int64) * classes + guess[ends]
    pixels = np.bincount(pairs, np.diff(ends, prepend=-1), size)  # in float64, exact to 2**53
    return pixels.astype(np.int64), guess[ends].max()


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
