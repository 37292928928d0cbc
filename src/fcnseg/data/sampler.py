"""Which images make which batch: a function of (seed, epoch) alone, sliced by rank."""

from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count as counting
from itertools import islice

import numpy as np
from torch.utils.data import Sampler

from fcnseg.data.dataset import Draw


class TrainBatches(Sampler[list[Draw]]):
    """The batches of an epoch, the same global list in every process; each process takes its slice.

    Attributes:
        epoch: set by the trainer at each epoch's start.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        *,
        replacement: bool = False,
        accumulate: int = 1,
        sizes: Sequence[tuple[int, int]] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Describes the batches.

        Args:
            count: images in the set.
            batch_size: images per batch over all processes.
            seed: of the order.
            replacement: draw images independently, as the release does, or each once an epoch.
            accumulate: batches per step; no step goes from one epoch to the next, unless an epoch is shorter than it.
            sizes: height and width of each image; given, a batch holds images of one size only.
            rank: this process.
            world_size: number of processes.

        Raises:
            ValueError: the processes do not divide the batch, or there are no images.
        """
        if batch_size < 1 or batch_size % world_size:
            raise ValueError(f"data.batch_size={batch_size} must be a positive multiple of the {world_size} processes")
        if count < 1:
            raise ValueError("the training set is empty")
        self.count, self.batch_size, self.seed, self.replacement = count, batch_size, seed, replacement
        self.accumulate, self.sizes, self.rank, self.world_size = accumulate, sizes, rank, world_size
        self.epoch = 0

    @property
    def sampler(self) -> "TrainBatches":
        """Itself: the trainer looks here for something with set_epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose batches come next."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of batches in this epoch."""
        return len(self._batches(self.epoch))

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yields this process's slice of every batch."""
        return self.of_epoch(self.epoch)

    def of_epoch(self, epoch: int) -> Iterator[list[Draw]]:
        """Yields this process's slice of every batch of an epoch."""
        return (batch[self.rank :: self.world_size] for batch in self._batches(epoch))

    def _batches(self, epoch: int) -> list[list[Draw]]:
        generator = np.random.default_rng([self.seed, epoch])
        order = (
            generator.integers(self.count, size=self.count) if self.replacement else generator.permutation(self.count)
        )
        draws = [Draw(int(index), epoch, turn) for turn, index in enumerate(order)]
        if self.sizes is None:
            return self._whole_steps(self._whole_batches(draws))
        groups: dict[tuple[int, int], list[Draw]] = {}
        for draw in draws:
            groups.setdefault(self.sizes[draw.index], []).append(draw)
        batches = [batch for group in groups.values() for batch in self._group_batches(group)]
        return self._whole_steps([batches[index] for index in generator.permutation(len(batches))])

    def _whole_steps(self, batches: list[list[Draw]]) -> list[list[Draw]]:
        """Drops the batches of a step that the epoch cannot fill, unless it holds no whole step at all."""
        return batches[: len(batches) - len(batches) % self.accumulate] or batches

    def _whole_batches(self, draws: list[Draw]) -> list[list[Draw]]:
        """Cuts full batches; what is left over is dropped, and a set smaller than one batch is repeated."""
        while len(draws) < self.batch_size:
            draws = draws + [replace(draw, turn=len(draws) + i) for i, draw in enumerate(draws)]
        last = len(draws) - len(draws) % self.batch_size
        return [draws[start : start + self.batch_size] for start in range(0, last, self.batch_size)]

    def _group_batches(self, group: list[Draw]) -> Iterator[list[Draw]]:
        """Cuts a group of one size; the last batch may be smaller.

        Deviation: with several processes it is filled up to a multiple of them by repeating images, which one process
        would not do.
        """
        for start in range(0, len(group), self.batch_size):
            batch = group[start : start + self.batch_size]
            missing = -len(batch) % self.world_size
            yield batch + [replace(batch[i % len(batch)], turn=self.count + start + i) for i in range(missing)]


class Stream(Sampler[list[Draw]]):
    """The batches of a whole training, epoch after epoch, from any one of them on.

    For the trainer this is a single epoch, so that its position is the number of the batch and nothing else.
    """

    def __init__(self, epochs: TrainBatches, stop: int, start: int = 0) -> None:
        """Describes the batches from number start to before number stop, both counted from the training's first."""
        self.epochs, self.start, self.stop = epochs, start, stop
        self._ends: list[int] = []

    def __len__(self) -> int:
        """Number of batches."""
        return max(0, self.stop - self.start)

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yields this process's slice of every batch."""
        return islice(self._all(), self.start, self.stop)

    def _all(self) -> Iterator[list[Draw]]:
        self._ends, number = [], 0
        for epoch in counting():
            batches = list(self.epochs.of_epoch(epoch))
            number += len(batches)
            self._ends.append(number)
            yield from batches

    def epoch(self, number: int) -> int:
        """Returns the epoch of a batch that was yielded."""
        return bisect(self._ends, number)


class ValidationImages(Sampler[list[Draw]]):
    """Every image exactly once over all processes, in order, each a batch; none is repeated to make the shares even.

    A process without any image gets one empty batch, so that it takes part in adding up what all have counted.
    """

    def __init__(self, count: int, rank: int = 0, world_size: int = 1) -> None:
        """Describes this process's share."""
        self.share = range(rank, count, world_size)

    def __len__(self) -> int:
        """Number of batches of this process."""
        return max(1, len(self.share))

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yields this process's images."""
        return ([Draw(index)] for index in self.share) if self.share else iter([[]])
