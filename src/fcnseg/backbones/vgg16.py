"""VGG 16 as the paper uses it: fc6 and fc7 as convolutions, the first convolution padded by 100."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from fcnseg.backbones.base import Backbone, Padding
from fcnseg.backbones.layers import Conv, Dropout, Layer, MaxPool, Tap

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of convolutions of each stage."""

HIDDEN = 4096
"""Channels of fc6 and fc7."""


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
    torchvision_names: ClassVar[dict[str, str]] = {
        name: f"features.{index}"
        for name, index in zip(
            (f"conv{stage}_{i + 1}" for stage, (_, count) in enumerate(STAGES, 1) for i in range(count)),
            (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
            strict=True,
        )
    } | {"fc6": "classifier.0", "fc7": "classifier.3"}

    @classmethod
    def make_layers(cls, padding: Padding, dropout: float) -> Sequence[Layer]:
        """Returns conv1_1 to conv5_3, fc6 and fc7; see Backbone."""
        return tuple(_layers(padding, dropout))


def _layers(padding: Padding, dropout: float) -> Iterator[Layer]:
    inputs = 3
    for stage, (outputs, count) in enumerate(STAGES, 1):
        for i in range(count):
            published = padding != "same" and (stage, i) == (1, 0)
            yield Conv(f"conv{stage}_{i + 1}", inputs, outputs, 3, padding=int(padding) if published else 1)
            inputs = outputs
        yield MaxPool(f"pool{stage}")
        if stage in (3, 4):
            yield Tap(outputs)
    yield Conv("fc6", inputs, HIDDEN, 7, padding=3 if padding == "same" else 0)
    yield Dropout("drop6", dropout)
    yield Conv("fc7", HIDDEN, HIDDEN, 1)
    yield Dropout("drop7", dropout)
    yield Tap(HIDDEN)
