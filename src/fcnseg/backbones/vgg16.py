"""VGG 16 as the paper uses it: fc6 and fc7 as convolutions, the first convolution padded by 100."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from fcnseg.backbones.base import Backbone, Padding
from fcnseg.backbones.head import Head
from fcnseg.backbones.layers import BatchNorm, Conv, Layer, MaxPool, Tap, hidden_layers

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of convolutions of each stage."""

HEAD = Head("fc8")
"""What VGG's classifiers have behind fc7."""


def torchvision_names(stages: Sequence[tuple[int, int]], batch_norm: bool = False) -> dict[str, str]:
    """Returns {our layer: torchvision's layer} for a VGG net; torchvision numbers every module of its features."""
    names, index = {}, 0
    for stage, (_, count) in enumerate(stages, 1):
        for i in range(1, count + 1):
            names[f"conv{stage}_{i}"] = f"features.{index}"
            if batch_norm:
                names[f"bn{stage}_{i}"] = f"features.{index + 1}"
            index += 3 if batch_norm else 2  # the convolution, its normalisation and its ReLU
        index += 1
    return names | {"fc6": "classifier.0", "fc7": "classifier.3", HEAD.layer: "classifier.6"}


class VGG16(Backbone):
    """The paper's main classifier, with maps at strides 8 (pool3), 16 (pool4) and 32 (fc7).

    ``padding=100`` is the published net: any input from 1x1 up gives output, and border pixels are seen like inner
    ones, at 1.8 times the computation on a 500x375 image (293 against 162 GFLOP for FCN-8s).

    Deviation: ``padding="same"`` pads the first convolution by 1 and fc6 by 3: the same weights, less work, and scores
    that fade towards the image's border.

    Paper: Sec. 4.1
    """

    padding_default: ClassVar[Padding] = 100
    torchvision_model = "vgg16"
    torchvision_names: ClassVar[dict[str, str]] = torchvision_names(STAGES)
    caffe_weights = "VGG_ILSVRC_16_layers"
    classifier_padding = 1
    head = HEAD

    @classmethod
    def make_layers(cls, padding: Padding, dropout: float) -> Sequence[Layer]:
        """Returns conv1_1 to conv5_3, fc6 and fc7; see Backbone."""
        return tuple(vgg_layers(STAGES, padding, dropout))


def vgg_layers(
    stages: Sequence[tuple[int, int]],
    padding: Padding,
    dropout: float,
    batch_norm: bool = False,
    pool5_stride: int = 2,
) -> Iterator[Layer]:
    """Yields the layers of a VGG net turned fully convolutional.

    Args:
        stages: channels and number of convolutions of each stage.
        padding: around the image; a number leaves fc6 unpadded, as published.
        dropout: after fc6 and fc7.
        batch_norm: whether each 3x3 convolution is normalised.
        pool5_stride: step of the last pooling; with 1 the kernel of fc6 has twice its side, and its map has the stride
            of pool4, which is not offered.
    """
    inputs = 3
    for stage, (outputs, count) in enumerate(stages, 1):
        for i in range(1, count + 1):
            pad = int(padding) if padding != "same" and (stage, i) == (1, 1) else 1
            yield Conv(f"conv{stage}_{i}", inputs, outputs, 3, padding=pad, relu=not batch_norm)
            if batch_norm:
                yield BatchNorm(f"bn{stage}_{i}", outputs)
            inputs = outputs
        if (stage, pool5_stride) == (5, 1):
            yield MaxPool("pool5", stride=1, padding=1 if padding == "same" else 0)
        else:
            yield MaxPool(f"pool{stage}")
        if stage == 3 or (stage == 4 and pool5_stride == 2):
            yield Tap(outputs)
    kernel = 14 // pool5_stride
    yield from hidden_layers(inputs, kernel, (kernel - 1) // 2 if padding == "same" else 0, dropout)
