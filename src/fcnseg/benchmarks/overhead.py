"""What Lightning adds to a training step: the same steps through a Trainer and through a bare loop, in turn."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import IterableDataset

from fcnseg.backbones.dense import laid_out
from fcnseg.benchmarks.nets import Setting, fill, images_of, our_net, targets_of
from fcnseg.benchmarks.tables import AGAIN, rows
from fcnseg.fcn import FCN
from fcnseg.losses import PixelCrossEntropy
from fcnseg.optim import parameter_groups
from fcnseg.shapes import Batch
from fcnseg.task import SegmentationTask
from fcnseg.timing import Times, seconds

BARE, THROUGH = "a bare loop", "Lightning"

WARM_UP = 3
"""Steps that do not count: the first ones build what later ones keep, and one batch is fetched ahead."""


def measure(setting: Setting, repeat: int, log_every: int) -> dict[str, Any]:
    """Times training steps through SegmentationTask and a Trainer, and the same ones without them.

    Args:
        setting: net and images.
        repeat: steps that count.
        log_every: steps between entries of metrics.csv, as trainer.log_every.

    Raises:
        ValueError: no such model or backbone.
    """
    device = setting.device
    turns = Turns(bare_step(prepared(setting), batch_of(setting)), batch_of(setting), repeat + WARM_UP, device)
    task = SegmentationTask(prepared(setting), PixelCrossEntropy(), make_optimizer)
    with TemporaryDirectory() as folder, quiet():
        trainer(Path(folder), repeat + WARM_UP, log_every, device).fit(task, turns)
    times = Times({label: spent[WARM_UP:] for label, spent in turns.spent.items()})
    extra = 1000 * median(more - less for more, less in zip(times.rounds[THROUGH], times.rounds[BARE], strict=True))
    return {
        "title": f"Training step: {setting}, {repeat} steps, metrics.csv every {log_every}",
        "rows": rows(times),
        "notes": [f"Lightning adds {extra:.2f} ms to a step"],
        "seconds": times.rounds,
    }


class Turns(IterableDataset[Batch]):
    """A data set that is asked for a batch once a step, and takes two bare steps each time before it gives one.

    Attributes:
        spent: {label: seconds of every step}; Lightning's lie between giving a batch and being asked for the next.
    """

    def __init__(self, step: Callable[[], object], batch: Batch, count: int, device: str) -> None:
        """Remembers the step and the batch.

        Args:
            step: a bare one.
            batch: what Lightning gets.
            count: steps.
            device: waited for.
        """
        self.step, self.batch, self.count, self.device = step, batch, count, device
        self.spent: dict[str, list[float]] = {BARE: [], BARE + AGAIN: [], THROUGH: []}

    def __iter__(self) -> Iterator[Batch]:
        """Gives the batch ``count`` times, and once more, because Lightning fetches one ahead."""
        for index in range(self.count + 1):
            start = time.perf_counter()
            yield self.batch
            seconds(lambda: None, self.device)
            if index < self.count:
                self.spent[THROUGH].append(time.perf_counter() - start)
                for label in (BARE, BARE + AGAIN):
                    self.spent[label].append(seconds(self.step, self.device))


def prepared(setting: Setting) -> FCN:
    """Builds the net in training mode on its device."""
    net = our_net(setting)
    fill(net)
    return laid_out(net.to(setting.device), torch.device(setting.device).type)


def batch_of(setting: Setting) -> Batch:
    """Returns one batch, on the device already: loading is another claim's."""
    images, targets = images_of(setting), targets_of(setting)
    sizes = torch.tensor([[setting.size[1], setting.size[0]]] * setting.batch)
    return Batch(images, targets, sizes, torch.arange(setting.batch), [str(index) for index in range(setting.batch)])


def make_optimizer(net: FCN) -> tuple[SGD, LambdaLR]:
    """Builds optimiser and schedule, the same for both."""
    optimizer = SGD(parameter_groups(net, net.score_layers, lr=1e-8, weight_decay=5e-4), lr=1e-8, momentum=0.9)
    return optimizer, LambdaLR(optimizer, partial(min, 1.0))


def bare_step(net: FCN, batch: Batch) -> Callable[[], object]:
    """Returns a step as one would write it without Lightning: the mean over valid pixels, SGD and its schedule."""
    optimizer, scheduler = make_optimizer(net)
    criterion = PixelCrossEntropy()

    def run() -> None:
        with torch.enable_grad():
            optimizer.zero_grad()
            loss = criterion(net.scores(batch.images), net.upsample, batch.targets)
            (loss.total / loss.weight).backward()
            optimizer.step()
            scheduler.step()

    return run


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Lightning's advice away from the table."""
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def trainer(folder: Path, steps: int, log_every: int, device: str) -> Trainer:
    """Builds a trainer like that of a run, without validation, checkpoints and progress bar."""
    return Trainer(
        accelerator="gpu" if device.startswith("cuda") else "cpu",
        devices=1,
        max_epochs=-1,
        max_steps=steps,
        log_every_n_steps=log_every,
        logger=CSVLogger(folder, name="", version=""),
        callbacks=[LearningRateMonitor()],
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
