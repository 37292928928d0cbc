"""Torchvision's GoogLeNet: batch normalisation, 3x3 in place of 5x5, a smaller last pooling."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from fcnseg.backbones.base import Backbone, Padding
from fcnseg.backbones.bvlc_googlenet import INCEPTIONS, inceptions
from fcnseg.backbones.head import Head
from fcnseg.backbones.layers import BatchNorm, Conv, Dropout, Layer, MaxPool, Tap
from fcnseg.weights.normalization import Normalization

BRANCHES = {
    "1x1": "branch1",
    "3x3_reduce": "branch2.0",
    "3x3": "branch2.1",
    "5x5_reduce": "branch3.0",
    "5x5": "branch3.1",
    "pool_proj": "branch4.1",
}
"""{part of an inception module: torchvision's name of it}."""


class GoogLeNet(Backbone):
    """Torchvision's GoogLeNet with maps at strides 8 (3b), 16 (4e) and 32 (5b); padding as in BVLCGoogLeNet.

    Deviation: not the paper's GoogLeNet, which is bvlc_googlenet: a cell sees 379 pixels, 571 with the average pooling.
    """

    torchvision_model = "googlenet"
    # Torchvision's weights were trained on inputs in -1..1: its net converts the usual statistics before conv1.
    imagenet_normalization = Normalization("rgb", 255.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    torchvision_names: ClassVar[dict[str, str]] = {
        f"{unit.replace('.', '_')}_{part}": f"{unit}.{part}"
        for unit in (
            *("conv1", "conv2", "conv3"),
            *(f"inception{name}.{branch}" for name, *_ in INCEPTIONS for branch in BRANCHES.values()),
        )
        for part in ("conv", "bn")
    } | {"fc": "fc"}
    classifier_padding = 3
    head = Head("fc", pool=7)
    dropout_default = 0.2

    @classmethod
    def make_layers(cls, padding: Padding, dropout: float) -> Sequence[Layer]:
        """Returns conv1 to inception5b; see Backbone."""
        return tuple(_layers(padding, dropout))


def _layers(padding: Padding, dropout: float) -> Iterator[Layer]:
    same = padding == "same"
    pool = 1 if same else 0
    yield from _unit("conv1", 3, 64, 7, stride=2, padding=3 if same else int(padding))
    yield MaxPool("maxpool1", 3, 2, pool)
    yield from _unit("conv2", 64, 64, 1)
    yield from _unit("conv3", 64, 192, 3, padding=1)
    yield MaxPool("maxpool2", 3, 2, pool)
    yield from inceptions(_branch, 3, {"3b": MaxPool("maxpool3", 3, 2, pool), "4e": MaxPool("maxpool4", 2, 2)})
    yield Dropout("dropout", dropout)
    yield Tap(1024)


def _branch(module: str, part: str, inputs: int, outputs: int, kernel: int) -> Iterator[Layer]:
    name = f"inception{module}_{BRANCHES[part].replace('.', '_')}"
    return _unit(name, inputs, outputs, kernel, padding=kernel // 2)


def _unit(name: str, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> Iterator[Layer]:
    yield Conv(f"{name}_conv", inputs, outputs, kernel, stride, padding, bias=False, relu=False)
    yield BatchNorm(f"{name}_bn", outputs, eps=1e-3)
