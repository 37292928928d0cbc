"""Faults of a data set, each of one path: who opens a split stops at the first, ``fcnseg.check`` lists them all."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias


class Fault(NamedTuple):
    """What is wrong with one file, folder or list.

    Attributes:
        kind: in a word, such as missing, empty, unreadable or labels.
        path: what it is about.
        said: what was found and what to do about it, with the path in it.
        harmless: it is read as it should be, and only worth knowing.
    """

    kind: str
    path: Path
    said: str
    harmless: bool = False


Report: TypeAlias = Callable[[Fault], None]
"""Takes the faults as they are found; what returns from it goes on with what is left."""


def refuse(fault: Fault) -> None:
    """Stops at a fault that does harm.

    Raises:
        FileNotFoundError: something is missing.
        ValueError: something is wrong.
    """
    if not fault.harmless:
        raise FileNotFoundError(fault.said) if fault.kind == "missing" else ValueError(fault.said)
