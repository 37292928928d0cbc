"""Your own images: a folder of images and a folder of masks, with any classes and any number of channels."""

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

from fcnseg.data.dataset import ImageFiles, Pair
from fcnseg.data.faults import Fault, Report, refuse
from fcnseg.data.legend import stated_legend
from fcnseg.data.pairing import Homes, pair_up, read_ids

ALL = "all"
"""The split of every image that lies in data.images itself, and not in a folder in it."""


def open_split(
    part: str,
    train_split: str,
    val_split: str,
    classes: Any,
    root: str = ".",
    images: str = "images",
    masks: str = "masks",
    void: Any = None,
    channels: int = 3,
    report: Report = refuse,
) -> ImageFiles:
    """Opens the training or the validation images of two folders.

    Args:
        part: "train" or "val".
        train_split: "all", the name of a folder in ``images``, or a list of ids (a .txt in ``root``, one id a line).
        val_split: likewise; or a fraction such as 0.2 of the training split, which training then leaves out.
        classes: as stated_legend.
        root: where the other paths start.
        images: folder of the images.
        masks: folder of the masks; its folder of the split's name, if it has one.
        void: as stated_legend.
        channels: of the images, as decoded_image.
        report: takes what does not pair up; the rest is returned.

    Raises:
        FileNotFoundError: a folder or a list is missing.
        ValueError: classes or splits mean nothing; or, unless ``report`` takes it, there are no images, or an image has
            not one mask, or a mask not one image.
    """
    names, legend = stated_legend(classes, void)
    share = _fraction(val_split)
    key = "train_split" if part == "train" or share is not None else "val_split"
    split = train_split if key == "train_split" else val_split
    homes = Homes(Path(root, images), Path(root, masks))
    pairs = _pairs(homes, Path(root), key, split, report)
    if share is not None:
        # By the id alone, so that further images move none of those that are there to the other side.
        pairs = [pair for pair in pairs if (_place(pair.name) < share) == (part == "val")]
    if not pairs:
        left = (
            f", and data.val_split={val_split} leaves it none: take another fraction, or" if share is not None else ":"
        )
        report(Fault("empty", homes.images, f"{part} has no image: data.{key}={split}{left} {_choices(homes, root)}"))
    return ImageFiles(pairs, names, legend=legend, channels=channels)


survey_split = open_split
"""What fcnseg.check opens: it gives a ``report`` that takes the faults, and goes on with what is left."""


def _fraction(split: str) -> float | None:
    try:
        share = float(split)
    except ValueError:
        return None
    return share if 0 < share < 1 else None


def _place(name: str) -> float:
    """Returns a number 0..1 for an id, evenly spread over ids and the same everywhere."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64


def _pairs(homes: Homes, root: Path, key: str, split: str, report: Report) -> list[Pair]:
    stated = f"data.{key}={split}"
    for name, home in zip(("images", "masks"), homes, strict=True):
        if not home.is_dir():
            raise FileNotFoundError(f"there is no folder {home}: set data.root, or data.{name} below it")
    if _fraction(split) is not None:
        rest = f"{1 - float(split):g}"
        raise ValueError(f"{stated}: say data.val_split={rest} instead, and data.train_split=all, which gives the rest")
    if split.endswith(".txt"):
        ids = read_ids(root / split, report)
        return pair_up(homes, sorted({str(PurePosixPath(name).parent) for name in ids}), ids, stated, report)
    if split != ALL and not (homes.images / split).is_dir():
        raise FileNotFoundError(f"{stated} is no folder in {homes.images} and no list (.txt): {_choices(homes, root)}")
    return pair_up(homes, ["." if split == ALL else split], None, stated, report)


def _choices(homes: Homes, root: str | Path) -> str:
    folders = sorted(path.name for path in homes.images.iterdir() if path.is_dir())
    lists = sorted(path.name for path in Path(root).glob("*.txt"))
    found = ", ".join([ALL, *folders, *lists])
    return f"choose among {found} for data.train_split and data.val_split, or a fraction such as 0.2 for the latter"
