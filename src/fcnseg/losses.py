"""Per-pixel cross-entropy, in the three normalisations that the papers and the release use."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from fcnseg.shapes import VOID, Features, Logits, Targets

Upsample: TypeAlias = Callable[[Features, tuple[int, int]], Logits]
"""Carries fused scores to the pixels of an image of this height and width: FCN.upsample."""

REDUCTIONS = ("sum", "mean", "image_mean")
"""What loss.reduction may say."""


class Loss(NamedTuple):
    """A loss as a fraction, so that parts of a step can be added exactly.

    A step may consist of several batches and processes; its loss is the sum of all totals over the sum of all weights.

    Attributes:
        total: scalar, sum of the weighted pixel losses; what is differentiated.
        weight: scalar float64 without gradient: 1 for "sum", valid pixels for "mean", images for "image_mean".
    """

    total: Tensor
    weight: Tensor


class PixelCrossEntropy(nn.Module):
    """Softmax cross-entropy at every pixel that is not void.

    Paper: Sec. 4.3; "sum" is the unnormalised loss of PAMI's heavy learning.
    """

    def __init__(self, reduction: str = "mean", void: int = VOID) -> None:
        """Chooses the normalisation.

        Args:
            reduction: "sum" over pixels; "mean" over all valid pixels of the step, whatever batches and processes it
                is made of; "image_mean", the mean over images of each image's mean.
            void: label of pixels that do not count.

        Raises:
            ValueError: an unknown reduction.
        """
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"loss.reduction must be one of {', '.join(REDUCTIONS)}, not {reduction!r}")
        self.reduction, self.void = reduction, void

    def forward(self, scores: Features, upsample: Upsample, targets: Targets) -> Loss:
        """Compares scores with targets.

        Args:
            scores: fused scores before the last upsampling.
            upsample: carries them to pixels.
            targets: [n, h, w] classes, void included.

        Raises:
            ValueError: a target is neither a class nor void (checked on the CPU only; a GPU would have to wait).
        """
        logits = upsample(scores, (targets.shape[1], targets.shape[2]))
        labels = targets.long()
        if labels.device.type == "cpu":
            _check_labels(labels, logits.shape[1], self.void)
        logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
        kind = "none" if self.reduction == "image_mean" else "sum"
        losses = functional.cross_entropy(logits, labels, ignore_index=self.void, reduction=kind)
        valid = labels != self.void
        if self.reduction == "sum":
            return Loss(losses, torch.ones((), dtype=torch.float64, device=losses.device))
        if self.reduction == "mean":
            return Loss(losses, valid.sum().double())
        means = losses.sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)
        return Loss(means.sum(), torch.tensor(float(len(labels)), dtype=torch.float64, device=losses.device))


def _check_labels(labels: Tensor, classes: int, void: int) -> None:
    wrong = labels[(labels != void) & ((labels < 0) | (labels >= classes))]
    if len(wrong):
        raise ValueError(
            f"the masks hold {sorted(set(wrong.tolist()))[:5]}, which is neither a class (0..{classes - 1}) "
            f"nor void ({void})"
        )
