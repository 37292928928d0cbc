"""Per-pixel cross-entropy, in the three normalisations that the papers and the release use."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fcnseg.sampling import kept_cells, kept_pixels
from fcnseg.shapes import VOID, Features, Logits, Targets
from fcnseg.upsampling import bands

Upsample: TypeAlias = Callable[..., Logits]
"""Carries fused scores to the pixels of an image of this height and width, or to some of its rows: FCN.upsample."""

Band: TypeAlias = Callable[[Tensor, tuple[int, int]], Tensor]
"""The loss of some rows of pixels, from the scores' tensor."""

REDUCTIONS = ("sum", "mean", "image_mean")
"""What loss.reduction may say."""


class Loss(NamedTuple):
    """A loss as a fraction, so that parts of a step can be added exactly.

    A step may consist of several batches and processes; its loss is the sum of all totals over the sum of all weights.

    Attributes:
        total: scalar, sum of the weighted pixel losses; what is differentiated.
        weight: scalar float64 without gradient: 1 for "sum", valid pixels that are kept (with weights of classes the
            sum of their weights) for "mean", images for "image_mean".
        pixels: scalar without gradient: valid pixels that are kept, or the sum of their weights.
    """

    total: Tensor
    weight: Tensor
    pixels: Tensor


class PixelCrossEntropy(nn.Module):
    """Softmax cross-entropy at every pixel that is not void.

    Sampling and weights of classes act in training mode alone, as dropout does, so that losses of validation compare.

    Paper: Sec. 4.3; "sum" is the unnormalised loss of PAMI's heavy learning.
    """

    class_weights: Tensor | None
    class_rates: Tensor | None

    def __init__(
        self,
        reduction: str = "mean",
        void: int = VOID,
        *,
        keep: float = 1.0,
        class_weights: Sequence[float] | None = None,
        class_rates: Sequence[float] | None = None,
    ) -> None:
        """Chooses the normalisation.

        Args:
            reduction: "sum" over pixels; "mean" over all valid pixels of the step, whatever batches and processes it
                is made of; "image_mean", the mean over images of each image's mean.
            void: label of pixels that do not count.
            keep: probability with which each cell of the last score map counts; see sampling.kept_cells.
            class_weights: of each class; pixels' losses are multiplied by them, and means are weighted means.
            class_rates: probability with which pixels of each class count; see sampling.kept_pixels.

        Raises:
            ValueError: an unknown reduction, or a probability outside 0..1.
        """
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"loss.reduction must be one of {', '.join(REDUCTIONS)}, not {reduction!r}")
        if not 0 < keep <= 1:
            raise ValueError(f"loss.keep must be above 0 and at most 1, not {keep}")
        self.reduction, self.void, self.keep = reduction, void, keep
        for name, values in (("class_weights", class_weights), ("class_rates", class_rates)):
            self.register_buffer(name, values if values is None else torch.tensor(values, dtype=torch.float64), False)

    def forward(self, scores: Features, upsample: Upsample, targets: Targets, chances: Tensor | None = None) -> Loss:
        """Compares scores with targets.

        Args:
            scores: fused scores before the last upsampling.
            upsample: carries them to pixels.
            targets: [n, h, w] classes, void included.
            chances: [n] int64, from which sampling draws for each image.

        Raises:
            ValueError: a target is neither a class nor void (checked on the CPU only; a GPU would have to wait), or
                the loss samples and there are no chances.
        """
        size = (targets.shape[1], targets.shape[2])
        cuts = bands(scores.tensor, size)
        if targets.device.type == "cpu":
            _check_labels(targets, scores.tensor.shape[1], self.void)
        if self.training and (self.keep < 1 or self.class_rates is not None):
            targets = self._sampled(scores, targets, chances)
        counts = self._counts(targets)
        divisors = counts.where(counts > 0, 1) if self.reduction == "image_mean" else None

        def band(tensor: Tensor, rows: tuple[int, int]) -> Tensor:
            place = () if rows == (0, size[0]) else (rows,)
            logits = upsample(Features(tensor, scores.grid), size, *place)
            return self._total(logits, targets[:, rows[0] : rows[1]], divisors)

        return Loss(_summed(band, scores.tensor, cuts), self._weight(counts), counts.sum())

    def _sampled(self, scores: Features, targets: Targets, chances: Tensor | None) -> Targets:
        """Makes void what was not drawn."""
        if chances is None:
            raise ValueError("a loss that samples needs chances, a number for each image")
        kept = targets != self.void
        if self.class_rates is not None:
            kept = kept & kept_pixels(targets, kept, chances, self.class_rates)
        if self.keep < 1:
            kept = kept & kept_cells(scores, (targets.shape[1], targets.shape[2]), chances, self.keep)
        return targets.masked_fill(~kept, self.void)

    @property
    def _weights(self) -> Tensor | None:
        return self.class_weights if self.training else None

    def _counts(self, targets: Targets) -> Tensor:
        """Returns [n], the pixels of each image that count, or the sum of their weights."""
        valid = targets != self.void
        if (weights := self._weights) is None:
            return valid.sum((1, 2))
        return (weights[targets.long().where(valid, 0)] * valid).sum((1, 2))

    def _total(self, logits: Logits, targets: Targets, divisors: Tensor | None) -> Tensor:
        logits = logits.float() if logits.itemsize < 4 else logits
        kind = "sum" if divisors is None else "none"
        weights = None if self._weights is None else self._weights.to(logits.dtype)
        losses = functional.cross_entropy(logits, targets.long(), weights, ignore_index=self.void, reduction=kind)
        return losses if divisors is None else (losses.sum((1, 2)) / divisors.to(losses.dtype)).sum()

    def _weight(self, counts: Tensor) -> Tensor:
        if self.reduction == "mean":
            return counts.sum().double()
        weight = 1.0 if self.reduction == "sum" else float(len(counts))
        return torch.full((), weight, dtype=torch.float64, device=counts.device)  # a tensor from a number would wait


