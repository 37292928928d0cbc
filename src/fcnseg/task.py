"""The LightningModule: connects net, loss, metric and optimiser, and holds no rule of its own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from fcnseg.data.jitter import jittered
from fcnseg.fcn import FCN
from fcnseg.guard import Guard
from fcnseg.losses import PixelCrossEntropy
from fcnseg.metrics import ConfusionMatrix, MeanLoss, Scores
from fcnseg.shapes import Batch

MakeOptimizer = Callable[[FCN], tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]]


@dataclass(frozen=True)
class Validation:
    """What one validation found.

    Attributes:
        scores: the four scores.
        confusion: [k][k] pixel counts, truth in rows.
        num_images: images that were counted, over all processes.
        loss: mean loss, in the loss's own normalisation.
        step: optimiser steps that the weights have seen.
    """

    scores: Scores
    confusion: list[list[int]]
    num_images: int
    loss: float
    step: int


class SegmentationTask(LightningModule):
    """Trains and validates an FCN.

    Attributes:
        model: the net.
        validations: all so far, the last one last; of those before a resumption only the best and the last.
        guard: watches that losses and gradients are finite.
    """

    def __init__(
        self,
        model: FCN,
        loss: PixelCrossEntropy,
        make_optimizer: MakeOptimizer | None = None,
        record: dict[str, Any] | None = None,
        padded: bool = False,
        seed: int = 0,
        guard: Guard | None = None,
        compiled: bool = False,
    ) -> None:
        """Takes finished parts.

        Args:
            model: the net.
            loss: what is minimised.
            make_optimizer: builds optimiser and schedule for the net; None for evaluation only.
            record: plain containers that checkpoints carry, enough to build all this again.
            padded: whether batches hold images padded to one size.
            seed: of dropout.
            guard: what happens to steps that are not finite; None stops at them.
            compiled: whether the training's forward pass is compiled, anew for each size of images.
        """
        super().__init__()
        self.model = model
        self.loss = loss
        self.make_optimizer = make_optimizer
        self.record = record or {}
        self.padded = padded
        self.seed = seed
        self.guard = guard or Guard()
        self.training_scores = torch.compile(model.scores, dynamic=False) if compiled else model.scores
        self.confusion = ConfusionMatrix(model.num_classes, loss.void)
        self.train_loss, self.val_loss, self.pixel_loss = MeanLoss(), MeanLoss(), MeanLoss()
        self.validations: list[Validation] = []
        self._step_weight: Tensor | None = None
        self._gradient_norm = torch.zeros(())
        self._logged_step = 0

    def forward(self, images: Tensor) -> Tensor:
        """Scores every pixel; see FCN.forward."""
        logits: Tensor = self.model(images)
        return logits

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Makes dropout a function of seed, rank and the batch's number in the whole training."""
        key = [self.seed, self.trainer.fit_loop.total_batch_idx, self.trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Returns the batch's summed loss; the step's weight divides the gradient before the optimiser runs."""
        images = batch.images if batch.jitter is None else jittered(batch.images, batch.jitter)
        scores = self.training_scores(images, batch.sizes if self.padded else None)
        loss = self.loss(scores, self.model.upsample, batch.targets, batch.chances)
        self._step_weight = loss.weight if self._step_weight is None else self._step_weight + loss.weight
        counted, weight = self.guard.saw(loss.total, loss.weight, batch.names)
        self.train_loss.update(counted, weight)
        if self.loss.reduction == "sum":  # a mean is one over pixels already
            self.pixel_loss.update(counted, loss.pixels.where(weight > 0, 0))
        total: Tensor = loss.total
        return total

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Turns the accumulated gradient of sums into that of the step's loss, and has it judged."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._scale_gradients([parameter.grad for parameter in parameters if parameter.grad is not None])
        self._gradient_norm = self.guard.judge(self.trainer, parameters)

    def _scale_gradients(self, gradients: list[Tensor]) -> None:
        """Divides by the step's weight.

        Lightning has divided by the number of accumulated batches and, with several processes, by their number.
        """
        weight, self._step_weight = self._step_weight, None
        if weight is None:
            return
        factor = float(self.trainer.accumulate_grad_batches * self.trainer.world_size)
        if self.loss.reduction == "sum":
            if factor == 1:
                return
            scale = torch.full((), factor, dtype=torch.float64, device=weight.device)
        else:
            total = torch.as_tensor(self.trainer.strategy.reduce(weight, reduce_op="sum"))
            scale = factor / total.where(total > 0, 1)
        for gradient in gradients:
            gradient.mul_(scale.to(gradient.dtype))

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_index: int) -> None:
        """Logs the loss since the last entry, and asks for a validation of the last weights."""
        step, every = self.trainer.global_step, self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        finished = step >= self.trainer.max_steps > 0
        if step > self._logged_step and (step % every == 0 or finished):
            self.guard.raise_if_bad(self.trainer)
            self._log_if_finite("train/loss", self.train_loss.compute(), prog_bar=True)
            self._log_if_finite("train/grad_norm", self._gradient_norm)
            if self.loss.reduction == "sum":
                self._log_if_finite("train/loss_per_pixel", self.pixel_loss.compute())
            self.train_loss.reset()
            self.pixel_loss.reset()
            self._logged_step = step
        if finished:
            self.trainer.should_stop = True

    def _log_if_finite(self, name: str, value: Tensor, prog_bar: bool = False) -> None:
        """Logs what a step has unless it was left out; then the trainer must not repeat the value of an earlier one."""
        if value.isfinite():
            self.log(name, value, prog_bar=prog_bar)
        elif self.trainer._results is not None:
            self.trainer._results.pop(f"on_train_batch_end.{name}", None)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Adds the batch to the confusion matrix and the loss; where images run short a process has an empty one."""
        if not len(batch.images):
            return
        scores = self.model.scores(batch.images, batch.sizes if self.padded else None)
        loss = self.loss(scores, self.model.upsample, batch.targets)
        self.val_loss.update(loss.total, loss.weight)
        self.confusion.update(self.model.predict(scores, (batch.images.shape[2], batch.images.shape[3])), batch.targets)

    def on_validation_epoch_end(self) -> None:
        """Reads the scores off the confusion matrix."""
        scores, loss = self.confusion.compute(), float(self.val_loss.compute())
        self.validations.append(self._validation(scores, loss))
        self.log("val/mean_iu", scores.mean_iu, prog_bar=True)
        self.log("val/pixel_acc", scores.pixel_acc, prog_bar=True)
        self.log_dict({"val/mean_acc": scores.mean_acc, "val/fw_iu": scores.fw_iu, "val/loss": loss})
        self.log_dict({f"val/iu/{name}": iu for name, iu in self._named(scores.per_class_iu) if np.isfinite(iu)})
        self.confusion.reset()
        self.val_loss.reset()

    def _named(self, per_class: Sequence[float]) -> Iterator[tuple[str, float]]:
        names = self.record.get("classes", [])
        return zip([*names, *map(str, range(len(names), len(per_class)))], per_class, strict=True)

    @property
    def best(self) -> Validation:
        """The first of the validations with the highest mean IU."""
        return max(self.validations, key=lambda found: float(np.nan_to_num(found.scores.mean_iu, nan=-1.0)))

    def _validation(self, scores: Scores, loss: float) -> Validation:
        """Reads the counts of all processes, which are summed only inside this context."""
        with self.confusion.sync_context():
            matrix, images = self.confusion.matrix.tolist(), int(self.confusion.images)
        return Validation(scores, matrix, images, loss, self.trainer.global_step)

    def configure_optimizers(self) -> Any:
        """Builds optimiser and schedule; the rate changes every step."""
        if self.make_optimizer is None:
            raise RuntimeError("this task was built for evaluation: it has no optimizer")
        optimizer, scheduler = self.make_optimizer(self.model)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what is needed to build the net again, as plain containers."""
        checkpoint["fcnseg"] = self.record

    def progress(self) -> dict[str, Any]:
        """Returns what a later process needs besides tensors in order to go on, as plain containers.

        All processes call this together: each has added up a loss of its own since the last entry.
        """
        losses = self.all_gather(torch.stack([self.train_loss.total, self.train_loss.weight, self.pixel_loss.weight]))
        kept = self.validations[-1:]
        if kept and self.best is not kept[0]:
            kept = [self.best, *kept]
        return {
            "validations": [vars(found) | {"scores": tuple(found.scores)} for found in kept],
            "losses": torch.as_tensor(losses).reshape(-1, 3).cpu(),
            "logged_step": self._logged_step,
            "skipped": self.guard.skipped,
        }

    def resume(self, progress: dict[str, Any], rank: int) -> None:
        """Goes on from what an earlier process returned as its progress."""
        plain = progress["validations"]
        self.validations = [Validation(**(each | {"scores": Scores(*each["scores"])})) for each in plain]
        losses: Tensor = progress["losses"]
        if self.trainer.world_size != len(losses):  # other devices than before: the sum is the same, but for rounding
            losses = torch.cat(
                [losses.sum(0, keepdim=True), torch.zeros(self.trainer.world_size - 1, losses.shape[1]).double()]
            )
        self.train_loss.total, self.train_loss.weight, *pixels = losses[rank].to(self.device).unbind()
        self.pixel_loss.total = self.train_loss.total.clone()
        self.pixel_loss.weight = pixels[0] if pixels else self.pixel_loss.weight  # older checkpoints count none
        self._logged_step, self.guard.skipped = progress["logged_step"], progress["skipped"]
