"""Every image and mask read once: what is wrong with a data set, and what is in it."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageMode

from fcnseg.data.dataset import ImageFiles, Pair, Source
from fcnseg.data.decoding import CONVERTED, Labels, Pixels
from fcnseg.data.faults import Fault
from fcnseg.data.orientation import disagreement
from fcnseg.data.sbd import is_fresh, read_mat
from fcnseg.data.splits import listed

Found = TypeVar("Found")

PLAIN_MODES = ("RGB", "L", "P", "1")
"""PIL modes that become RGB or grey as they are; others have a channel too many, or more bits."""


class Seen(NamedTuple):
    """What was found of one image and its mask.

    Attributes:
        name: its id.
        path: its file; its id where there is none.
        faults: of both files, and of the two together.
        size: height and width of the image, if it can be read.
        digest: of its pixels, likewise.
        counts: pixels of each class and, last, of void, if the mask can be read.
    """

    name: str
    path: Path
    faults: tuple[Fault, ...] = ()
    size: tuple[int, int] | None = None
    digest: bytes | None = None
    counts: tuple[int, ...] | None = None

    @property
    def missing(self) -> bool:
        """Whether image or mask is not there."""
        return any(fault.kind == "missing" for fault in self.faults)


@dataclass(frozen=True)
class Statistics:
    """What is in a split.

    Attributes:
        images: number of ids.
        missing: of them without an image or a mask on disk.
        masks: of them with a mask that can be read, which are those that count below.
        pixels: of each class and, last, of void.
        present: number of images that hold the class and, last, void.
        sizes: number of images of each height and width, the most frequent first.
    """

    images: int
    missing: int
    masks: int
    pixels: tuple[int, ...]
    present: tuple[int, ...]
    sizes: dict[tuple[int, int], int]


@dataclass(frozen=True)
class Inspection:
    """What is in a data set and what is wrong with it.

    Attributes:
        classes: names in the order of their labels.
        parts: what is in the training and in the validation images.
        faults: everything that is wrong.
        remarks: what is harmless, and worth knowing.
    """

    classes: tuple[str, ...]
    parts: dict[str, Statistics]
    faults: tuple[Fault, ...]
    remarks: tuple[Fault, ...]


def inspect_images(source: Source, workers: int = 1) -> Iterator[Seen]:
    """Reads every image and mask, some at a time, and yields what was found in the order of the source.

    In threads, because decoding releases Python's lock, and a thread needs no second import of everything.
    """

    def look(index: int) -> Seen:
        return _look_at_files(source, index) if isinstance(source, ImageFiles) else _look(source, index)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from pool.map(look, range(len(source)))


def conclude(
    classes: Sequence[str],
    seen: Mapping[str, Sequence[Seen]],
    said: Sequence[Fault],
    *,
    partial: bool = False,
    overlap: str = "error",
    overlap_by: str = "ids",
) -> Inspection:
    """Puts together what was found.

    Args:
        classes: names in the order of their labels.
        seen: the images of "train", of "val" or of both.
        said: faults of the lists.
        partial: whether a part may lack images, though not all of them.
        overlap: what data.overlap says; under "remove" the statistics are of the training images that are left.
        overlap_by: what data.overlap_by says.
    """
    faults, kept = list(said), dict(seen)
    if {"train", "val"} <= kept.keys():
        leaking = leaks(kept["train"], kept["val"], overlap, overlap_by)
        removed = {fault.path for fault in leaking if fault.harmless and overlap == "remove"}
        kept["train"] = [each for each in kept["train"] if each.path not in removed]
        faults += leaking
        if removed and not kept["train"]:
            said_of_all = f"all {len(removed):,} training images are validation images too: choose other splits"
            faults.append(Fault("empty", min(removed).parent, said_of_all))
    for images in kept.values():
        may_lack = partial and not all(each.missing for each in images)
        faults += [fault for each in images for fault in each.faults if not (may_lack and fault.kind == "missing")]
    parts = {part: statistics(images, len(classes)) for part, images in kept.items()}
    if parts.get("train") and parts["train"].masks:
        faults += _unlearnt(classes, parts["train"], kept["train"][0].path.parent)
    once = dict.fromkeys(faults)  # an image of both parts, or a list that both name, tells its faults twice
    return Inspection(
        tuple(classes),
        parts,
        tuple(fault for fault in once if not fault.harmless),
        tuple(fault for fault in once if fault.harmless),
    )


def _unlearnt(classes: Sequence[str], train: Statistics, folder: Path) -> Iterator[Fault]:
    absent = [name for name, images in zip(classes, train.present, strict=False) if not images]
    if absent:
        said = f"no training image in {folder} holds {listed(absent, 20)}: nothing is learnt of what is not shown"
        yield Fault("classes", folder, said, harmless=True)


def statistics(seen: Sequence[Seen], num_classes: int) -> Statistics:
    """Adds up what was found of a split's images."""
    counted = [each.counts for each in seen if each.counts is not None]
    table = np.array(counted, np.int64).reshape(-1, num_classes + 1)
    return Statistics(
        len(seen),
        sum(each.missing for each in seen),
        len(counted),
        tuple(table.sum(0).tolist()),
        tuple((table > 0).sum(0).tolist()),
        dict(Counter(each.size for each in seen if each.size is not None).most_common()),
    )


