"""ResNet 50: a modern backbone for the paper's skips. Not a net of the paper."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from fcnseg.backbones.base import Backbone, Padding
from fcnseg.backbones.head import Head
from fcnseg.backbones.layers import BatchNorm, Conv, Dropout, Layer, MaxPool, Sum, Tap

BLOCKS = (3, 4, 6, 3)
"""Bottlenecks of each stage."""

HEAD = Head("fc", pool=7)
"""What ResNet's classifiers have behind layer4."""


def torchvision_names(blocks: Sequence[int]) -> dict[str, str]:
    """Returns {our layer: torchvision's layer} for a ResNet of bottlenecks."""
    names = {"conv1": "conv1", "bn1": "bn1", HEAD.layer: "fc"}
    for stage, count in enumerate(blocks, 1):
        for i in range(count):
            parts = [f"{kind}{number}" for kind in ("conv", "bn") for number in (1, 2, 3)]
            parts += ["downsample.0", "downsample.1"] if i == 0 else []
            names |= {f"layer{stage}_{i}_{part.replace('.', '_')}": f"layer{stage}.{i}.{part}" for part in parts}
    return names


class ResNet50(Backbone):
    """Torchvision's ResNet 50 with maps at strides 4, 8, 16 and 32.

    "FCN-ResNet" elsewhere is a dilated ResNet with one head; here it is the paper's net, skips and all, on a ResNet.

    Deviation: not a net of the paper. A number of pixels as padding pads the first convolution by that much.
    """

    torchvision_model = "resnet50"
    torchvision_names: ClassVar[dict[str, str]] = torchvision_names(BLOCKS)
    classifier_padding = 3
    head = HEAD
    dropout_default = 0.0

    @classmethod
    def make_layers(cls, padding: Padding, dropout: float) -> Sequence[Layer]:
        """Returns conv1 to layer4; see Backbone."""
        return tuple(resnet_layers(BLOCKS, padding, dropout))


def resnet_layers(blocks: Sequence[int], padding: Padding, dropout: float) -> Iterator[Layer]:
    """Yields the layers of a ResNet of bottlenecks.

    Args:
        blocks: bottlenecks of each stage.
        padding: around the image.
        dropout: before the coarsest map is offered.
    """
    yield Conv("conv1", 3, 64, 7, stride=2, padding=3 if padding == "same" else int(padding), bias=False, relu=False)
    yield BatchNorm("bn1", 64)
    yield MaxPool("maxpool", 3, 2, 1, ceil=False)
    inputs = 64
    for stage, count in enumerate(blocks, 1):
        width = 32 * 2**stage
        for i in range(count):
            stride = 2 if stage > 1 and i == 0 else 1
            yield _bottleneck(f"layer{stage}_{i}", inputs, width, stride)
            inputs = 4 * width
        if stage < len(blocks):
            yield Tap(inputs)
    yield Dropout("dropout", dropout)
    yield Tap(inputs)


def _bottleneck(name: str, inputs: int, width: int, stride: int) -> Sum:
    outputs = 4 * width
    path = (
        *_unit(f"{name}_conv1", f"{name}_bn1", inputs, width, 1),
        *_unit(f"{name}_conv2", f"{name}_bn2", width, width, 3, stride),
        *_unit(f"{name}_conv3", f"{name}_bn3", width, outputs, 1, relu=False),
    )
    if inputs == outputs:
        return Sum((path, ()))
    names = f"{name}_downsample_0", f"{name}_downsample_1"
    return Sum((path, tuple(_unit(*names, inputs, outputs, 1, stride, relu=False))))


def _unit(
    conv: str, norm: str, inputs: int, outputs: int, kernel: int, stride: int = 1, relu: bool = True
) -> Iterator[Layer]:
    yield Conv(conv, inputs, outputs, kernel, stride, kernel // 2, bias=False, relu=False)
    yield BatchNorm(norm, outputs, relu)
