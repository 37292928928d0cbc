"""SqueezeNet 1.1: the light backbone, for laptops and first experiments."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from fcnseg.backbones.base import Backbone, Padding
from fcnseg.backbones.head import Head
from fcnseg.backbones.layers import Concat, Conv, Dropout, Layer, MaxPool, Tap
from fcnseg.weights.normalization import TORCHVISION, Normalization

FIRES = (
    (2, 16, 64),
    (3, 16, 64),
    (4, 32, 128),
    (5, 32, 128),
    (6, 48, 192),
    (7, 48, 192),
    (8, 64, 256),
    (9, 64, 256),
)
"""Number, squeezed and expanded channels of each fire module."""


class SqueezeNet(Backbone):
    """SqueezeNet 1.1 without its classifier, with maps at strides 4, 8 and 16; it pools only three times.

    ``padding="same"`` pads the first convolution and every pooling by 1, so that cells lie on pixels 0, 16, 32 ... and
    the last one on or behind the image's end. A number of pixels pads the first convolution by that much and the
    poolings not at all, as Caffe's net with a padded input.

    Deviation: not a net of the paper; 0.7 million parameters, 180 times fewer than VGG 16.
    """

    normalization_default: ClassVar[Normalization] = TORCHVISION
    torchvision_model = "squeezenet1_1"
    torchvision_names: ClassVar[dict[str, str]] = (
        {"conv1": "features.0"}
        | {
            f"fire{number}_{ours}": f"features.{index}.{theirs}"
            for (number, _, _), index in zip(FIRES, (3, 4, 6, 7, 9, 10, 11, 12), strict=True)
            for ours, theirs in (
                ("squeeze1x1", "squeeze"),
                ("expand1x1", "expand1x1"),
                ("expand3x3", "expand3x3"),
            )
        }
        | {"conv10": "classifier.1"}
    )
    head = Head("conv10", pool=13, pool_last=True)

    @classmethod
    def make_layers(cls, padding: Padding, dropout: float) -> Sequence[Layer]:
        """Returns conv1 and the eight fire modules; see Backbone."""
        return tuple(squeezenet_layers(padding, dropout))


def squeezenet_layers(padding: Padding, dropout: float, pool9: bool = False) -> Iterator[Layer]:
    """Yields the layers of SqueezeNet 1.1.

    Args:
        padding: around the image; see SqueezeNet.
        dropout: before the coarsest map is offered.
        pool9: whether one more pooling follows fire9, whose map is then offered before it.
    """
    pool = 1 if padding == "same" else 0
    yield Conv("conv1", 3, 64, 3, stride=2, padding=1 if padding == "same" else int(padding))
    yield MaxPool("pool1", 3, 2, pool)
    channels = 64
    for number, squeezed, expanded in FIRES:
        if number in (4, 6):
            yield Tap(channels)
            yield MaxPool(f"pool{number - 1}", 3, 2, pool)
        yield from _fire(f"fire{number}", channels, squeezed, expanded)
        channels = 2 * expanded
    if pool9:
        yield Tap(channels)
        yield MaxPool("pool9", 3, 2, pool)
    yield Dropout("drop9", dropout)
    yield Tap(channels)


def _fire(name: str, inputs: int, squeezed: int, expanded: int) -> Iterator[Layer]:
    yield Conv(f"{name}_squeeze1x1", inputs, squeezed, 1)
    one = Conv(f"{name}_expand1x1", squeezed, expanded, 1)
    three = Conv(f"{name}_expand3x3", squeezed, expanded, 3, padding=1)
    yield Concat(((one,), (three,)))
