"""Losses and gradients that are no numbers never reach the weights."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.utils import get_total_norm

CHOICES = ("stop", "skip")
"""What trainer.on_nonfinite may say."""


class NonFiniteError(ValueError):
    """A loss or a gradient was infinite or not a number."""


class Guard:
    """Watches the loss and the gradients of every step.

    On a processor, and for "skip", each step is looked at before it changes a weight. On a GPU "stop" does not wait for
    the device: gradients that are not finite become zero there, and the run ends when it is next looked at, before
    anything is saved.

    Attributes:
        skipped: steps that "skip" has left out.
    """

    def __init__(self, on_nonfinite: str = "stop") -> None:
        """Chooses what happens.

        Args:
            on_nonfinite: "stop" the run, or "skip" the step and count it.

        Raises:
            ValueError: an unknown choice.
        """
        if on_nonfinite not in CHOICES:
            raise ValueError(f"trainer.on_nonfinite must be one of {', '.join(CHOICES)}, not {on_nonfinite!r}")
        self.on_nonfinite, self.skipped = on_nonfinite, 0
        self._loss: Tensor | None = None
        self._images: list[str] = []
        self._steps: list[tuple[int, float, list[str]]] = []
        self._finite: list[Tensor] = []

    def saw(self, total: Tensor, weight: Tensor, images: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Takes note of a batch's loss and of the ids of its images.

        Returns:
            Total and weight for the curve: nothing of a batch that is left out.
        """
        loss = total.detach()
        self._loss = loss if self._loss is None else self._loss + loss
        self._images.extend(images)
        if self.on_nonfinite == "stop":
            return loss, weight
        return loss.where(loss.isfinite(), 0), weight.where(loss.isfinite(), 0)

    def judge(self, trainer: Any, parameters: Iterable[Parameter]) -> Tensor:
        """Looks at a step's gradients, after they were scaled and before they are used.

        Args:
            trainer: tells step, learning rate and the other processes.
            parameters: those of the optimiser.

        Returns:
            The norm of all gradients; not a number for a step that is left out.

        Raises:
            NonFiniteError: the step is not finite, and the run is to stop.
        """
        trained = [parameter for parameter in parameters if parameter.grad is not None]
        norm = get_total_norm([parameter.grad for parameter in trained if parameter.grad is not None])
        loss = norm if self._loss is None else self._loss
        # A scaler of half precision expects gradients that overflow, and leaves such steps out by itself.
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        finite = loss.isfinite() if scaled else loss.isfinite() & norm.isfinite()
        self._steps.append((trainer.global_step + 1, trainer.optimizers[0].param_groups[0]["lr"], self._images))
        self._finite.append(finite)
        self._loss, self._images = None, []
        if self.on_nonfinite == "skip":
            return norm.new_tensor(torch.nan) if self._skip(trainer, trained) else norm
        if self._is_known(finite):
            self.raise_if_bad(trainer)
        else:
            for parameter in trained:
                assert parameter.grad is not None
                parameter.grad.masked_fill_(~finite, 0)
        return norm

    def _is_known(self, finite: Tensor) -> bool:
        """Says whether a result can be read without waiting for a device."""
        return finite.device.type == "cpu"

    def _skip(self, trainer: Any, parameters: Iterable[Parameter]) -> bool:
        if not any(self._bad(trainer)):
            return False
        self.skipped += 1
        for parameter in parameters:
            parameter.grad = None  # an optimiser leaves out what has no gradient, momentum and decay included
        return True

    def raise_if_bad(self, trainer: Any) -> None:
        """Ends the run if a step since the last look was not finite in any process.

        Raises:
            NonFiniteError: names the step, the images and the learning rate.
        """
        steps = self._steps
        bad = self._bad(trainer)
        if not any(bad):
            return
        step, rate, images = next(step for step, wrong in zip(steps, bad, strict=True) if wrong)
        if trainer.world_size > 1:
            shares: list[list[str]] = [[] for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(shares, images)
            images = [name for share in shares for name in share]
        raise NonFiniteError(
            f"loss or gradient of step {step} is not finite (images {', '.join(images)}; learning rate {rate:g}); "
            "no weight has seen it. The usual causes: a learning rate that is too large, above all with "
            "loss.reduction=sum, which adds up every pixel and wants about 1e-10, or trainer.precision=16-mixed. Start "
            "anew with a lower optimizer.lr or with trainer.clip=1, or leave such steps out: trainer.on_nonfinite=skip"
        )

    def _bad(self, trainer: Any) -> list[bool]:
        """Asks the device, and all processes, which steps since the last look were not finite; then forgets them."""
        if not self._finite:
            return []
        bad = ~torch.stack(self._finite)
        self._steps, self._finite = [], []
        if trainer.world_size > 1:
            bad = trainer.strategy.reduce(bad.int(), reduce_op="max").bool()
        found: list[bool] = bad.tolist()
        return found
