"""Torchvision's GoogLeNet: batch normalisation, 3x3 in place of 5x5, a smaller last pooling."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from fcnseg.backbones.base import Backbone, Head, Padding
from fcnseg.backbones.bvlc_googlenet import INCEPTIONS
from fcnseg.backbones.layers import BatchNorm, Concat, Conv, Dropout, Layer, MaxPool, Tap
from fcnseg.weights.normalization import Normalization

BRANCHES = ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1")
"""Torchvision's names of the convolutions of an inception module."""


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
            *(f"inception{name}.{branch}" for name, *_ in INCEPTIONS for branch in BRANCHES),
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
    channels = 192
    for name, *widths in INCEPTIONS:
        yield _inception(f"inception{name}", channels, *widths)
        channels = widths[0] + widths[2] + widths[4] + widths[5]
        if name in ("3b", "4e"):
            yield Tap(channels)
            yield MaxPool("maxpool3", 3, 2, pool) if name == "3b" else MaxPool("maxpool4", 2, 2)
    yield Dropout("dropout", dropout)
    yield Tap(channels)


def _unit(name: str, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> Iterator[Layer]:
    yield Conv(f"{name}_conv", inputs, outputs, kernel, stride, padding, bias=False, relu=False)
    yield BatchNorm(f"{name}_bn", outputs, eps=1e-3)


def _inception(
    name: str, inputs: int, one: int, reduce_three: int, three: int, reduce_five: int, five: int, project: int
) -> Concat:
    return Concat(
        (
            tuple(_unit(f"{name}_branch1", inputs, one, 1)),
            (
                *_unit(f"{name}_branch2_0", inputs, reduce_three, 1),
                *_unit(f"{name}_branch2_1", reduce_three, three, 3, padding=1),
            ),
            (
                *_unit(f"{name}_branch3_0", inputs, reduce_five, 1),
                *_unit(f"{name}_branch3_1", reduce_five, five, 3, padding=1),
            ),
            (MaxPool(f"{name}_branch4_0", 3, 1, 1), *_unit(f"{name}_branch4_1", inputs, project, 1)),
        )
    )
