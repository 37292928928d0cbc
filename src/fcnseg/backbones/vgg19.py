"""VGG 19: the paper's main classifier with three more convolutions. Not a net of the paper's tables."""

from collections.abc import Sequence
from typing import ClassVar

from fcnseg.backbones.base import Backbone, Padding
from fcnseg.backbones.layers import Layer
from fcnseg.backbones.vgg16 import HEAD, torchvision_names, vgg_layers

STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Channels and number of convolutions of each stage."""


class VGG19(Backbone):
    """VGG 19 in the form that the paper gives VGG 16; see VGG16 for the meaning of the padding."""

    padding_default: ClassVar[Padding] = 100
    torchvision_model = "vgg19"
    torchvision_names: ClassVar[dict[str, str]] = torchvision_names(STAGES)
    caffe_weights = "VGG_ILSVRC_19_layers"
    classifier_padding = 1
    head = HEAD

    @classmethod
    def make_layers(cls, padding: Padding, dropout: float) -> Sequence[Layer]:
        """Returns conv1_1 to conv5_4, fc6 and fc7; see Backbone."""
        return tuple(vgg_layers(STAGES, padding, dropout))
