"""Leaks: training images that are validation images too, under the same id or another."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from fcnseg.data.dataset import ImageFiles, Source
from fcnseg.data.splits import listed

OVERLAPS = ("error", "remove", "allow")
"""What data.overlap may say."""

COMPARISONS = ("ids", "contents")
"""What data.overlap_by may say."""


def separated(train: Source, val: Source, overlap: str, overlap_by: str) -> Source:
    """Returns the training images after what data.overlap says of those that are validation images too.

    Args:
        train: training images.
        val: validation images.
        overlap: one of OVERLAPS.
        overlap_by: one of COMPARISONS; only images in files can be compared by contents.

    Raises:
        ValueError: names the images in common, where they are an error or cannot be removed.
    """
    shared = same_ids(train, val)
    if overlap_by == "contents" and isinstance(train, ImageFiles) and isinstance(val, ImageFiles):
        shared = {**same_contents(train, val), **shared}
    if not shared:
        return train
    removable = isinstance(train, ImageFiles) and len(shared) < len(train)
    if overlap == "error" or (overlap == "remove" and not removable):
        raise ValueError(_report(shared, len(train), removable))
    if not isinstance(train, ImageFiles):
        return train
    return train.without(shared, removed=len(shared)) if overlap == "remove" else train.without((), overlap=len(shared))


def same_ids(train: Source, val: Source) -> dict[str, str]:
    """Returns the ids of the training images whose id is a validation image's, each with itself."""
    held_out = {val.name(index) for index in range(len(val))}
    return {name: name for name in (train.name(index) for index in range(len(train))) if name in held_out}


def same_contents(train: ImageFiles, val: ImageFiles) -> dict[str, str]:
    """Returns the ids of the training images whose file equals a validation image's, each with that one's id.

    Only files of equal size are read.
    """
    alike = _by_size((pair.name, pair.image) for pair in val.pairs)
    found: dict[str, str] = {}
    for size, images in _by_size((pair.name, pair.image) for pair in train.pairs).items():
        known = {_digest(path): name for name, path in alike.get(size, [])}
        twins = {name: known.get(_digest(path)) for name, path in images} if known else {}
        found |= {name: twin for name, twin in twins.items() if twin is not None}
    return found


def _by_size(images: Iterable[tuple[str, Path]]) -> dict[int, list[tuple[str, Path]]]:
    sizes = defaultdict(list)
    for name, path in images:
        sizes[path.stat().st_size].append((name, path))
    return sizes


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _report(shared: dict[str, str], count: int, removable: bool) -> str:
    named = [name if name == twin else f"{name} (validated on as {twin})" for name, twin in shared.items()]
    removal = "data.overlap=remove to take them out of training, or " if removable else ""
    return (
        f"{len(shared):,} of the {count:,} training images are validation images too: {listed(named, 40)}; choose "
        f"other splits, or set {removal}data.overlap=allow to train on them, which flatters the scores"
    )
