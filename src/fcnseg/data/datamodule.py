"""The LightningDataModule: sources, transforms and samplers put together."""

import atexit
import multiprocessing
import signal
from collections.abc import Sequence
from functools import cache, partial

import cv2
import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Sampler

from fcnseg.data.collation import collate
from fcnseg.data.dataset import Draw, Drawn, Sample, SegmentationDataset
from fcnseg.data.sampler import Stream, TrainBatches, ValidationImages
from fcnseg.shapes import Batch

BATCHINGS = ("crop", "whole", "groups", "pad")
"""What data.batching may say."""

LARGEST_BLOCK = 31 << 20
"""Bytes; of larger blocks than 32 MiB glibc learns nothing."""


class SegmentationData(LightningDataModule):
    """Training batches of equal size, and validation images one by one.

    Attributes:
        train: the training set; None for evaluation only.
        val: the validation set.
    """

    def __init__(
        self,
        val: SegmentationDataset,
        train: SegmentationDataset | None = None,
        *,
        batch_size: int = 1,
        batching: str = "whole",
        replacement: bool = False,
        accumulate: int = 1,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        """Takes opened data sets.

        Args:
            val: validation images, as they are.
            train: training images with their augmentation.
            batch_size: images per step over all processes, before accumulation.
            batching: "crop" (all images cropped to one size), "whole" (one image a process), "groups" (whole
                images of equal size) or "pad" (whole images padded to the largest).
            replacement: draw training images independently.
            accumulate: batches per optimiser step.
            workers: loader processes per training process.
            seed: of the order of training images.

        Raises:
            ValueError: an unknown batching.
        """
        super().__init__()
        if batching not in BATCHINGS:
            raise ValueError(f"data.batching must be one of {', '.join(BATCHINGS)}, not {batching!r}")
        self.train, self.val = train, val
        self.batch_size, self.batching, self.replacement = batch_size, batching, replacement
        self.accumulate, self.workers, self.seed = accumulate, workers, seed

    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Returns the loader of this process's share of the batches that the training has still to see.

        Without a trainer it is that of one epoch, chosen with batch_sampler.set_epoch.
        """
        train, epochs = self._training(), self.epochs()
        if self.trainer is None:
            return self._loader(train, epochs)
        step, last = self.trainer.global_step, self.trainer.max_steps
        start = min(step, last - 1) * self.accumulate  # the trainer asks for a batch even where it will train no more
        return self._loader(train, Stream(epochs, last * self.accumulate, start))

    def epochs(self) -> TrainBatches:
        """Returns this process's share of the training batches, epoch by epoch."""
        source = self._training().source
        sizes = [source.size(index) for index in range(len(source))] if self.batching == "groups" else None
        rank, world_size = self._ranks()
        return TrainBatches(
            len(source),
            self.batch_size,
            self.seed,
            replacement=self.replacement,
            accumulate=self.accumulate,
            sizes=sizes,
            rank=rank,
            world_size=world_size,
        )

    def _training(self) -> SegmentationDataset:
        if self.train is None:
            raise RuntimeError("this data module was built for evaluation: it has no training set")
        return self.train

    def val_dataloader(self) -> DataLoader[Sample]:
        """Returns the loader of this process's share of the validation images."""
        rank, world_size = self._ranks()
        return self._loader(self.val, ValidationImages(len(self.val), rank, world_size))

    def _loader(self, dataset: SegmentationDataset, batches: Sampler[list[Draw]]) -> DataLoader[Sample]:
        if self.workers:
            end_workers_at_exit()
        return DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=started,
            collate_fn=partial(_collated, void=dataset.source.void, pad=self.batching == "pad"),
        )


def _collated(samples: Sequence[Sample] | Drawn, void: int, pad: bool) -> Batch:
    """Makes a batch, also of no image at all: a process may have none to validate."""
    if samples:
        return collate(samples, void, pad)
    nothing = torch.zeros(0, dtype=torch.uint8)
    return Batch(
        images=nothing.view(0, 3, 1, 1),
        targets=nothing.view(0, 1, 1),
        sizes=nothing.view(0, 2),
        indices=nothing,
        names=[],
    )


LEFT_TO_TRAINING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""Signals that ask a run to end, and often reach all its processes: workers go on until the training ends them."""


def started(worker: int) -> None:
    """Prepares a loader process."""
    for number in LEFT_TO_TRAINING:
        signal.signal(number, signal.SIG_IGN)
    settle(worker)


@cache
def end_workers_at_exit() -> None:
    """Sees to it that this process can end while a loader is at work, as a run does that is asked to in a validation.

    Python asks such workers to end by SIGTERM, which they leave to the training, and then waits for them for ever.
    """
    atexit.register(_end_workers)


def _end_workers() -> None:
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch takes a worker's end for an accident
    for each in multiprocessing.active_children():
        if each.daemon:
            each.kill()


def settle(worker: int = 0) -> None:
    """Makes a loader process compute in one thread, and keep the memory of a batch for the next one.

    glibc hands freed memory back to the system beyond a size that it learns from the largest block freed so far;
    a batch would get new pages, a tenth of the time that it takes.
    """
    cv2.setNumThreads(0)
    np.empty(LARGEST_BLOCK, np.uint8)