def leaks(train: Sequence[Seen], val: Sequence[Seen], overlap: str, overlap_by: str) -> list[Fault]:
    """Says which training images are validation images too, under their own id or another.

    Args:
        train: training images.
        val: validation images.
        overlap: what data.overlap says; "allow" makes them harmless, "remove" those that it removes.
        overlap_by: what data.overlap_by says.
    """
    ids = {each.name: each for each in val}
    twins = {each.digest: each for each in val if each.digest is not None}
    found = []
    for each in train:
        twin = ids.get(each.name) or (twins.get(each.digest) if each.digest else None)
        if twin is None:
            continue
        removed = overlap == "remove" and (
            twin.name == each.name or (overlap_by == "contents" and _same_bytes(each.path, twin.path))
        )
        same = "under the same id" if twin.name == each.name else f"with the same pixels, as {twin.path}"
        said = f"the training image {each.path} is a validation image too, {same}"
        remedy = "data.overlap takes care of it" if removed or overlap == "allow" else _remedy(each.name == twin.name)
        found.append(Fault("overlap", each.path, f"{said}: {remedy}", harmless=removed or overlap == "allow"))
    return found


def _remedy(by_ids: bool) -> str:
    how = "data.overlap=remove" if by_ids else "data.overlap=remove data.overlap_by=contents (for files that are equal)"
    return f"take it out of one of the lists, or set {how}"


def _same_bytes(first: Path, second: Path) -> bool:
    return first.is_file() and second.is_file() and first.read_bytes() == second.read_bytes()


def _look(source: Source, index: int) -> Seen:
    name = source.name(index)
    try:
        image, mask = source.read(index)
    except (ValueError, OSError) as error:
        return Seen(name, Path(name), (Fault("image", Path(name), str(error)),))
    return Seen(name, Path(name), (), _size(image), _digest(image), _counted(mask, source))


def _look_at_files(source: ImageFiles, index: int) -> Seen:
    pair = source.pairs[index]
    faults: list[Fault] = []
    image = _read("image", pair.image, lambda: source.read_image(index), faults)
    if pair.origin is None or is_fresh(pair.mask, pair.origin):
        mask = _read("mask", pair.mask, lambda: source.read_mask(index), faults)
    else:  # training would convert it first
        origin = pair.origin
        mask = _read("mask", origin, lambda: read_mat(origin), faults)
    if image is not None and mask is not None:
        faults += _between(source, index, image, mask)
        faults += _odd_modes(pair, source.channels)
    if not pair.image.name.isascii() or " " in pair.image.name:
        said = f"{pair.image} has a name with spaces or letters beyond ASCII: it is read as it should be"
        faults.append(Fault("name", pair.image, said, harmless=True))
    seen = Seen(pair.name, pair.image, tuple(faults), counts=None if mask is None else _counted(mask, source))
    return seen if image is None else seen._replace(size=_size(image), digest=_digest(image))


def _read(what: str, path: Path, read: Callable[[], Found], faults: list[Fault]) -> Found | None:
    """Reads a file, or says what is wrong with it."""
    try:
        if path.stat().st_size == 0:
            raise ValueError(f"the {what} {path} is an empty file of 0 bytes: restore it")
        return read()
    except (FileNotFoundError, NotADirectoryError):
        faults.append(
            Fault("missing", path, f"the {what} {path} is missing: restore it, or take its id out of the list")
        )
    except (ValueError, OSError) as error:
        faults.append(Fault(what, path, str(error)))
    return None


def _between(source: ImageFiles, index: int, image: Pixels, mask: Labels) -> Iterator[Fault]:
    pair = source.pairs[index]
    sizes = _size(image), _size(mask)
    if sizes[0] != sizes[1]:
        yield source.mismatch(index, image, mask)
    elif turned := disagreement(pair.image, pair.mask, sizes):
        yield turned
    if not np.any(mask != source.void):
        yield Fault(
            "void", pair.mask, f"the mask {pair.mask} holds void alone: nothing is learnt from it", harmless=True
        )


def _odd_modes(pair: Pair, channels: int) -> Iterator[Fault]:
    image, mask = _mode(pair.image), _mode(pair.mask)
    if channels in CONVERTED and image is not None and image not in PLAIN_MODES:
        said = f"the image {pair.image} has mode {image} and becomes {CONVERTED[channels]} whenever it is read"
        bands = len(ImageMode.getmode(image).bands)
        kept = f", or keep all bands of your own images by data.channels={bands}" if bands not in CONVERTED else ""
        yield Fault("channels", pair.image, f"{said}: look at it, and save it as {CONVERTED[channels]}{kept}")
    if mask is not None and mask not in PLAIN_MODES:
        said = f"the mask {pair.mask} has the unusual mode {mask}: it is read as it should be"
        yield Fault("bits", pair.mask, said, harmless=True)


def _mode(path: Path) -> str | None:
    with suppress(OSError), Image.open(path) as file:
        return file.mode
    return None  # of an array


def _size(image: Pixels | Labels) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _digest(image: Pixels) -> bytes:
    return hashlib.blake2b(f"{image.shape} {image.dtype}".encode() + image.tobytes(), digest_size=16).digest()


def _counted(mask: Labels, source: Source) -> tuple[int, ...]:
    void = len(source.classes)
    labels = np.where(mask == source.void, void, mask.astype(np.int64))
    return tuple(np.bincount(labels.ravel(), minlength=void + 1).tolist())
