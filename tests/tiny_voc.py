"""VOC devkits and SBD as a few small images in the real format on disk, for tests that drive the real readers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

SIZES = ((60, 80), (72, 48), (40, 40), (60, 80), (33, 50))
"""Height and width of the images, in the order in which they are written."""


def write_devkit(root: Path, train: int = 3, val: int = 2, year: str = "2012") -> Path:
    """Writes JPEGs, palette PNGs with a void border, and the lists train, val and trainval.

    Returns:
        The VOCdevkit folder.
    """
    home = root / f"VOC{year}"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / folder).mkdir(parents=True)
    names = [f"{year}_{number:06d}" for number in range(train + val)]
    for number, name in enumerate(names):
        image, mask = picture(number)
        Image.fromarray(image).save(home / "JPEGImages" / f"{name}.jpg", quality=95)
        write_mask(home / "SegmentationClass" / f"{name}.png", mask)
    for split, chosen in (("train", names[:train]), ("val", names[train:]), ("trainval", names)):
        write_list(home, split, chosen)
    return root


def write_sbd(root: Path, train: Sequence[str], val: Sequence[str] = ("2008_000001",)) -> Path:
    """Writes JPEGs, .mat files as SBD's, and the lists train and val.

    Returns:
        The folder benchmark_RELEASE.
    """
    home = root / "benchmark_RELEASE" / "dataset"
    for folder in ("img", "cls"):
        (home / folder).mkdir(parents=True)
    for number, name in enumerate([*train, *val]):
        image, mask = picture(number)
        Image.fromarray(image).save(home / "img" / f"{name}.jpg", quality=95)
        write_mat(home / "cls" / f"{name}.mat", sbd_labels(number), np.unique(mask[mask % 255 > 0]))
    for split, names in (("train", train), ("val", val)):
        (home / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return home.parent


def sbd_labels(number: int) -> np.ndarray:
    """Returns the labels of a picture as SBD has them: no void, so unlike VOC's."""
    mask = picture(number)[1]
    return np.where(mask == 255, 0, mask).astype(np.uint8)


def write_mat(path: Path, labels: np.ndarray, present: object = ()) -> None:
    """Writes labels as SBD does: a struct GTcls with the field Segmentation among others."""
    savemat(path, {"GTcls": {"Segmentation": labels, "CategoriesPresent": present}}, do_compression=True)


def write_list(home: Path, split: str, names: list[str], end: str = "\n") -> Path:
    """Writes a list of ids into the folder VOC2012 of a devkit."""
    path = home / "ImageSets" / "Segmentation" / f"{split}.txt"
    path.write_bytes("".join(name + end for name in names).encode())
    return path


def picture(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws a rectangle of one class, with a border of void, on a mosaic."""
    height, width = SIZES[number % len(SIZES)]
    rng = np.random.default_rng(number)
    image = np.kron(rng.integers(0, 90, (10, 10, 3)), np.ones((8, 8, 1)))[:height, :width].astype(np.uint8)
    mask = np.zeros((height, width), np.uint8)
    label = (20, 15, 1, 8, 12)[number % 5]
    mask[8:30, 10:35] = 255
    mask[11:27, 13:32] = label
    image[mask == label] += np.uint8(100)
    return image, mask


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Writes labels as VOC does: one byte a pixel, with VOC's palette."""
    picture = Image.fromarray(mask)
    picture.putpalette(voc_palette())
    picture.save(path)


def voc_palette() -> list[int]:
    """Returns VOC's 256 colours: the bits of a label, dealt out in turn to red, green and blue."""
    colours = []
    for label in range(256):
        bits = [label >> shift & 1 for shift in range(8)] + [0]
        colours += [sum(bits[3 * k + channel] << (7 - k) for k in range(3)) for channel in range(3)]
    return colours
