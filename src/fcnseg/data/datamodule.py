"""The LightningDataModule: sources, transforms and samplers put together."""

from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from fcnseg.data.dataset import Sample, SegmentationDataset, collate
from fcnseg.data.sampler import TrainBatches, ValidationImages

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
        """Returns the loader of this process's share of the training batches."""
        if self.train is None:
            raise RuntimeError("this data module was built for evaluation: it has no training set")
        source = self.train.source
        sizes = [source.size(index) for index in range(len(source))] if self.batching == "groups" else None
        rank, world_size = self._ranks()
        batches = TrainBatches(
            len(source),
            self.batch_size,
            self.seed,
            replacement=self.replacement,
            accumulate=self.accumulate,
            sizes=sizes,
            rank=rank,
            world_size=world_size,
        )
        return self._loader(self.train, batch_sampler=batches)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Returns the loader of this process's share of the validation images.

        Raises:
            ValueError: there are fewer images than processes.
        """
        rank, world_size = self._ranks()
        if len(self.val) < world_size:
            raise ValueError(
                f"{len(self.val)} validation images are too few for {world_size} processes: set "
                f"trainer.devices={len(self.val)} or fewer"
            )
        images = ValidationImages(len(self.val), rank, world_size)
        return self._loader(self.val, sampler=images, batch_size=1)

    def _loader(self, dataset: SegmentationDataset, **sampling: Any) -> DataLoader[Sample]:
        return DataLoader(
            dataset,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=settle,
            collate_fn=partial(collate, void=dataset.source.void, pad=self.batching == "pad"),
            **sampling,
        )


def settle(worker: int = 0) -> None:
    """Makes a loader process compute in one thread, and keep the memory of a batch for the next one.

    glibc hands freed memory back to the system beyond a size that it learns from the largest block freed so far;
    a batch would get new pages, a tenth of the time that it takes.
    """
    cv2.setNumThreads(0)
    np.empty(LARGEST_BLOCK, np.uint8)
