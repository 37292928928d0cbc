"""Torchvision's AlexNet, which is not the paper's: that one is caffenet."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from fcnseg.backbones.base import Backbone, Padding
from fcnseg.backbones.head import Head
from fcnseg.backbones.layers import Conv, Layer, MaxPool, Tap, hidden_layers


class AlexNet(Backbone):
    """Torchvision's AlexNet with maps at strides 8 (pool1), 16 (pool2) and 32 (fc7).

    Deviation: 64 filters in conv1, no groups, no local response normalisation; other weights and other scores than the
    paper's AlexNet. ``padding`` as in CaffeNet.
    """

    padding_default: ClassVar[Padding] = 100
    torchvision_model = "alexnet"
    torchvision_names: ClassVar[dict[str, str]] = {
        "conv1": "features.0",
        "conv2": "features.3",
        "conv3": "features.6",
        "conv4": "features.8",
        "conv5": "features.10",
        "fc6": "classifier.1",
        "fc7": "classifier.4",
        "fc8": "classifier.6",
    }
    classifier_padding = 2
    head = Head("fc8")

    @classmethod
    def make_layers(cls, padding: Padding, dropout: float) -> Sequence[Layer]:
        """Returns conv1 to conv5, fc6 and fc7; see Backbone."""
        return tuple(_layers(padding, dropout))


def _layers(padding: Padding, dropout: float) -> Iterator[Layer]:
    same = padding == "same"
    pool = 1 if same else 0
    yield Conv("conv1", 3, 64, 11, stride=4, padding=5 if same else int(padding))
    yield MaxPool("pool1", 3, 2, pool)
    yield Tap(64)
    yield Conv("conv2", 64, 192, 5, padding=2)
    yield MaxPool("pool2", 3, 2, pool)
    yield Tap(192)
    yield Conv("conv3", 192, 384, 3, padding=1)
    yield Conv("conv4", 384, 256, 3, padding=1)
    yield Conv("conv5", 256, 256, 3, padding=1)
    yield MaxPool("pool5", 3, 2, pool)
    yield from hidden_layers(256, 6, 3 if same else 0, dropout)
