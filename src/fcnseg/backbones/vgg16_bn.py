"""Torchvision's VGG 16 with batch normalisation after every 3x3 convolution. Not a net of the paper."""

from collections.abc import Sequence
from typing import ClassVar

from fcnseg.backbones.base import Backbone, Padding
from fcnseg.backbones.layers import Layer
from fcnseg.backbones.vgg16 import HEAD, STAGES, torchvision_names, vgg_layers


class VGG16BN(Backbone):
    """VGG 16 with batch normalisation in the form that the paper gives VGG 16; see VGG16 for the padding."""

    padding_default: ClassVar[Padding] = 100
    torchvision_model = "vgg16_bn"
    torchvision_names: ClassVar[dict[str, str]] = torchvision_names(STAGES, batch_norm=True)
    classifier_padding = 1
    head = HEAD

    @classmethod
    def make_layers(cls, padding: Padding, dropout: float) -> Sequence[Layer]:
        """Returns conv1_1, bn1_1 to conv5_3, bn5_3, fc6 and fc7; see Backbone."""
        return tuple(vgg_layers(STAGES, padding, dropout, batch_norm=True))
