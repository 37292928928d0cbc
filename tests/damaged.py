"""A copy of a few photographs of VOC, or of drawn ones where there are none, and what can be wrong with it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

from conftest import SHARED
from tiny_voc import write_devkit, write_list, write_mask


class Files(NamedTuple):
    """One image of the copy: the devkit's folder, its id, image, mask and list."""

    home: Path
    name: str
    image: Path
    mask: Path
    list: Path


class Damage(NamedTuple):
    """What is done to an image, and what fcnseg.check and fcnseg.train make of it.

    Attributes:
        do: does it, and returns the path that must be named.
        kind: of the fault.
        harmless: for the check.
        trains: training goes on all the same.
    """

    do: Callable[[Files], Path]
    kind: str
    harmless: bool = False
    trains: bool = False


def copy_devkit(folder: Path, train: int, val: int) -> Path:
    """Returns a VOCdevkit with so many images in train and val."""
    real = Path(os.environ.get("FCNSEG_DATA", SHARED / "data")) / "VOCdevkit" / "VOC2012"
    if not real.is_dir():
        return write_devkit(folder, train, val)
    home = folder / "VOC2012"
    for place in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / place).mkdir(parents=True)
    for split, count in (("train", train), ("val", val)):
        names = (real / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()
        names = [name for name in names if is_lying(real / "JPEGImages" / f"{name}.jpg")][:count]
        for name in names:
            for place, end in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
                shutil.copyfile(real / place / f"{name}.{end}", home / place / f"{name}.{end}")
        write_list(home, split, names)
    return folder


def is_lying(path: Path) -> bool:
    """Whether an image is wider than high, so that turning it changes its size."""
    with Image.open(path) as file:
        return file.width > file.height


def files(devkit: Path, index: int, split: str = "train") -> Files:
    """Returns an image of a split by its place in the list."""
    home = devkit / "VOC2012"
    listed = home / "ImageSets" / "Segmentation" / f"{split}.txt"
    name = listed.read_text(encoding="utf-8").splitlines()[index]
    return Files(home, name, home / "JPEGImages" / f"{name}.jpg", home / "SegmentationClass" / f"{name}.png", listed)


def labels_of(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.array(file)


def cut_image(it):
    it.image.write_bytes(it.image.read_bytes()[: it.image.stat().st_size // 2])
    return it.image


def empty_mask(it):
    it.mask.write_bytes(b"")
    return it.mask


def coloured_mask(it):
    with Image.open(it.mask) as file:
        colours = file.convert("RGB")
    colours.save(it.mask)
    return it.mask


def unknown_label(it):
    labels = labels_of(it.mask)
    labels[0, 0] = 254
    Image.fromarray(labels).save(it.mask)
    return it.mask


def smaller_mask(it):
    write_mask(it.mask, labels_of(it.mask)[:-1])
    return it.mask


def no_mask(it):
    it.mask.unlink()
    return it.mask


def no_image(it):
    it.image.unlink()
    return it.image


def folder_for_mask(it):
    it.mask.unlink()
    it.mask.mkdir()
    return it.mask


def folder_for_image(it):
    it.image.unlink()
    it.image.mkdir()
    return it.image


def forbidden_image(it):
    it.image.chmod(0)
    return it.image


def deep_mask(it):
    Image.fromarray(labels_of(it.mask).astype(np.uint16) * 257).save(it.mask)
    return it.mask


def deep_mask_of_labels(it):
    Image.fromarray(labels_of(it.mask).astype(np.uint16)).save(it.mask)
    return it.mask


def printed_image(it):
    with Image.open(it.image) as file:
        inks = file.convert("CMYK")
    inks.save(it.image)
    return it.image


def turn(it, orientation, method):
    """Stores an image turned, with the EXIF orientation by which viewers turn it back, or so it says."""
    with Image.open(it.image) as file:
        stored, exif = file.transpose(method) if method is not None else file.copy(), Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored.save(it.image, exif=exif)
    return it.image


def turned_image(it):
    return turn(it, 6, Image.Transpose.ROTATE_90)


def upside_down_image(it):
    return turn(it, 3, Image.Transpose.ROTATE_180)


def turned_with_its_mask(it):
    return turn(it, 6, None)


def id_twice(it):
    it.list.write_text(it.list.read_text(encoding="utf-8") + it.name + "\n", encoding="utf-8")
    return it.list


def empty_list(it):
    it.list.write_text("\n")
    return it.list


def windows_list(it):
    it.list.write_bytes(it.list.read_bytes().replace(b"\n", b"\r\n"))
    return it.list


def named_with_spaces(it):
    new = "ein schönes Bild 図"
    image = it.image.rename(it.image.with_name(f"{new}.jpg"))
    it.mask.rename(it.mask.with_name(f"{new}.png"))
    it.list.write_text(it.list.read_text(encoding="utf-8").replace(it.name, new), encoding="utf-8")
    return image


DAMAGES = {
    "truncated JPEG": Damage(cut_image, "image"),
    "zero-byte PNG": Damage(empty_mask, "mask"),
    "RGB mask": Damage(coloured_mask, "mask"),
    "grey mask with 254": Damage(unknown_label, "mask"),
    "mask of another size": Damage(smaller_mask, "size"),
    "missing mask": Damage(no_mask, "missing"),
    "missing image": Damage(no_image, "missing"),
    "folder for a mask": Damage(folder_for_mask, "mask"),
    "folder for an image": Damage(folder_for_image, "image"),
    "16-bit PNG": Damage(deep_mask, "mask"),
    "16-bit PNG of labels": Damage(deep_mask_of_labels, "bits", harmless=True, trains=True),
    "CMYK JPEG": Damage(printed_image, "channels", trains=True),
    "EXIF-rotated JPEG": Damage(turned_image, "exif"),
    "EXIF upside down": Damage(upside_down_image, "exif", trains=True),
    "EXIF-rotated with its mask": Damage(turned_with_its_mask, "exif", harmless=True, trains=True),
    "spaces and letters beyond ASCII": Damage(named_with_spaces, "name", harmless=True, trains=True),
    "no read permission": Damage(forbidden_image, "image"),
    "id twice": Damage(id_twice, "repeated"),
    "CRLF list": Damage(windows_list, "line ends", harmless=True, trains=True),
    "empty list": Damage(empty_list, "empty"),
}
"""By name; of the files first, and of the list last, so that all can be done to one copy in this order."""
