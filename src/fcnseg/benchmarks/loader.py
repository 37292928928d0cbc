"""Images and masks to a batch of random crops: what one loader process does, its parts, and the usual way to do it."""

import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A  # noqa: N812
import numpy as np
import torch
from PIL import Image

from fcnseg.benchmarks.tables import controlled, rows
from fcnseg.data.collation import collate
from fcnseg.data.datamodule import settle
from fcnseg.data.dataset import Draw, Drawn, ImageFiles, SegmentationDataset
from fcnseg.data.decoded import Decoded
from fcnseg.data.jitter import Jitter
from fcnseg.data.transforms import Augmentation, transforms
from fcnseg.data.voc import open_split
from fcnseg.timing import Times, interleaved

WIDTH, HEIGHT = 500, 375
"""VOC's most frequent size."""

OURS = "decode, crop, flip, collate"
LATER = ", data.decoded"
"""Ends the label of what later epochs take where images are kept decoded."""

PEER = "the same by Pillow and albumentations"


def measure(
    root: str | None = None, images: int = 48, repeat: int = 9, crop: int = 320, batch: int = 8
) -> dict[str, Any]:
    """Times one loader process on images of 500x375, in this process, and the usual way to the same batches.

    Args:
        root: a VOCdevkit folder with VOC2012; None draws images and masks of that size.
        images: of the training split, as many batches as they fill.
        repeat: rounds.
        crop: side of the crops, pixels.
        batch: images a batch.

    Raises:
        FileNotFoundError: there is no devkit.
        ValueError: too few of its training images are of that size.
    """
    with TemporaryDirectory() as folder:
        source = open_split(root or str(drawn_devkit(Path(folder), images)), "2012", "train")
        indices = [index for index in range(len(source)) if source.size(index) == (HEIGHT, WIDTH)][:images]
        if min(crop, batch) < 1 or len(indices) < batch:
            raise ValueError(
                f"{len(indices)} training images of {WIDTH}x{HEIGHT} make no batch of {batch} crops of {crop}"
            )
        del indices[len(indices) - len(indices) % batch :]
        settle()
        torch.set_num_threads(1)  # as torch does in a loader process
        with torch.inference_mode():
            compared = ways(source, kept_in(Path(folder) / "decoded", source), indices, crop, batch)
            times = interleaved(controlled(compared), repeat)
    per_image = Times({label: [each / len(indices) for each in spent] for label, spent in times.rounds.items()})
    said = f"{len(indices)} images{' of VOC 2012' if root else ', drawn'}, {WIDTH}x{HEIGHT}, {repeat} rounds"
    return {
        "title": f"{said}, in batches of {batch} crops of {crop}",
        "rows": [row | {"images/s": 1000 / row["ms"]} for row in rows(per_image)],
        "notes": ["ms an image in one process, files in the page cache; data.workers load as many at a time"],
        "seconds": per_image.rounds,
    }


def kept_in(folder: Path, source: ImageFiles) -> ImageFiles:
    """Returns the same images, kept decoded in a folder from the first time on."""
    kept = copy(source)
    kept.decoded = Decoded(folder, reserve=0)
    return kept


def ways(
    source: ImageFiles, kept: ImageFiles, indices: Sequence[int], crop: int, batch: int
) -> Mapping[str, Callable[[], object]]:
    """Returns the whole path, the same with data.decoded, its parts over the same images, and the usual path."""
    draws = [Draw(index) for index in indices]
    dataset, later = (
        SegmentationDataset(each, Augmentation(transforms(crop=crop, flip=True), 0), Jitter(0.3, 0))
        for each in (source, kept)
    )
    decoded = [source.read(index) for index in indices]
    samples = [dataset[draw] for draw in draws]
    starts = range(0, len(draws), batch)
    usual = A.Compose([A.RandomCrop(crop, crop, pad_if_needed=True), A.HorizontalFlip()])
    return {
        OURS: lambda: [collate(Drawn(dataset, draws[start : start + batch])) for start in starts],
        OURS + LATER: lambda: [collate(Drawn(later, draws[start : start + batch])) for start in starts],
        "JPEG alone": lambda: [source.read_image(index) for index in indices],
        "mask alone": lambda: [source.read_mask(index) for index in indices],
        "crop and flip alone": lambda: [
            dataset.transform(image, mask, draw) for (image, mask), draw in zip(decoded, draws, strict=True)
        ],
        "collate alone": lambda: [collate(samples[start : start + batch]) for start in starts],
        PEER: lambda: [usual_batch(source, indices[start : start + batch], usual) for start in starts],
    }


def usual_batch(source: ImageFiles, indices: Sequence[int], usual: A.Compose) -> tuple[torch.Tensor, torch.Tensor]:
    """Makes a batch as most training scripts do."""
    images, masks = [], []
    for pair in (source.pairs[index] for index in indices):
        with Image.open(pair.image) as image, Image.open(pair.mask) as mask:
            cropped = usual(image=np.array(image.convert("RGB")), mask=np.array(mask))
        images.append(torch.from_numpy(cropped["image"]).permute(2, 0, 1).contiguous())
        masks.append(torch.from_numpy(cropped["mask"]))
    return torch.stack(images), torch.stack(masks)


def drawn_devkit(folder: Path, count: int) -> Path:
    """Writes JPEGs about as large as VOC's, and masks of a few classes with a palette; returns the VOCdevkit folder."""
    home, random = folder / "VOC2012", np.random.default_rng(0)
    for place in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / place).mkdir(parents=True)
    names = [f"2012_{number:06d}" for number in range(count)]
    (home / "ImageSets" / "Segmentation" / "train.txt").write_text("".join(f"{name}\n" for name in names))
    for name in names:
        patches = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        smooth = np.asarray(patches.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.int16)
        grain = random.normal(0, 14, (HEIGHT, WIDTH, 1))
        photograph = Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))
        photograph.save(home / "JPEGImages" / f"{name}.jpg", quality=90)
        labels = Image.fromarray(random.choice(np.array([0, 0, 0, 7, 15, 255], np.uint8), (3, 4)))
        mask = labels.rotate(20, expand=False).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)
        mask.putpalette(bytes(range(256)) * 3)
        mask.save(home / "SegmentationClass" / f"{name}.png")
    return folder
