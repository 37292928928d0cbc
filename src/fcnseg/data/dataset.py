"""What a data set must offer, and the torch Dataset that reads one for training or validation."""

import hashlib
from collections.abc import Callable, Collection, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from fcnseg.data.faults import Fault
from fcnseg.data.orientation import disagreement
from fcnseg.shapes import VOID, Batch

Pixels = NDArray[np.uint8]

Read = TypeVar("Read")

MASK_MODES = ("P", "L", "1")
"""PIL modes whose values are class numbers: palette, 8-bit grey, 1 bit."""


@runtime_checkable
class Source(Protocol):
    """Images with masks, by number.

    Attributes:
        classes: names of the classes, background first.
        void: label of pixels that belong to no class.
    """

    classes: tuple[str, ...]
    void: int

    def __len__(self) -> int:
        """Number of images."""
        ...

    def read(self, index: int) -> tuple[Pixels, Pixels]:
        """Returns an image [h, w, 3] RGB and its mask [h, w], both uint8."""
        ...

    def name(self, index: int) -> str:
        """Returns the image's id."""
        ...

    def size(self, index: int) -> tuple[int, int]:
        """Returns height and width without decoding the image."""
        ...

    def fingerprint(self) -> str:
        """Returns a short hash that changes when the set does."""
        ...


class Pair(NamedTuple):
    """One image on disk and its mask.

    Attributes:
        name: its id.
        image: its file.
        mask: the file of its labels.
        origin: what the mask's file is made from, where it is not the data set's own.
    """

    name: str
    image: Path
    mask: Path
    origin: Path | None = None


class ImageFiles:
    """A Source of image files and mask files whose values are class numbers.

    Attributes:
        pairs: the files.
        remarks: counts that results must give beside the number of images, such as {"missing": 507}.
    """

    def __init__(self, pairs: Sequence[Pair], classes: Sequence[str], void: int = VOID) -> None:
        """Keeps the paths; nothing is opened yet."""
        self.pairs, self.classes, self.void = tuple(pairs), tuple(classes), void
        self.remarks: dict[str, int] = {}

    def without(self, names: Collection[str], **remarks: int) -> "ImageFiles":
        """Returns the same images except those of some names, with further remarks."""
        rest = copy(self)
        rest.pairs = tuple(pair for pair in self.pairs if pair.name not in names)
        rest.remarks = self.remarks | remarks
        return rest

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pairs)

    def name(self, index: int) -> str:
        """Returns the image's id."""
        return self.pairs[index].name

    def size(self, index: int) -> tuple[int, int]:
        """Returns height and width from the image's header.

        Raises:
            ValueError: the image cannot be read.
        """
        return _open(self.pairs[index].image, lambda image: (image.height, image.width))

    def read(self, index: int) -> tuple[Pixels, Pixels]:
        """Decodes an image and its mask, both as they are stored: no turn that EXIF asks viewers for is made.

        Raises:
            ValueError: names the file that cannot be read, whose mode or labels are wrong, or whose size differs.
        """
        image, mask = self.read_image(index), self.read_mask(index)
        if image.shape[:2] != mask.shape:
            raise ValueError(self.mismatch(index, image, mask).said)
        return image, mask

    def read_image(self, index: int) -> Pixels:
        """Decodes an image.

        Raises:
            ValueError: names the file that cannot be read.
        """
        return _open(self.pairs[index].image, lambda file: np.array(file.convert("RGB")))

    def read_mask(self, index: int) -> Pixels:
        """Decodes the labels of an image.

        Raises:
            ValueError: names the file that cannot be read, or whose mode or labels are wrong.
        """
        path = self.pairs[index].mask
        return self._labels(path, *_open(path, lambda file: (file.mode, np.array(file))))

    def mismatch(self, index: int, image: Pixels, mask: Pixels) -> Fault:
        """Says that an image and its mask, which differ in size, do; and where it is EXIF that explains it."""
        pair, (height, width) = self.pairs[index], image.shape[:2]
        said = (
            f"{pair.image} is {width}x{height}, its mask {pair.mask} is {mask.shape[1]}x{mask.shape[0]} (width x "
            f"height): replace one of them, or take {pair.name} out of the split"
        )
        turned = disagreement(pair.image, pair.mask, ((height, width), (mask.shape[0], mask.shape[1])))
        return turned or Fault("size", pair.image, said)

    def _labels(self, path: Path, mode: str, values: NDArray[Any]) -> Pixels:
        if mode not in MASK_MODES:
            raise ValueError(
                f"the mask {path} has mode {mode}; class numbers stand in palette (P) or 8-bit grey (L) "
                "PNGs: convert it"
            )
        labels = values.astype(np.uint8, copy=False)
        counts = np.bincount(labels.ravel(), minlength=256)
        wrong = [
            label for label in np.flatnonzero(counts).tolist() if label >= len(self.classes) and label != self.void
        ]
        if wrong:
            raise ValueError(
                f"the mask {path} holds {wrong[:5]}, which is neither a class (0..{len(self.classes) - 1}) nor "
                f"void ({self.void}): correct it, or take its id out of the split"
            )
        return labels

    def fingerprint(self) -> str:
        """Hashes the ids and the sizes in bytes of the data set's own files, which are the same on every machine."""
        digest = hashlib.sha256()
        for name, image, mask, origin in self.pairs:
            digest.update(f"{name} {image.stat().st_size} {(origin or mask).stat().st_size}\n".encode())
        return digest.hexdigest()[:16]


