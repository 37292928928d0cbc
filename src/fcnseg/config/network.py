"""Knobs of the net: the backbone and what stands on it."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from fcnseg.config.marks import pinned


@dataclass
class ModelConfig:
    """The net on top of the backbone."""

    name: str = MISSING
    """Named in results and run folders."""
    output_stride: int = MISSING
    """Stride of the finest map that is scored: 32, 16 or 8. Paper: Sec. 4.2."""
    coarsest: int | None = None
    """Stride of the coarsest map that is scored; the backbone ends there. null takes the backbone's own, as the paper's
    nets do; 16 with output_stride=16 is the 16s from pool4 alone. Paper: Sec. 4.3."""
    num_classes: int | None = None
    """Classes including background; null takes the data set's."""
    scales: list[float] = field(default_factory=list)
    """Factors on the skips before their score layers, coarsest skip first, for training all streams at once."""
    learn_intermediate: bool = pinned("model.learn_intermediate")
    """Learn the upsampling between skips; CVPR did, the release does not. Paper: Sec. 4.3."""
    learn_final: bool = False
    """Learn the last upsampling too."""
    train: str = "all"
    """all, or head: score layers alone, the paper's fixed. Paper: Sec. 4.3."""


@dataclass
class BackboneConfig:
    """The classifier turned fully convolutional."""

    name: str = MISSING
    """A module of fcnseg.backbones."""
    weights: str | None = "none"
    """none, imagenet (torchvision's download, or Caffe's where normalization=caffe asks for it), or a file."""
    normalization: str | None = pinned("backbone.normalization")
    """caffe or torchvision: how the weights' images were prepared; null takes what belongs to the weights."""
    mean: list[float] | None = None
    """Red, green, blue, further channels; on 0..255 for caffe, on 0..1 for torchvision."""
    std: list[float] | None = None
    """Likewise."""
    padding: Any = None
    """Pixels of zeros around the image, or same; null takes the backbone's own (100 for VGG 16, as published)."""
    padding_mode: str = "window"
    """window computes what the padding makes of itself only once, plain everywhere, and by direct sums: the same
    function."""
    checkpointing: bool = False
    """Keep the maps behind poolings alone and compute the others again for the gradient: less memory, more time."""
    in_channels: int = 3
    """Channels of the images: 1 sums the weights' filters, channels after the third take their mean. Paper: Sec. 5."""
    batch_norm: str | None = None
    """frozen (the weights' statistics) or batch; null is frozen with pretrained weights, else batch."""
    dropout: float | None = None
    """Fraction of single elements dropped; null keeps the classifier's own (0.5 in VGG 16). Paper: Sec. 4.3."""
