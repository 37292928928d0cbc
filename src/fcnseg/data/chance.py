"""Chance as a function of a key, such as (seed, epoch, index, turn): no state, and no order in which it is asked."""

import hashlib
import struct
from dataclasses import dataclass
from typing import TypeAlias

from fcnseg.data.dataset import Draw

Numbers: TypeAlias = tuple[int, ...]
"""Independent whole numbers, each evenly spread over 64 bits."""

RANGE = 1 << 64

LOSS = -2
"""Tells the loss's numbers from those of augmentation, whose steps count from 0, and of colour jitter, which is -1."""


def numbers(*key: int) -> Numbers:
    """Returns eight numbers, which any other key makes others: a hash costs a tenth of seeding a generator."""
    return struct.unpack("8Q", hashlib.blake2b(" ".join(map(str, key)).encode()).digest())


def below(number: int, count: int) -> int:
    """Returns a whole number 0 .. count - 1."""
    return number * count // RANGE


def between(number: int, low: float, high: float) -> float:
    """Returns a number low .. high."""
    return low + (high - low) * number / RANGE


@dataclass(frozen=True)
class LossChance:
    """Draws the number from which the loss samples an image, a function of (seed, epoch, index, turn) alone.

    Attributes:
        seed: of the training.
    """

    seed: int

    def __call__(self, draw: Draw) -> int:
        """Returns a whole number that fits into 63 bits."""
        return numbers(self.seed, draw.epoch, draw.index, draw.turn, LOSS)[0] >> 1
