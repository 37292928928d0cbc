"""CaffeNet, the AlexNet of the paper: the authors' FCN-AlexNet stands on it."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from fcnseg.backbones.base import Backbone, Padding
from fcnseg.backbones.head import Head
from fcnseg.backbones.layers import Conv, Layer, LocalResponseNorm, MaxPool, Tap, hidden_layers


class CaffeNet(Backbone):
    """BVLC's reference CaffeNet with maps at strides 8 (norm1), 16 (norm2) and 32 (fc7).

    Groups in conv2, conv4 and conv5, normalisation after pooling, pooling of 3x3 that rounds up, fc6 of 6x6. The paper
    has the 32s alone; 16s and 8s take the maps behind the poolings, as VGG 16 does, and derive their geometry.
    ``padding=100`` is the published net.

    Deviation: ``padding="same"`` pads every layer by half its kernel; the same weights, less work, other cells.

    Paper: Sec. 4.1
    """

    padding_default: ClassVar[Padding] = 100
    caffe_weights = "bvlc_reference_caffenet"
    head = Head("fc8")

    @classmethod
    def make_layers(cls, padding: Padding, dropout: float) -> Sequence[Layer]:
        """Returns conv1 to conv5, fc6 and fc7; see Backbone."""
        return tuple(_layers(padding, dropout))


def _layers(padding: Padding, dropout: float) -> Iterator[Layer]:
    same = padding == "same"
    pool = 1 if same else 0
    yield Conv("conv1", 3, 96, 11, stride=4, padding=5 if same else int(padding))
    yield MaxPool("pool1", 3, 2, pool)
    yield LocalResponseNorm("norm1")
    yield Tap(96)
    yield Conv("conv2", 96, 256, 5, padding=2, groups=2)
    yield MaxPool("pool2", 3, 2, pool)
    yield LocalResponseNorm("norm2")
    yield Tap(256)
    yield Conv("conv3", 256, 384, 3, padding=1)
    yield Conv("conv4", 384, 384, 3, padding=1, groups=2)
    yield Conv("conv5", 384, 256, 3, padding=1, groups=2)
    yield MaxPool("pool5", 3, 2, pool)
    yield from hidden_layers(256, 6, 3 if same else 0, dropout)
