"""ResNet 101: the deeper modern backbone. Not a net of the paper."""

from collections.abc import Sequence
from typing import ClassVar

from fcnseg.backbones.base import Backbone, Padding
from fcnseg.backbones.layers import Layer
from fcnseg.backbones.resnet50 import HEAD, resnet_layers, torchvision_names

BLOCKS = (3, 4, 23, 3)
"""Bottlenecks of each stage."""


class ResNet101(Backbone):
    """Torchvision's ResNet 101; see ResNet50."""

    torchvision_model = "resnet101"
    torchvision_names: ClassVar[dict[str, str]] = torchvision_names(BLOCKS)
    classifier_padding = 3
    head = HEAD
    dropout_default = 0.0

    @classmethod
    def make_layers(cls, padding: Padding, dropout: float) -> Sequence[Layer]:
        """Returns conv1 to layer4; see Backbone."""
        return tuple(resnet_layers(BLOCKS, padding, dropout))
