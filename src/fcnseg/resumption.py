"""Going on where a killed run left off, to the same last bit: what is saved between two steps, and its way back."""

import time
from contextlib import suppress
from pathlib import Path
from signal import Signals
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.distributed import ProcessGroup

from fcnseg.checkpoints import BEST, LAST
from fcnseg.data.sampler import Stream
from fcnseg.guard import NonFiniteError
from fcnseg.interruption import INTERRUPTED, Interruption, Stop
from fcnseg.journal import Journal
from fcnseg.task import SegmentationTask


class Checkpoints(Callback):
    """Writes last.ckpt by steps, by minutes, at validations and before an end that was asked for; and best.ckpt.

    It writes between two steps only, where weights, optimiser, curves and counts belong to the same step. Goes first
    among the callbacks, so that nothing of the next step is logged yet.

    Attributes:
        earlier: the content of the checkpoint to go on from, until the training has begun.
        identity: plain values that a continued run must find unchanged, such as the data's fingerprint.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every_steps: int | None = None,
        every_minutes: float | None = None,
        earlier: dict[str, Any] | None = None,
        interruption: Interruption | None = None,
    ) -> None:
        """Says when to write, and what to go on from.

        Args:
            folder: the run's.
            every_steps: steps between two checkpoints.
            every_minutes: minutes between two checkpoints.
            earlier: the content of the checkpoint to go on from.
            interruption: tells whether the run was asked to end.
        """
        self.folder, self.every_steps, self.earlier = folder / "checkpoints", every_steps, earlier
        self.every_s = None if every_minutes is None else 60 * every_minutes
        self.interruption = interruption or Interruption()
        self.identity: dict[str, Any] = {}
        self.started = self.written = time.monotonic()
        self.elapsed_s = earlier["progress"]["elapsed_s"] if earlier else 0.0
        self.step = earlier["global_step"] if earlier else 0
        self._settled, self._due, self._validating = False, False, False
        self._group: ProcessGroup | None = None

    # ---- going on

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restores everything that the earlier run had reached, and makes up for a validation that was interrupted."""
        if trainer.world_size > 1:
            self._group = cast(ProcessGroup, torch.distributed.new_group(backend="gloo"))
        earlier, self.earlier = self.earlier, None
        if earlier is None:
            return
        assert isinstance(pl_module, SegmentationTask)
        restore(trainer, pl_module, earlier)
        for logger in trainer.loggers:
            if isinstance(logger, Journal):
                logger.keep(earlier["progress"]["entries"])
        due = earlier["progress"]["validation_due"]
        earlier.clear()  # the callers still name it, and a whole training's tensors need not stay in memory
        if due:
            make_up_validation(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listens for signals once more, because the trainer has put its own handlers before these."""
        self.interruption.listen()
        trainer._signal_connector.received_sigterm = False  # one that came before was remembered here as well

    # ---- when to write

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_index: int) -> None:
        """Writes between two steps, if it is time or if the run has to end."""
        number = trainer.fit_loop.total_batch_idx
        if isinstance(stream := getattr(trainer.train_dataloader, "batch_sampler", None), Stream):
            trainer.fit_loop.epoch_progress.current.completed = stream.epoch(number)
        between = number % trainer.accumulate_grad_batches == 0
        if between and trainer.global_step > 0:
            self._look(trainer, time_counts=True)
        self._settled = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        """Remembers whether a step is complete."""
        self._settled = (trainer.fit_loop.total_batch_idx + 1) % trainer.accumulate_grad_batches == 0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remembers that what is written from now on lacks this validation."""
        self._due = self._validating = trainer.state.fn == "fit"

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_index: int, dataloader_idx: int = 0
    ) -> None:
        """Ends a run within a validation; processes have different numbers of images, so only one alone can."""
        if self._due and trainer.world_size == 1:
            self._look(trainer, time_counts=False)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remembers that scores are noted from now on, so that half a validation would be written."""
        self._validating = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the best weights, if these are, and then the last ones."""
        assert isinstance(pl_module, SegmentationTask)
        if not self._due:
            return
        self._due = False
        pl_module.guard.raise_if_bad(trainer)
        if pl_module.best is pl_module.validations[-1]:
            trainer.save_checkpoint(self.folder / BEST)
        self._write(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Saves what a lone process had reached when something failed between two steps, such as reading an image."""
        assert isinstance(pl_module, SegmentationTask)
        ours = isinstance(exception, OSError | Stop | NonFiniteError) or not isinstance(exception, Exception)
        if ours or trainer.world_size > 1 or trainer.global_step <= self.step or not self._is_between(trainer):
            return
        with suppress(ValueError, OSError):
            pl_module.guard.raise_if_bad(trainer)
            self._write(trainer)

    def _is_between(self, trainer: Trainer) -> bool:
        """Says whether the last step is done with: logged, and validated or known to lack that."""
        # The trainer counts a step here after its entry was logged and its validation, if any, has ended.
        counted = trainer.fit_loop.epoch_loop._batches_that_stepped == trainer.global_step
        return self._settled and (counted or self._validating)

    def _look(self, trainer: Trainer, time_counts: bool) -> None:
        """Lets all processes decide together whether to write and whether to end."""
        task = trainer.lightning_module
        assert isinstance(task, SegmentationTask)
        step, now = trainer.global_step, time.monotonic()
        by_time = self.every_s is not None and now - self.written >= self.every_s
        by_steps = self.every_steps is not None and step % self.every_steps == 0
        write, signal = agreed(self._group, int(time_counts and (by_time or by_steps)), self.interruption.signal)
        if (signal or write) and (step > self.step or self._due):
            task.guard.raise_if_bad(trainer)
            self._write(trainer)
        if signal:
            raise Stop(INTERRUPTED[Signals(signal)], step)

    def _write(self, trainer: Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()
            if isinstance(logger, Journal):
                logger.sync()
        trainer.save_checkpoint(self.folder / LAST)
        self.step, self.written = trainer.global_step, time.monotonic()

    # ---- what to write

    def seconds(self) -> float:
        """Returns how long the run has taken so far, without what it lost at kills."""
        return self.elapsed_s + time.monotonic() - self.started

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds what the trainer does not know of: how far curves and validations are."""
        assert isinstance(pl_module, SegmentationTask)
        checkpoint["progress"] = {
            "entries": next((logger.entries for logger in trainer.loggers if isinstance(logger, Journal)), 0),
            "validation_due": self._due,
            "elapsed_s": self.seconds(),
            "identity": self.identity,
            "task": pl_module.progress(),
        }


def make_up_validation(trainer: Trainer) -> None:
    """Validates what was restored, and logs it at the step at which it would have been."""
    loop = trainer.fit_loop.epoch_loop
    loop._batches_that_stepped -= 1
    trainer.validating = True
    loop.val_loop.run()
    trainer.training = True
    loop._batches_that_stepped += 1


def agreed(group: ProcessGroup | None, *values: int) -> tuple[int, ...]:
    """Returns the largest of each value over all processes.

    Args:
        group: of the processes, which talks in the processors' memory: a GPU would have to be waited for. None is one.
        values: this process's.
    """
    if group is None:
        return values
    tensor = torch.tensor(values)
    torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX, group)
    return tuple(tensor.tolist())


def restore(trainer: Trainer, task: SegmentationTask, content: dict[str, Any]) -> None:
    """Brings task, optimiser, schedule and counts to where a checkpoint was written.

    The trainer's own way back, ckpt_path, is not taken: it leaves validations out that were due at the step.
    """
    task.load_state_dict(content["state_dict"])
    for optimizer, state in zip(trainer.optimizers, content["optimizer_states"], strict=True):
        optimizer.load_state_dict(state)
    for each, state in zip(trainer.lr_scheduler_configs, content["lr_schedulers"], strict=True):
        each.scheduler.load_state_dict(state)
    precision = trainer.precision_plugin
    if (name := type(precision).__qualname__) in content:
        precision.load_state_dict(content[name])
    step, loop = content["global_step"], trainer.fit_loop.epoch_loop
    loop.automatic_optimization.optim_progress.optimizer.step.total.completed = step
    loop.batch_progress.total.ready = step * trainer.accumulate_grad_batches
    loop._batches_that_stepped = step
    trainer.fit_loop.epoch_progress.current.completed = content["epoch"]
    task.resume(content["progress"]["task"], trainer.global_rank)
