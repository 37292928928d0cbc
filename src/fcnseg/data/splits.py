"""Splits: named lists of ids, joined with + and -, such as ``train + sbd_all - val``."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from fcnseg.data.dataset import Pair

SEG11VALID = Path(__file__).with_name("seg11valid.txt")
"""The ids of the paper's 736 validation images; none is in the train list of SBD as released."""

Lists: TypeAlias = Mapping[str, Callable[[], Sequence[Pair]]]
"""What a split can name; a list is read only when it is named."""

SIGNS = ("+", "-")


def combine(split: str, lists: Lists) -> list[Pair]:
    """Evaluates a split from left to right, in the order of its lists.

    An id that comes twice counts once, and the first one's mask wins; - takes an id out wherever its mask is from.

    Args:
        split: names with + or - between them, with or without spaces.
        lists: what the names stand for.

    Raises:
        FileNotFoundError, ValueError: as parse and the lists, or no image is left.
    """
    chosen: dict[str, Pair] = {}
    for sign, name in parse(split, lists):
        for pair in lists[name]():
            if sign == "+":
                chosen.setdefault(pair.name, pair)
            else:
                chosen.pop(pair.name, None)
    if not chosen:
        raise ValueError(f"the split {split!r} holds no image, for its lists take each other's away: change it")
    return list(chosen.values())


def parse(split: str, names: Iterable[str]) -> list[tuple[str, str]]:
    """Reads a split as pairs of a sign and a name; the first sign is +.

    Args:
        split: one of the names as it is, or several with + or - between them.
        names: those there are.

    Raises:
        ValueError: it is no such expression, or a name in it is unknown.
    """
    known = sorted(names)
    if split.strip() in known:  # whatever characters a list's own name has
        return [("+", split.strip())]
    words = re.findall(r"[+-]|[^\s+-]+", split)
    signs, named = ["+", *words[1::2]], words[::2]
    where = f"data.train_split or data.val_split={split!r}"
    choices = f"the splits there are: {', '.join(known)}"
    if len(signs) != len(named) or any(sign not in SIGNS for sign in signs) or any(name in SIGNS for name in named):
        raise ValueError(f"{where} must be names with + or - between them, as in 'train + sbd_all - val'; {choices}")
    if unknown := [name for name in named if name not in known]:
        raise ValueError(f"{where} names {', '.join(unknown)}, which is no list here; {choices}")
    return list(zip(signs, named, strict=True))


def read_list(path: Path) -> list[str]:
    """Reads a list of ids, one a line.

    Raises:
        FileNotFoundError: no such list.
        ValueError: it is no text, is empty or names an id twice.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no list {path}: restore it, or choose another split")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the list {path} cannot be read as UTF-8 text ({error}): restore it") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ValueError(f"the list {path} is empty: write ids into it, one a line, or choose another split")
    if len(names) != len(set(names)):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"the list {path} names {', '.join(twice[:5])} more than once: remove the repeated lines")
    return names


def listed(names: Collection[str], most: int) -> str:
    """Writes names for a message, at most so many."""
    more = len(names) - most
    return ", ".join(islice(names, most)) + (f" and {more:,} more" if more > 0 else "")
