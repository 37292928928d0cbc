"""How fast a training runs, whether it waits for images, and how much memory it takes."""

import resource
import sys
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers.profiler import Profiler

from fcnseg.tracking.tracker import trackers

FETCHING = "].train_dataloader_next"
"""How the trainer's name for asking the loader for the next batch ends."""


class Stopwatch(Profiler):
    """Adds up how long the training has waited for its loader; the trainer says when it asks for a batch.

    Attributes:
        waited: seconds so far.
    """

    def __init__(self) -> None:
        """Starts at nothing."""
        super().__init__()
        self.waited = 0.0
        self._asked: float | None = None

    def start(self, action_name: str) -> None:
        """Takes the time at which a batch is asked for."""
        if action_name.endswith(FETCHING):
            self._asked = time.perf_counter()

    def stop(self, action_name: str) -> None:
        """Adds what it took until the batch was there."""
        if action_name.endswith(FETCHING) and self._asked is not None:
            self.waited += time.perf_counter() - self._asked
            self._asked = None


class Monitor(Callback):
    """Tells the trackers images per second, the share of the time that was waiting for images, and memory.

    It reads clocks and never asks a GPU: steps that are still being computed there count in the next entry. Times go to
    trackers only, because metrics.csv is the same to the last bit however often a run was interrupted.
    """

    def __init__(self, stopwatch: Stopwatch) -> None:
        """Takes the trainer's profiler."""
        self.stopwatch = stopwatch
        self._since: float | None = None
        self._waited = self._paused_at = 0.0
        self._images = self._step = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        """Counts the images, and sends an entry as often as the loss; the first steps, which warm up, have none."""
        self._images += len(batch.images) * trainer.world_size
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if trainer.global_step == self._step or trainer.global_step % every:
            return
        now = time.perf_counter()
        if self._since is not None:
            self._send(trainer, now - self._since)
        self._since, self._waited, self._images = now, self.stopwatch.waited, 0
        self._step = trainer.global_step

    def _send(self, trainer: Trainer, seconds: float) -> None:
        entry = {
            "speed/images_per_s": self._images / max(seconds, 1e-9),
            "speed/data_wait": min(1.0, (self.stopwatch.waited - self._waited) / max(seconds, 1e-9)),
            "memory/peak_gib": peak_memory(trainer.strategy.root_device),
        }
        for tracker in trackers(trainer.loggers):
            tracker.log_metrics(entry, trainer.fit_loop.epoch_loop._batches_that_stepped)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock."""
        self._paused_at = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets the clock go on."""
        if self._since is not None:
            self._since += time.perf_counter() - self._paused_at


def peak_memory(device: torch.device) -> float:
    """Returns the most memory that was in use at once, in GiB: a GPU's, or else the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
