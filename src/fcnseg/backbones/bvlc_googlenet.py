"""BVLC's GoogLeNet, without batch normalisation: the net of the paper's Table 1, into which Caffe's weights load."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from fcnseg.backbones.base import Backbone, Padding
from fcnseg.backbones.head import Head
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
    yield from inceptions(
        _unit, 5, {"3b": MaxPool("pool3/3x3_s2", 3, 2, pool), "4e": MaxPool("pool4/3x3_s2", 3, 2, pool)}
    )
    yield Dropout("pool5/drop", dropout)
    yield Tap(1024)


def _unit(module: str, part: str, inputs: int, outputs: int, kernel: int) -> Iterator[Layer]:
    yield Conv(f"inception_{module}/{part}", inputs, outputs, kernel, padding=kernel // 2)


def inceptions(
    unit: Callable[[str, str, int, int, int], Iterator[Layer]], five: int, pools: Mapping[str, MaxPool]
) -> Iterator[Layer]:
    """Yields the nine inception modules with the poolings and taps between them.

    Args:
        unit: yields one convolution from (module, part, inputs, outputs, kernel), with what belongs to it.
        five: side of the kernels that the paper has at 5.
        pools: by the module that they follow; the map before each is offered.
    """
    inputs = 192
    for module, one, reduce_three, three, reduce_five, large, project in INCEPTIONS:
        yield Concat(
            (
                tuple(unit(module, "1x1", inputs, one, 1)),
                (*unit(module, "3x3_reduce", inputs, reduce_three, 1), *unit(module, "3x3", reduce_three, three, 3)),
                (*unit(module, "5x5_reduce", inputs, reduce_five, 1), *unit(module, "5x5", reduce_five, large, five)),
                (MaxPool(f"inception_{module}/pool", 3, 1, 1), *unit(module, "pool_proj", inputs, project, 1)),
            )
        )
        inputs = one + three + large + project
        if module in pools:
            yield Tap(inputs)
            yield pools[module]
