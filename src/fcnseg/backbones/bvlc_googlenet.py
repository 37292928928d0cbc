"""BVLC's GoogLeNet, without batch normalisation: the net of the paper's Table 1, into which Caffe's weights load."""

from collections.abc import Iterator, Sequence

from fcnseg.backbones.base import Backbone, Head, Padding
from fcnseg.backbones.layers import Concat, Conv, Dropout, Layer, LocalResponseNorm, MaxPool, Tap

INCEPTIONS = (
    ("3a", 64, 96, 128, 16, 32, 32),
    ("3b", 128, 128, 192, 32, 96, 64),
    ("4a", 192, 96, 208, 16, 48, 64),
    ("4b", 160, 112, 224, 24, 64, 64),
    ("4c", 128, 128, 256, 24, 64, 64),
    ("4d", 112, 144, 288, 32, 64, 64),
    ("4e", 256, 160, 320, 32, 128, 128),
    ("5a", 256, 160, 320, 32, 128, 128),
    ("5b", 384, 192, 384, 48, 128, 128),
)
"""Name, then channels: 1x1; reduction for and 3x3; reduction for and 5x5; projection of the pooled map."""


class BVLCGoogLeNet(Backbone):
    """GoogLeNet as BVLC trained it, with maps at strides 8 (3b), 16 (4e) and 32 (5b); auxiliary classifiers dropped.

    ``padding="same"`` pads the poolings by 1, so that cells lie on pixels 0, 32, 64 ...; a number of pixels pads the
    first convolution by that much (3 in the classifier) and the poolings not at all, as Caffe does.

    The paper's receptive field of 907 counts the 7x7 average pooling that an FCN drops; without it a cell sees 715.

    Paper: Sec. 4.1
    """

    caffe_weights = "bvlc_googlenet"
    classifier_padding = 3
    head = Head("loss3/classifier", pool=7)
    dropout_default = 0.4

    @classmethod
    def make_layers(cls, padding: Padding, dropout: float) -> Sequence[Layer]:
        """Returns conv1 to inception_5b under BVLC's names; see Backbone."""
        return tuple(_layers(padding, dropout))


def _layers(padding: Padding, dropout: float) -> Iterator[Layer]:
    same = padding == "same"
    pool = 1 if same else 0
    yield Conv("conv1/7x7_s2", 3, 64, 7, stride=2, padding=3 if same else int(padding))
    yield MaxPool("pool1/3x3_s2", 3, 2, pool)
    yield LocalResponseNorm("pool1/norm1")
    yield Conv("conv2/3x3_reduce", 64, 64, 1)
    yield Conv("conv2/3x3", 64, 192, 3, padding=1)
    yield LocalResponseNorm("conv2/norm2")
    yield MaxPool("pool2/3x3_s2", 3, 2, pool)
    channels = 192
    for name, *widths in INCEPTIONS:
        yield _inception(f"inception_{name}", channels, *widths)
        channels = widths[0] + widths[2] + widths[4] + widths[5]
        if name in ("3b", "4e"):
            yield Tap(channels)
            yield MaxPool(f"pool{name[0]}/3x3_s2", 3, 2, pool)
    yield Dropout("pool5/drop", dropout)
    yield Tap(channels)


def _inception(
    name: str, inputs: int, one: int, reduce_three: int, three: int, reduce_five: int, five: int, project: int
) -> Concat:
    return Concat(
        (
            (Conv(f"{name}/1x1", inputs, one, 1),),
            (
                Conv(f"{name}/3x3_reduce", inputs, reduce_three, 1),
                Conv(f"{name}/3x3", reduce_three, three, 3, padding=1),
            ),
            (
                Conv(f"{name}/5x5_reduce", inputs, reduce_five, 1),
                Conv(f"{name}/5x5", reduce_five, five, 5, padding=2),
            ),
            (MaxPool(f"{name}/pool", 3, 1, 1), Conv(f"{name}/pool_proj", inputs, project, 1)),
        )
    )
