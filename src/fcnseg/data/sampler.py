"""Which images make which batch: a function of (seed, epoch) alone, sliced by rank."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

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
            accumulate: batches per step; an epoch that holds a step at all ends with a full one.
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
        return len(self._batches())

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yields this process's slice of every batch."""
        for batch in self._batches():
            yield batch[self.rank :: self.world_size]

    def _batches(self) -> list[list[Draw]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        order = (
            generator.integers(self.count, size=self.count) if self.replacement else generator.permutation(self.count)
        )
        draws = [Draw(int(index), self.epoch, turn) for turn, index in enumerate(order)]
        if self.sizes is None:
            return self._whole_steps(self._whole_batches(draws))
        groups: dict[tuple[int, int], list[Draw]] = {}
        for draw in draws:
            groups.setdefault(self.sizes[draw.index], []).append(draw)
        batches = [batch for group in groups.values() for batch in self._group_batches(group)]
        return self._whole_steps([batches[index] for index in generator.permutation(len(batches))])

    def _whole_steps(self, batches: list[list[Draw]]) -> list[list[Draw]]:
        """Drops the batches of a step that the epoch cannot fill, because the trainer steps at an epoch's end."""
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


class ValidationImages(Sampler[Draw]):
    """Every image exactly once over all processes, in order; none is repeated to make the shares even."""

    def __init__(self, count: int, rank: int = 0, world_size: int = 1) -> None:
        """Describes this process's share."""
        self.share = range(rank, count, world_size)

    def __len__(self) -> int:
        """Number of images of this process."""
        return len(self.share)

    def __iter__(self) -> Iterator[Draw]:
        """Yields this process's images."""
        return (Draw(index) for index in self.share)
