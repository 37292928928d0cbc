"""Splits: named lists of ids, joined with + and -, such as ``train + sbd_all - val``."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from fcnseg.data.dataset import Pair
from fcnseg.data.faults import Fault, Report, refuse

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
    named = [(sign, lists[name]()) for sign, name in parse(split, lists)]
    for sign, pairs in named:
        for pair in pairs:
            if sign == "+":
                chosen.setdefault(pair.name, pair)
            else:
                chosen.pop(pair.name, None)
    if not chosen and any(pairs for _, pairs in named):  # else it was said of each list that it gives none
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


def read_list(path: Path, report: Report = refuse) -> list[str]:
    """Reads a list of ids, one a line.

    Args:
        path: the list.
        report: takes its faults; what cannot be read gives no ids, and one that comes twice counts once.

    Raises:
        FileNotFoundError: no such list; this and the following unless ``report`` takes them.
        ValueError: it is no text, is empty or names an id twice.
    """
    if not path.is_file():
        report(Fault("missing", path, f"there is no list {path}: restore it, or choose another split"))
        return []
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        report(Fault("unreadable", path, f"the list {path} cannot be read as UTF-8 text ({error}): restore it"))
        return []
    names = [line.strip() for line in text.splitlines() if line.strip()]
    for kind, said in _doubts(text, names):
        report(Fault(kind, path, f"the list {path} {said}", harmless=kind == "line ends"))
    return list(dict.fromkeys(names))


def _doubts(text: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    if not names:
        yield "empty", "is empty: write ids into it, one a line, or choose another split"
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        yield "repeated", f"names {listed(twice, 40)} more than once: remove the repeated lines"
    if "\r" in text:
        yield "line ends", "has the line ends of Windows (CRLF): they are read as they should be"


def listed(names: Collection[str], most: int) -> str:
    """Writes names for a message, at most so many."""
    more = len(names) - most
    return ", ".join(islice(names, most)) + (f" and {more:,} more" if more > 0 else "")
