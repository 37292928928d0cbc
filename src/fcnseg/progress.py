"""What a run says while it computes: a bar on terminals, and a line a validation everywhere."""

import sys
import time
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console

from fcnseg.results import FOUR_SCORES
from fcnseg.task import SegmentationTask


class ProgressBar(RichProgressBar):
    """Lightning's rich bar, over all batches that the training has still to see, with device and time left."""

    def _get_train_description(self, current_epoch: int) -> str:
        return f"training on {device_name(self.trainer.strategy.root_device)}"

    def _update_metrics(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows loss and scores anew as often as they are logged: each look waits for a GPU."""
        if trainer.validating or trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            super()._update_metrics(trainer, pl_module)


class Announcer(Callback):
    """Prints one line a validation, so that logs without a terminal tell the story too."""

    def __init__(self) -> None:
        """Knows of no step yet."""
        self._start, self._first_step = time.monotonic(), 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the time, from which the time left is estimated."""
        self._start, self._first_step = time.monotonic(), trainer.global_step

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the scores of the validation that just ended."""
        if not trainer.is_global_zero or not isinstance(pl_module, SegmentationTask):
            return
        last = pl_module.validations[-1]
        scores = ", ".join(f"{label} {100 * getattr(last.scores, key):.1f}" for key, label in FOUR_SCORES.items())
        bar = trainer.progress_bar_callback
        progress = bar.progress if isinstance(bar, ProgressBar) else None
        write = partial(progress.console.print, soft_wrap=True) if progress else partial(print, flush=True)
        if trainer.state.fn != "fit":
            write(f"{scores}, loss {last.loss:.4g}")
            return
        write(f"step {last.step}: {scores}, loss {last.loss:.4g}{self._left(last.step, trainer.max_steps)}")

    def _left(self, step: int, steps: int) -> str:
        made = step - self._first_step
        if made <= 0 or step >= steps:
            return ""
        seconds = (time.monotonic() - self._start) / made * (steps - step)
        return f", {duration(seconds)} left"


def callbacks(progress: bool) -> list[Callback]:
    """Returns what shows a run's progress; a bar only where there is a terminal, because logs keep every state of it.

    Args:
        progress: whether a bar is wanted.
    """
    return [Announcer(), ProgressBar()] if progress and is_terminal() else [Announcer()]


def is_terminal(file: Any = None) -> bool:
    """Says whether a file is a terminal on which lines can be drawn anew; FORCE_COLOR makes no log one.

    Args:
        file: standard output, if none is given.
    """
    file = file or sys.stdout
    console = Console(file=file)
    return bool(file.isatty()) and console.is_terminal and not console.is_dumb_terminal


def duration(seconds: float) -> str:
    """Returns a time as hours, minutes and seconds."""
    return f"{int(seconds // 3600)}:{int(seconds // 60) % 60:02d}:{int(seconds) % 60:02d}"


def device_name(device: Any) -> str:
    """Returns a device with its name, as in "cuda:0 (NVIDIA H100)"."""
    device = torch.device(device)
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
