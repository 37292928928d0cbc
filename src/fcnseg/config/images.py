"""Knobs of the data: which images, and how they become batches."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from fcnseg.config.marks import of_set, pinned


@dataclass
class SuitedConfig:
    """What recipe=modern takes for a data set: sizes that fit its images."""

    max_steps: int = MISSING
    """Optimiser steps."""
    val_every: int = MISSING
    """Steps between validations."""
    batch_size: int = MISSING
    """Crops per step."""
    crop: int = MISSING
    """Side of the crops, pixels."""
    lr: float = MISSING
    """Learning rate of weights."""
    head_lr_factor: float = 1.0
    """Learning rate of score layers over that of the rest."""


@dataclass
class DataConfig:
    """The images, and how they become batches."""

    name: str = MISSING
    """Named in results and run folders."""
    format: str = MISSING
    """A module of fcnseg.data with a function open_split."""
    root: str | None = of_set()
    """Folder on disk."""
    year: str | None = of_set()
    """VOC's year."""
    sbd_root: str | None = of_set()
    """SBD's folder benchmark_RELEASE, for splits that name a list of SBD."""
    cache: str | None = of_set()
    """Folder for SBD's masks, converted once to PNG; null puts them beside the .mat files."""
    decoded: str | None = None
    """Folder that takes images decoded, as they are first read, so that later epochs decode no JPEG: as many bytes as
    pixels and channels, 5.4 GB for 10,000 photographs of VOC; null decodes each time. The pixels are the same."""
    partial: bool | None = of_set()
    """Take what is on disk of a split, and give the number of missing images in the results."""
    images: str | None = of_set()
    """Folder of your own images, from root on: PNG, JPEG, TIFF, BMP, or NPY [h, w, channels]; uint8."""
    masks: str | None = of_set()
    """Folder of their masks, from root on, of the same names: PNG, TIFF, BMP or NPY, of 1 to 32 bits or in colours."""
    classes: Any = of_set()
    """Of your own masks: [names], which stand there as 0, 1, 2 ..., {name: number} or {name: [red, green, blue]}."""
    void: Any = of_set()
    """What stands in your own masks for pixels that do not count, a number or a colour; a class of that value is left
    out. null is 255, or -1 where 255 is a class, and nothing among colours."""
    channels: int | None = of_set()
    """Of your own images: backbone.in_channels. For 3 they become RGB without alpha, for 1 grey; any other number, from
    a NPY, the pages of a TIFF or a file with alpha, is taken as it is."""
    height: int | None = of_set()
    """Of drawn images, pixels."""
    width: int | None = of_set()
    """Of drawn images, pixels."""
    seed: int | None = of_set()
    """Of drawn images."""
    train_count: int | None = None
    """Number of drawn training images."""
    val_count: int | None = None
    """Number of drawn validation images."""
    train_split: str = "train"
    """Training images: a list, or lists joined with + and - from left to right, as in train + sbd_all - val. Of your
    own: all of data.images, the name of a folder in it, or a list of ids (a .txt in data.root, one a line)."""
    val_split: str = "val"
    """Validation images, likewise; seg11valid is the paper's list. Of your own also a fraction of the training split,
    such as 0.2, chosen by ids, so that further images do not reshuffle them; training takes the rest."""
    overlap: str = "error"
    """What becomes of training images that are validation images too: error stops the run, remove takes them out of
    training, allow keeps them; the results give their number."""
    overlap_by: str = "ids"
    """What tells that two images are the same: ids, or contents, the bytes of their files as well."""
    image_side: int | None = None
    """Resize the longer side to this many pixels, for training and validation; null keeps images as they are."""
    batching: str = pinned("data.batching")
    """crop, whole (one image a process), groups (of equal size) or pad (a deviation: other logits near the pad)."""
    batch_size: int = pinned("data.batch_size")
    """Images per forward pass over all processes; one step takes trainer.accumulate of them. Paper: Sec. 4.3."""
    replacement: bool = pinned("data.replacement")
    """Draw training images independently, as the release, or each once an epoch."""
    crop: int | None = pinned("data.crop")
    """Side of random crops, pixels."""
    scale: list[float] | None = pinned("data.scale")
    """Range of random scaling."""
    flip: bool = pinned("data.flip")
    """Mirror half of the training images. Paper: Sec. 4.3."""
    augment: str | None = pinned("data.augment")
    """paper: mirror half of the images, move each by up to 32 pixels; null: neither by itself. Paper: Sec. 4.3."""
    jitter: float = pinned("data.jitter")
    """Random brightness, contrast and, of RGB, saturation and hue, 0..1; applied on the device, to a batch at once."""
    workers: int = 2
    """Loader processes per training process."""
    suited: SuitedConfig = field(default_factory=SuitedConfig)
    """Sizes for recipe=modern."""
