"""The archive that VOC's evaluation server takes, and what it must hold."""

import tarfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from fcnseg.data.decoding import image_size
from fcnseg.data.splits import listed, read_list
from fcnseg.data.voc import CLASSES, find_devkit
from fcnseg.disk import write_durably
from fcnseg.prediction.inputs import Inputs, Item
from fcnseg.visualize import palette

COMPETITIONS = ("comp5", "comp6")
"""Segmentation by a net trained on VOC's data alone, and on any data (weights from ImageNet are such)."""


def split_inputs(root: str, year: str, split: str) -> Inputs:
    """Returns the images of a devkit's list; their masks need not be there, as those of the test set are not.

    Args:
        root: the VOCdevkit folder.
        year: of the devkit.
        split: a list in ImageSets/Segmentation.

    Raises:
        FileNotFoundError: there is no such devkit or list, or images are missing.
        ValueError: the list cannot be read, is empty, or names an id twice.
    """
    home = find_devkit(Path(root), year)
    names = read_list(home / "ImageSets" / "Segmentation" / f"{split}.txt")
    items = tuple(Item(name, home / "JPEGImages" / f"{name}.jpg") for name in names)
    if missing := [item.name for item in items if not item.path.is_file()]:
        raise FileNotFoundError(
            f"{len(missing):,} of the {len(items):,} images of voc.split={split} are not in {home / 'JPEGImages'}: "
            f"{listed(missing, 20)}; the server wants all of them: restore them"
        )
    return Inputs(items)


def check_net(num_classes: int, classes: Sequence[str], competition: str) -> None:
    """Refuses nets whose labels are not VOC's.

    Raises:
        ValueError: the classes are others, or there is no such competition.
    """
    if competition not in COMPETITIONS:
        raise ValueError(f"voc.competition must be {' or '.join(COMPETITIONS)}, not {competition!r}")
    if num_classes != len(CLASSES) or tuple(classes) != CLASSES:
        raise ValueError(
            f"voc_submission=true needs a net trained on VOC's {len(CLASSES)} classes; this one knows "
            f"{num_classes}: {listed(list(classes), 6)}"
        )


def member(name: str, year: str, competition: str) -> str:
    """Returns the path of an image's mask in the archive; the server evaluates the test set alone."""
    return f"results/VOC{year}/Segmentation/{competition}_test_cls/{name}.png"


def write_archive(path: Path, masks: Mapping[str, Path], year: str, competition: str) -> None:
    """Packs masks as the server wants them; the same masks give the same members.

    Args:
        path: of the archive, .tgz.
        masks: {id: file}.
        year: of the devkit.
        competition: comp5 or comp6.

    Raises:
        ValueError: the disk is full, or refuses otherwise.
    """

    def write(file: object) -> None:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:  # type: ignore[call-overload]
            for name, mask in sorted(masks.items()):
                archive.add(mask, member(name, year, competition), filter=partial(_plain))

    write_durably(path, write)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    info.mode = 0o644
    return info


def check_archive(path: Path, images: Mapping[str, Path], year: str, competition: str) -> list[str]:
    """Returns what the server would not take; nothing if the archive is sound.

    Args:
        path: of the archive.
        images: {id: file} of the list.
        year: of the devkit.
        competition: comp5 or comp6.

    Raises:
        ValueError: it is no archive that can be read, or an image is none.
    """
    wanted = {member(name, year, competition): file for name, file in images.items()}
    faults: list[str] = []
    seen: set[str] = set()
    try:
        with tarfile.open(path, "r:gz") as archive:
            for info in archive:
                if info.isdir():
                    continue
                if info.name not in wanted or not info.isfile() or info.name in seen:
                    faults.append(f"{info.name} does not belong there")
                    continue
                seen.add(info.name)
                file = archive.extractfile(info)
                assert file is not None
                with Image.open(file) as mask:
                    faults += _faults(PurePosixPath(info.name).name, mask, image_size(wanted[info.name]))
    except (OSError, EOFError, tarfile.TarError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read as a .tgz of PNGs ({error}): write it again") from error
    absent = sorted(set(wanted) - seen)
    return faults + ([f"{len(absent):,} masks are missing: {listed(absent, 3)}"] if absent else [])


def _faults(name: str, mask: Image.Image, size: tuple[int, int]) -> list[str]:
    if (mask.format, mask.mode) != ("PNG", "P"):
        return [f"{name} is a {mask.format} of mode {mask.mode} instead of a PNG of mode P"]
    said = []
    if (mask.height, mask.width) != size:
        said.append(f"{name} is {mask.width}x{mask.height}, its image {size[1]}x{size[0]}")
    if (largest := int(np.asarray(mask).max())) >= len(CLASSES):
        said.append(f"{name} holds label {largest}; VOC's are 0..{len(CLASSES) - 1}")
    colours = (mask.getpalette() or [])[: 3 * len(CLASSES)]
    if colours != palette(len(CLASSES)).flatten().tolist():
        said.append(f"{name} has other colours than VOC's")
    return said
