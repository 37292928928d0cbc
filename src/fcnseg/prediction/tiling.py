"""Large images in parts whose logits are those of the whole image.

A pixel's logits depend on the pixels that its cells see, and on no others. So a part that is cut from the image with so
many pixels around it, and begins on a cell of every map, gives within these margins what the whole image gives there;
where the part ends with the image, padding does what it does to the whole.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from fcnseg.backbones.layers import Concat, Conv, Layer, MaxPool, Sum
from fcnseg.fcn import FCN
from fcnseg.geometry import IMAGE, Grid
from fcnseg.shapes import Features

WORKSPACE = 3.5
"""Memory of a forward pass over that of the widest layer's input and output: skips, and what convolutions work with.
On a processor AlexNet and GoogLeNet were seen to take 3.2 and 3.0 times as much, VGG 16 1.6 times."""


class Region(NamedTuple):
    """A rectangle of pixels.

    Attributes:
        rows: first row, and the one behind the last.
        columns: likewise.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def slices(self) -> tuple[slice, slice]:
        """What cuts it out of an array [h, w]."""
        return slice(*self.rows), slice(*self.columns)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]


class Tiling(NamedTuple):
    """How images are cut.

    Attributes:
        side: of the squares that the net sees; an image that is no longer on either side is seen whole.
        margin: pixels around a region that its logits may depend on.
        stride: regions begin on its multiples.
    """

    side: int
    margin: int
    stride: int

    def regions(self, height: int, width: int) -> list[Region]:
        """Returns the regions of an image that are predicted one by one; together they are the image."""
        return [Region(rows, columns) for rows in self._parts(height) for columns in self._parts(width)]

    def _parts(self, pixels: int) -> list[tuple[int, int]]:
        if pixels <= self.side:
            return [(0, pixels)]
        inner = (self.side - 2 * self.margin) // self.stride * self.stride
        parts = -(-pixels // inner)
        even = min(inner, -(-pixels // (parts * self.stride)) * self.stride)
        return [(first, min(pixels, first + even)) for first in range(0, pixels, even)]

    def seen(self, region: Region, height: int, width: int) -> Region:
        """Returns the part of an image that the net must see for the logits of a region."""
        return Region(*(self._seen(*part, side) for part, side in zip(region, (height, width), strict=True)))

    def _seen(self, first: int, behind: int, pixels: int) -> tuple[int, int]:
        start = max(0, (first - self.margin) // self.stride * self.stride)
        return start, min(pixels, behind + self.margin)


def tiling(net: FCN, side: int | None, memory: float, scale: float = 1.0) -> Tiling:
    """Says how images are cut for a net.

    Args:
        net: whose maps say how far a pixel's logits look.
        side: of the squares that it sees; None takes the largest within the memory.
        memory: bytes that a forward pass may take.
        scale: largest factor on the image; so much larger are the regions of it that must be seen.

    Raises:
        ValueError: the squares are too small to hold more than their margins.
    """
    margin, stride = reach(net), net.strides[0]
    least = 2 * margin + stride
    if side is not None and side < least:
        raise ValueError(
            f"tile={side} leaves nothing between margins of {margin} pixels, which is how far this net looks: set "
            f"tile={least} or more, tile=auto, or tile=null to see images whole"
        )
    fits = int((memory / bytes_per_pixel(net)) ** 0.5 / max(1.0, scale))
    return Tiling(side or max(least, fits), margin, stride)


def reach(net: FCN) -> int:
    """Returns how many pixels away on each side a pixel of the image may still change a pixel's logits.

    Rounded up to whole cells of the coarsest map, because what is seen begins on one.
    """
    stride = net.strides[0]
    # Bilinear upsampling of a map looks less than a cell of it far; the field around a cell's centre comes on top.
    pixels = net.backbone.grids[stride].field // 2 + 1 + sum(net.strides)
    return -(-pixels // stride) * stride


def bytes_per_pixel(net: FCN) -> float:
    """Estimates the memory of a forward pass, by the widest layer and the logits."""
    itemsize = next(net.parameters()).itemsize
    widest = max(_values(net.backbone.layers, IMAGE))
    return itemsize * (WORKSPACE * widest + 3 * net.num_classes / net.output_stride + 2 * net.backbone.in_channels)


def _values(layers: Sequence[Layer], grid: Grid) -> Iterator[float]:
    """Yields the numbers per pixel of the image that each convolution reads and writes."""
    for layer in layers:
        if isinstance(layer, Concat | Sum):
            several = [list(_values(path, grid)) for path in layer.paths]
            yield sum(max(path, default=0.0) for path in several)
        elif isinstance(layer, Conv | MaxPool):
            after = grid.conv(layer.kernel, layer.stride, layer.padding)
            if isinstance(layer, Conv):
                yield layer.inputs / grid.stride**2 + layer.outputs / after.stride**2
            grid = after


def region_logits(net: FCN, scores: Features, seen: Region, region: Region, rows: tuple[int, int]) -> Tensor:
    """Upsamples scores to some rows of a region.

    Args:
        net: whose scores they are.
        scores: of the part that is seen.
        seen: that part; see Tiling.seen.
        region: of the images.
        rows: first row of the region that is wanted, and the one behind the last.

    Returns:
        [n, k, rows, columns of the region].
    """
    first = region.rows[0] - seen.rows[0]
    left = region.columns[0] - seen.columns[0]
    logits = net.upsample(scores, seen.size, (first + rows[0], first + rows[1]))
    return logits[:, :, :, left : left + region.size[1]]
