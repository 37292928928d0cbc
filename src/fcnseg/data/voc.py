"""PASCAL VOC devkits on disk, 2007 to 2012: JPEGImages, SegmentationClass, ImageSets/Segmentation."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from fcnseg.data.dataset import ImageFiles, Pair
from fcnseg.data.faults import Report, refuse
from fcnseg.data.sbd import convert_masks, sbd_lists
from fcnseg.data.splits import SEG11VALID, Lists, combine, listed, read_list

CLASSES = (
    "background",
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *(
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
)
"""VOC's classes in the order of their labels."""

DEVKITS = tuple(f"VOC{year}" for year in range(2007, 2013))
"""The years' folders."""


def open_split(
    root: str,
    year: str,
    split: str,
    sbd_root: str | None = None,
    cache: str | None = None,
    partial: bool = False,
) -> ImageFiles:
    """Opens a split of a devkit, with SBD's images and masks where it names them.

    Args:
        root: the VOCdevkit folder, or the VOC2012 folder in it.
        year: the devkit's year.
        split: lists in ImageSets/Segmentation (train, val, trainval), seg11valid, sbd_train, sbd_val and sbd_all,
            joined with + and -.
        sbd_root: SBD's folder benchmark_RELEASE; needed only if the split names a list of SBD.
        cache: folder for SBD's masks as PNG; None puts them beside the .mat files.
        partial: take what is on disk of the split, and remark how many images are missing.

    Raises:
        FileNotFoundError: a folder, a list or a file that it names is missing.
        ValueError: the split is no expression of known lists, a list is empty or names an id twice, or one of SBD's
            masks cannot be converted.
    """
    pairs = survey_split(root, year, split, sbd_root, cache).pairs
    missing = missing_files(pairs)
    if missing and (not partial or len(missing) == len(pairs)):
        raise FileNotFoundError(_report(missing, split, len(pairs), partial))
    remarks = {"missing": len(missing)} if partial else {}
    source = ImageFiles(pairs, CLASSES).without(missing, **remarks)
    convert_masks(source.pairs)
    return source


def survey_split(
    root: str,
    year: str,
    split: str,
    sbd_root: str | None = None,
    cache: str | None = None,
    report: Report = refuse,
) -> ImageFiles:
    """Returns what a split names, whether it is on disk or not; nothing is converted.

    Args:
        root: as open_split, with all but the last that follow.
        year: likewise.
        split: likewise.
        sbd_root: likewise.
        cache: likewise.
        report: takes the faults of the lists.

    Raises:
        FileNotFoundError, ValueError: as open_split; of a list only what ``report`` raises.
    """
    home = find_devkit(Path(root), year)
    return ImageFiles(combine(split, {**devkit_lists(home, report), **sbd_lists(sbd_root, cache, report)}), CLASSES)


def devkit_lists(home: Path, report: Report = refuse) -> Lists:
    """Returns what a split can name of a devkit: its own lists, and the paper's validation images.

    Args:
        home: the folder that holds ImageSets.
        report: takes the faults of the lists.
    """
    files = {file.stem: file for file in (home / "ImageSets" / "Segmentation").glob("*.txt")}
    named = {**files, "seg11valid": SEG11VALID}
    return {name: functools.partial(_pairs, home, file, report) for name, file in named.items()}


def _pairs(home: Path, file: Path, report: Report) -> list[Pair]:
    images, masks = home / "JPEGImages", home / "SegmentationClass"
    return [Pair(name, images / f"{name}.jpg", masks / f"{name}.png") for name in read_list(file, report)]


def find_devkit(root: Path, year: str) -> Path:
    """Returns the folder that holds ImageSets; another year's has other lists and is not taken.

    Raises:
        FileNotFoundError: says what was looked for.
    """
    own, here = f"VOC{year}", root.absolute().name
    homes = [root / own] if here in DEVKITS and here != own else [root / own, root]
    for home in homes:
        if (home / "ImageSets" / "Segmentation").is_dir():
            return home
    if not root.is_dir():
        raise FileNotFoundError(f"data.root={root} is no folder; give the VOCdevkit folder that holds {own}")
    there = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "nothing"
    paper = " or, for the paper's validation on VOC2012's images, data=voc2012 data.val_split=seg11valid"
    raise FileNotFoundError(
        f"data.root={root} holds no {own}/ImageSets/Segmentation (it holds {there}); give the VOCdevkit folder with "
        f"{own}, data.year for another year{paper if year == '2011' else ''}"
    )


def missing_files(pairs: Sequence[Pair]) -> dict[str, Path]:
    """Returns the ids whose image or mask does not exist, each with a missing file, by one listing of each folder."""
    needed = [(pair.name, path) for pair in pairs for path in (pair.image, pair.origin or pair.mask)]
    folders = {path.parent for _, path in needed}
    there = {folder: {file.name for file in folder.iterdir()} if folder.is_dir() else set() for folder in folders}
    missing: dict[str, Path] = {}
    for name, path in needed:
        if path.name not in there[path.parent]:
            missing.setdefault(name, path)
    return missing


def _report(missing: Mapping[str, Path], split: str, count: int, partial: bool) -> str:
    remedy = "" if partial else ", or set data.partial=true to take what is there"
    return (
        f"{len(missing):,} of the {count:,} images that data.train_split or data.val_split={split!r} names are not on "
        f"disk: {listed(missing, 20)}; the first missing file is {next(iter(missing.values()))}; restore them, or take "
        f"their ids out of the list{remedy}"
    )