def _summed(band: Band, scores: Tensor, cuts: Sequence[tuple[int, int]]) -> Tensor:
    """Adds up the losses of bands; where there are several, each is differentiated before the next is computed."""
    if len(cuts) == 1 or not torch.is_grad_enabled() or not scores.requires_grad or _is_trained(band, scores, cuts[0]):
        return torch.stack([band(scores, rows) for rows in cuts]).sum()
    return cast(Tensor, BandedLoss.apply(scores, band, cuts))


def _is_trained(band: Band, scores: Tensor, rows: tuple[int, int]) -> bool:
    """Whether the upsampling has weights of its own that want a gradient."""
    return band(scores.detach(), (rows[0], rows[0] + 1)).requires_grad


class BandedLoss(torch.autograd.Function):
    """A sum over bands that keeps the gradient of the scores, and never the logits of more than one band."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, band: Band, cuts: Sequence[tuple[int, int]]) -> Tensor:
        """Adds up the bands' losses and their gradients."""
        tensor = (scores.float() if scores.itemsize < 4 else scores).detach().requires_grad_()
        gradient, totals = torch.zeros_like(tensor), []
        for rows in cuts:
            with torch.enable_grad():
                total = band(tensor.view_as(tensor), rows)  # a view, because who watches modules cannot watch leaves
            gradient += torch.autograd.grad(total, tensor)[0]
            totals.append(total.detach())
        ctx.save_for_backward(gradient)
        ctx.dtype = scores.dtype
        return torch.stack(totals).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        """Scales the gradient that was kept."""
        (gradient,) = ctx.saved_tensors
        return (gradient * slope).to(ctx.dtype), None, None


def _check_labels(labels: Tensor, classes: int, void: int) -> None:
    bad = (labels != void) & ((labels < 0) | (labels >= classes))
    if bad.any():
        wrong = labels[bad]
        raise ValueError(
            f"the masks hold {sorted(set(wrong.tolist()))[:5]}, which is neither a class (0..{classes - 1}) "
            f"nor void ({void})"
        )
