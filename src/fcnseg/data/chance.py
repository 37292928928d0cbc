"""Chance as a function of a key, such as (seed, epoch, index, turn): no state, and no order in which it is asked."""

import hashlib
import struct
from typing import TypeAlias

Numbers: TypeAlias = tuple[int, ...]
"""Independent whole numbers, each evenly spread over 64 bits."""

RANGE = 1 << 64


def numbers(*key: int) -> Numbers:
    """Returns eight numbers, which any other key makes others: a hash costs a tenth of seeding a generator."""
    return struct.unpack("8Q", hashlib.blake2b(" ".join(map(str, key)).encode()).digest())


def below(number: int, count: int) -> int:
    """Returns a whole number 0 .. count - 1."""
    return number * count // RANGE


def between(number: int, low: float, high: float) -> float:
    """Returns a number low .. high."""
    return low + (high - low) * number / RANGE
