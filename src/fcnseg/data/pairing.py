"""Images and masks in folders of their own, paired by their ids: a file's path in its folder, without the ending."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias

from fcnseg.data.dataset import Pair
from fcnseg.data.faults import Fault, Report
from fcnseg.data.splits import listed, read_list

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".npy")
"""Endings of masks; JPEG is none, because it blurs labels."""

IMAGE_SUFFIXES = (*MASK_SUFFIXES, ".jpg", ".jpeg")
"""Endings of images."""

Files: TypeAlias = Mapping[str, Sequence[Path]]
"""The files of each id."""


class Homes(NamedTuple):
    """The two folders that ids are relative to.

    Attributes:
        images: holds the images.
        masks: holds the masks.
    """

    images: Path
    masks: Path


def read_ids(path: Path, report: Report) -> list[str]:
    """Reads a list of ids, one a line.

    An ending that images have is dropped, and folders may be separated as on Windows.

    Raises:
        FileNotFoundError, ValueError: as read_list.
    """
    names = [PurePosixPath(_composed(name).replace("\\", "/")) for name in read_list(path, report)]
    ids = [name.with_suffix("") if name.suffix.lower() in IMAGE_SUFFIXES else name for name in names]
    return list(dict.fromkeys(map(str, ids)))


def pair_up(homes: Homes, folders: Sequence[str], ids: Sequence[str] | None, stated: str, report: Report) -> list[Pair]:
    """Returns the image and the mask of each id that has one of each.

    Args:
        homes: what holds the folders.
        folders: where to look, "." for what lies in homes directly. Where the masks have no folder of that name, they
            are looked for in their home, which may then hold others too.
        ids: those that there should be; None takes every file.
        stated: the split's key and value, for messages.
        report: takes what does not pair up, first in sum and then one by one.

    Raises:
        ValueError: counts and names what does not pair up, unless ``report`` takes it.
    """
    images = _found(homes.images, folders, IMAGE_SUFFIXES)
    masks = _found(homes.masks, folders, MASK_SUFFIXES, flat=True)
    if ids is None:
        own = all((homes.masks / folder).is_dir() for folder in folders)
        ids = [*images, *sorted(masks.keys() - images.keys() if own else ())]
    wrong = {
        "no image": {name: homes.images / name for name in ids if name not in images},
        "no mask": {name: homes.masks / name for name in ids if name not in masks},
        "several images": {name: images[name][1] for name in ids if len(images.get(name, ())) > 1},
        "several masks": {name: masks[name][1] for name in ids if len(masks.get(name, ())) > 1},
    }
    if unpaired := {name for found in wrong.values() for name in found}:
        report(Fault("pairs", homes.images, _summary(wrong, len(ids), homes, stated)))
    for what, found in wrong.items():
        for name, path in found.items():
            report(Fault("missing" if what.startswith("no ") else "repeated", path, f"{name} has {what} ({path})"))
    return [Pair(name, images[name][0], masks[name][0]) for name in ids if name not in unpaired]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)  # a Mac writes letters and their accents apart


def _found(home: Path, folders: Iterable[str], suffixes: Sequence[str], flat: bool = False) -> Files:
    found: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        place = home if flat and not (home / folder).is_dir() else home / folder
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file():
                found[str(PurePosixPath(folder, _composed(path.stem)))].append(path)
    return dict(found)


def _summary(wrong: Mapping[str, Mapping[str, Path]], count: int, homes: Homes, stated: str) -> str:
    said = "; ".join(
        f"{len(found):,} of {count:,} have {what}: {listed(found, 20)}" for what, found in wrong.items() if found
    )
    first = next(path for found in wrong.values() for path in found.values())
    return (
        f"{stated} does not pair up: {said}; the first is {first}. Each image in {homes.images} "
        f"({', '.join(IMAGE_SUFFIXES)}) needs one mask of its name in {homes.masks} ({', '.join(MASK_SUFFIXES)}): add "
        "what is missing, move what is too much, or list the ids to use in a file such as data.train_split=train.txt"
    )