def _open(path: Path, use: Callable[[Image.Image], Read]) -> Read:
    try:
        with Image.open(path) as image:
            return use(image)
    except FileNotFoundError:
        raise ValueError(f"{path} is gone, and was there when the data set was opened: restore it") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} cannot be read as an image ({error}): restore it, or take its id out of the split"
        ) from error


@dataclass(frozen=True, slots=True)
class Draw:
    """Asks for one image: which, and for the how-many-th time, so that its augmentation is reproducible.

    Attributes:
        index: position in the source.
        epoch: pass over the set.
        turn: position in that pass; tells two draws of the same image apart.
    """

    index: int
    epoch: int = 0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One image on its way into a batch: image [h, w, 3] and mask [h, w], uint8."""

    image: Pixels
    mask: Pixels
    index: int
    name: str


Transform = Callable[[Pixels, Pixels, Draw], tuple[Pixels, Pixels]]
"""Changes image and mask together, at random as a function of the draw alone."""


class SegmentationDataset(Dataset[Sample]):
    """Reads images by draw and transforms them."""

    def __init__(self, source: Source, transform: Transform) -> None:
        """Keeps both."""
        self.source, self.transform = source, transform

    def __len__(self) -> int:
        """Number of images."""
        return len(self.source)

    def __getitem__(self, draw: Draw) -> Sample:
        """Reads and transforms one image."""
        image, mask = self.transform(*self.source.read(draw.index), draw)
        return Sample(image, mask, draw.index, self.source.name(draw.index))


def collate(samples: Sequence[Sample], void: int = VOID, pad: bool = False) -> Batch:
    """Makes a batch of images in channels-last order.

    Deviation: with ``pad`` smaller images are padded at the right and below, with void in the mask; the logits near the
    pad are not those of the image alone.

    Args:
        samples: images with masks.
        void: label for padded pixels.
        pad: allow images of different sizes.

    Raises:
        ValueError: the sizes differ and ``pad`` is false.
    """
    if not pad and len({sample.mask.shape for sample in samples}) > 1:
        names = ", ".join(sample.name for sample in samples[:4])
        raise ValueError(f"images of different sizes came into one batch ({names}): set data.batching=crop or groups")
    height, width = (max(sample.mask.shape[axis] for sample in samples) for axis in (0, 1))
    pixels = torch.zeros(len(samples), height, width, 3, dtype=torch.uint8)
    targets = torch.full((len(samples), height, width), void, dtype=torch.uint8)
    for row, sample in enumerate(samples):
        rows, columns = sample.mask.shape
        pixels[row, :rows, :columns] = torch.from_numpy(sample.image)
        targets[row, :rows, :columns] = torch.from_numpy(sample.mask)
    return Batch(
        pixels.permute(0, 3, 1, 2),
        targets,
        torch.tensor([sample.mask.shape for sample in samples]),
        torch.tensor([sample.index for sample in samples]),
        [sample.name for sample in samples],
    )
