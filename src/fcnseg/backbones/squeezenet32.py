"""SqueezeNet 1.1 with one more pooling, so that the paper's three stages fit it."""

from collections.abc import Sequence
from typing import ClassVar

from fcnseg.backbones.base import Backbone, Padding
from fcnseg.backbones.head import Head
from fcnseg.backbones.layers import Layer
from fcnseg.backbones.squeezenet import SqueezeNet, squeezenet_layers
from fcnseg.weights.normalization import Normalization


class SqueezeNet32(Backbone):
    """SqueezeNet 1.1 with maps at strides 4, 8, 16 (fire9) and 32 (pool9); see SqueezeNet for the padding.

    The weights are SqueezeNet's. An image of 375x500 (rows x columns) has 95x126, 48x64, 25x33 and 13x17 cells under
    ``padding="same"``, with 128, 256, 512 and 512 channels.

    Deviation: not a net of the paper, and SqueezeNet has no pool9: a 3x3 max pooling with a step of 2 between fire9 and
    the dropout, like its other three. The net is for small forms of the tables, which need a stride of 32. As a
    classifier it averages the 6x6 cells that a 224x224 image has behind pool9, where SqueezeNet averages 13x13.
    """

    normalization_default: ClassVar[Normalization] = SqueezeNet.normalization_default
    torchvision_model = SqueezeNet.torchvision_model
    torchvision_names: ClassVar[dict[str, str]] = SqueezeNet.torchvision_names
    head = Head("conv10", pool=6, pool_last=True)

    @classmethod
    def make_layers(cls, padding: Padding, dropout: float) -> Sequence[Layer]:
        """Returns conv1, the eight fire modules and pool9; see Backbone."""
        return tuple(squeezenet_layers(padding, dropout, pool9=True))
