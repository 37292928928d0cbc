"""VGG 16 with pool5 at stride 1 and a 14x14 fc6: a finer stride without skips, which the paper tried and dropped."""

from collections.abc import Sequence
from typing import ClassVar

from fcnseg.backbones.base import Backbone, Padding
from fcnseg.backbones.layers import Layer
from fcnseg.backbones.vgg16 import HEAD, STAGES, VGG16, vgg_layers


class VGG16Pool5S1(Backbone):
    """VGG 16 whose coarsest map has stride 16, with maps at strides 8 (pool3) and 16 (fc7); pool4 is not offered.

    fc6 needs 14x14 cells to see about what it saw. The paper says no more than that; what follows is decided here.

    Deviation: the 7x7 filters of the classifier go to every second cell of the 14x14 ones, the rest starts at zero.
    So every second cell of fc7 begins as a cell of the published net, and the cells between as those of the image moved
    by 16 pixels. Their middle lies half a cell (8 pixels) before that of the 14x14 kernel, by which the geometry goes:
    no even kernel has a cell in its middle.

    Deviation: ``padding=113`` is the least with which images from 1x1 up give output, where VGG 16 needs 100. fc6 alone
    has 411 million weights, so that training takes some 7 GB for weights, gradients and momentum.

    Paper: Sec. 4.3
    """

    padding_default: ClassVar[Padding] = 113
    torchvision_model = VGG16.torchvision_model
    torchvision_names: ClassVar[dict[str, str]] = VGG16.torchvision_names
    caffe_weights = VGG16.caffe_weights
    classifier_padding = 1
    head = HEAD

    @classmethod
    def make_layers(cls, padding: Padding, dropout: float) -> Sequence[Layer]:
        """Returns conv1_1 to conv5_3, fc6 and fc7; see Backbone."""
        return tuple(vgg_layers(STAGES, padding, dropout, pool5_stride=1))
