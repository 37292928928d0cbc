"""What a data set must offer, and the torch Dataset that reads one for training or validation."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from torch.utils.data import Dataset

from fcnseg.data.decoded import Decoded
from fcnseg.data.decoding import Labels as Labels
from fcnseg.data.decoding import Pixels as Pixels
from fcnseg.data.decoding import decoded_image, image_size
from fcnseg.data.faults import Fault
from fcnseg.data.legend import Legend
from fcnseg.data.orientation import disagreement
from fcnseg.shapes import VOID


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

    def read(self, index: int) -> tuple[Pixels, Labels]:
        """Returns an image [h, w, c], uint8 and RGB if c is 3, and its mask [h, w], uint8 or int32."""
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
    """A Source of image files and mask files.

    Attributes:
        pairs: the files.
        legend: what the masks' values mean.
        channels: of the images.
        decoded: where decoded images are kept; None decodes them each time.
        remarks: counts that results must give beside the number of images, such as {"missing": 507}.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        classes: Sequence[str],
        void: int = VOID,
        *,
        legend: Legend | None = None,
        channels: int = 3,
    ) -> None:
        """Keeps the paths; nothing is opened yet.

        Args:
            pairs: the files.
            classes: their names.
            void: label of pixels that belong to no class, where the masks hold labels.
            legend: the labels that stand for what the masks hold; None: they hold labels.
            channels: of the images.
        """
        self.pairs, self.classes, self.channels = tuple(pairs), tuple(classes), channels
        self.legend = legend or Legend(tuple(range(len(classes))), void, void)
        self.void = self.legend.void
        self.decoded: Decoded | None = None
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
        return image_size(self.pairs[index].image)

    def read(self, index: int) -> tuple[Pixels, Labels]:
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
            ValueError: names the file that cannot be read, or whose channels are not as many.
        """
        path = self.pairs[index].image
        return self.decoded.image(path, self.channels) if self.decoded else decoded_image(path, self.channels)

    def read_mask(self, index: int) -> Labels:
        """Decodes the labels of an image.

        Raises:
            ValueError: names the file that cannot be read, or whose mode or labels are wrong.
        """
        return self.legend.labels(self.pairs[index].mask)

    def mismatch(self, index: int, image: Pixels, mask: Labels) -> Fault:
        """Says that an image and its mask, which differ in size, do; and where it is EXIF that explains it."""
        pair, (height, width) = self.pairs[index], image.shape[:2]
        said = (
            f"{pair.image} is {width}x{height}, its mask {pair.mask} is {mask.shape[1]}x{mask.shape[0]} (width x "
            f"height): replace one of them, or take {pair.name} out of the split"
        )
        turned = disagreement(pair.image, pair.mask, ((height, width), (mask.shape[0], mask.shape[1])))
        return turned or Fault("size", pair.image, said)

    def fingerprint(self) -> str:
        """Hashes the ids and the sizes in bytes of the data set's own files, which are the same on every machine."""
        digest = hashlib.sha256()
        for name, image, mask, origin in self.pairs:
            digest.update(f"{name} {image.stat().st_size} {(origin or mask).stat().st_size}\n".encode())
        return digest.hexdigest()[:16]


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


Factors: TypeAlias = tuple[float, float, float, float]
"""Of brightness, contrast and saturation, 1 leaving them alone, and turns of hue, 0 leaving it alone."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image on its way into a batch: image [h, w, c], uint8, and mask [h, w], uint8 or int32.

    The factors are those of the colour jitter that the image is due on the device; None is none. From chance the loss
    draws what it samples of the image; None where it samples nothing.
    """

    image: Pixels
    mask: Labels
    index: int
    name: str
    factors: Factors | None = None
    chance: int | None = None


Transform = Callable[[Pixels, Labels, Draw], tuple[Pixels, Labels]]
"""Changes image and mask together, at random as a function of the draw alone."""


class SegmentationDataset(Dataset[Sample]):
    """Reads images by draw and transforms them."""

    def __init__(
        self,
        source: Source,
        transform: Transform,
        jitter: Callable[[Draw], Factors] | None = None,
        chance: Callable[[Draw], int] | None = None,
    ) -> None:
        """Keeps the images, what is done to them here, and what draws numbers for what is done on the device.

        Args:
            source: the images.
            transform: changes image and mask.
            jitter: draws factors of the colour jitter.
            chance: draws the number from which the loss samples.
        """
        self.source, self.transform, self.jitter, self.chance = source, transform, jitter, chance

    def __len__(self) -> int:
        """Number of images."""
        return len(self.source)

    def __getitem__(self, draw: Draw) -> Sample:
        """Reads and transforms one image."""
        image, mask = self.transform(*self.source.read(draw.index), draw)
        factors = self.jitter(draw) if self.jitter else None
        chance = self.chance(draw) if self.chance else None
        return Sample(image, mask, draw.index, self.source.name(draw.index), factors, chance)

    def __getitems__(self, draws: Sequence[Draw]) -> "Drawn":
        """Returns the images of a batch, as torch's loaders ask for them."""
        return Drawn(self, draws)


class Drawn:
    """The images of a batch, each read when it is asked for, and so copied while it is in the processor's cache."""

    def __init__(self, dataset: SegmentationDataset, draws: Sequence[Draw]) -> None:
        """Reads nothing yet."""
        self.dataset, self.draws = dataset, draws

    def __len__(self) -> int:
        """Number of images."""
        return len(self.draws)

    def __getitem__(self, place: int) -> Sample:
        """Reads one of them."""
        return self.dataset[self.draws[place]]

    def __iter__(self) -> Iterator[Sample]:
        """Reads them one by one, and holds on to none."""
        return (self.dataset[draw] for draw in self.draws)
