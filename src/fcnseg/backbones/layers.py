"""Layers as data: a backbone is a list of these records, read by the module, the geometry and describe()."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from fcnseg.backbones.convolution import Convolution
from fcnseg.backbones.dense import DenseConv2d
from fcnseg.geometry import IMAGE, Grid


@dataclass(frozen=True)
class Conv:
    """A convolution, with a bias and followed by a ReLU unless said otherwise.

    Attributes:
        name: the layer's name, as in the weights that the authors published.
        inputs: channels it reads.
        outputs: channels it writes.
        kernel: side of its kernel, in cells.
        stride: step, in cells.
        padding: zeros on each side, in cells.
        groups: number of groups into which the channels are split.
        bias: whether it adds a bias; before batch normalisation none is needed.
        relu: whether a ReLU follows at once.
        dense: whether it was an inner product (fc6, fc7): on a processor it is computed as one.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = True
    relu: bool = True
    dense: bool = False

    def module(self) -> nn.Module:
        """Builds the convolution; its ReLU has no parameters and is applied by the backbone."""
        return (DenseConv2d if self.dense else Convolution)(
            self.inputs, self.outputs, self.kernel, self.stride, self.padding, groups=self.groups, bias=self.bias
        )


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation of the convolution before it.

    Attributes:
        name: the layer's name.
        channels: channels of the map.
        relu: whether a ReLU follows at once.
        eps: added to the variances.
    """

    name: str
    channels: int
    relu: bool = True
    eps: float = 1e-5

    def module(self) -> nn.Module:
        """Builds the normalisation; its ReLU is applied by the backbone."""
        return nn.BatchNorm2d(self.channels, self.eps)


@dataclass(frozen=True)
class LocalResponseNorm:
    """Local response normalisation across channels, with the numbers of AlexNet and GoogLeNet.

    Attributes:
        name: the layer's name.
    """

    name: str

    def module(self) -> nn.Module:
        """Builds the normalisation; torch divides alpha by the size, as Caffe does."""
        return SinglePrecisionNorm(size=5, alpha=1e-4, beta=0.75, k=1.0)


class SinglePrecisionNorm(nn.LocalResponseNorm):
    """Local response normalisation that squares in float32 at least: half precision overflows above 255."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises [n, c, h, w], in the type of the input."""
        if input.itemsize >= 4:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float()).to(input.dtype)


@dataclass(frozen=True)
class MaxPool:
    """Max pooling that rounds sizes up, as Caffe does, unless said otherwise.

    Attributes:
        name: the layer's name.
        kernel: side of the window, in cells.
        stride: step, in cells.
        padding: cells on each side that never win the maximum.
        ceil: whether an incomplete last window counts.
    """

    name: str
    kernel: int = 2
    stride: int = 2
    padding: int = 0
    ceil: bool = True

    def module(self) -> nn.Module:
        """Builds the pooling."""
        return nn.MaxPool2d(self.kernel, self.stride, self.padding, ceil_mode=self.ceil)


@dataclass(frozen=True)
class Dropout:
    """Drops single elements, as Caffe does; whole channels (Dropout2d) would be another network.

    Attributes:
        name: the layer's name.
        probability: fraction of the elements set to zero in training.
    """

    name: str
    probability: float = 0.5

    def module(self) -> nn.Module:
        """Builds the dropout."""
        return nn.Dropout(self.probability)


@dataclass(frozen=True)
class Concat:
    """Paths that start from the same map; their results are concatenated along the channels.

    Attributes:
        paths: one list of layers a path; all paths end with the same stride and offset.
    """

    paths: tuple[tuple["Layer", ...], ...]


@dataclass(frozen=True)
class Sum:
    """Paths that start from the same map; their results are added, then a ReLU. A path without layers is the map.

    Attributes:
        paths: one list of layers a path; all paths end with the same stride, offset and channels.
    """

    paths: tuple[tuple["Layer", ...], ...]


@dataclass(frozen=True)
class Tap:
    """Offers the map at this point to the skips, under the stride it has here.

    Attributes:
        channels: channels of the map.
    """

    channels: int


Named: TypeAlias = Conv | BatchNorm | LocalResponseNorm | MaxPool | Dropout
"""A layer that has a module."""

Layer: TypeAlias = Named | Concat | Sum | Tap


def named_layers(layers: Sequence[Layer]) -> Iterator[Named]:
    """Yields every layer that has a module, paths included, in the order of computation."""
    for layer in layers:
        if isinstance(layer, Concat | Sum):
            for path in layer.paths:
                yield from named_layers(path)
        elif not isinstance(layer, Tap):
            yield layer


def grid_after(layers: Sequence[Layer], grid: Grid, tap: Callable[[Grid, int], None] | None = None) -> Grid:
    """Follows the grid through the layers; of several paths the one that sees most counts.

    Args:
        layers: the layers in order.
        grid: the grid that goes in.
        tap: called with the grid and the channels at every tap.

    Raises:
        ValueError: joined paths end on different cells.
    """
    for layer in layers:
        if isinstance(layer, Conv | MaxPool):
            grid = grid.conv(layer.kernel, layer.stride, layer.padding)
        elif isinstance(layer, Concat | Sum):
            grid = _widest([grid_after(path, grid) for path in layer.paths])
        elif isinstance(layer, Tap) and tap is not None:
            tap(grid, layer.channels)
    return grid


def up_to(layers: tuple[Layer, ...], stride: int) -> tuple[Layer, ...]:
    """Returns the layers up to the tap of this stride; all of them if there is none."""
    grid = IMAGE
    for at, layer in enumerate(layers):
        grid = grid_after([layer], grid)
        if isinstance(layer, Tap) and grid.stride == stride:
            return layers[: at + 1]
    return layers


def _widest(grids: Sequence[Grid]) -> Grid:
    if len({(grid.stride, grid.offset) for grid in grids}) > 1:
        raise ValueError(f"paths that are joined end on different cells: {grids}")
    return Grid(grids[0].stride, grids[0].offset, max(grid.field for grid in grids))


def conv_depth(layers: Sequence[Layer]) -> int:
    """Counts the convolutions on the longest path."""
    depth = 0
    for layer in layers:
        if isinstance(layer, Concat | Sum):
            depth += max(conv_depth(path) for path in layer.paths)
        depth += isinstance(layer, Conv)
    return depth


def hidden_layers(inputs: int, kernel: int, padding: int, dropout: float, channels: int = 4096) -> Iterator[Layer]:
    """Yields fc6 and fc7, the two hidden layers of VGG's and AlexNet's classifiers, as convolutions.

    Args:
        inputs: channels of the last pooling.
        kernel: side of its map in the classifier.
        padding: of fc6, in cells; none as published.
        dropout: after each.
        channels: of both.
    """
    yield Conv("fc6", inputs, channels, kernel, padding=padding, dense=True)
    yield Dropout("drop6", dropout)
    yield Conv("fc7", channels, channels, 1, dense=True)
    yield Dropout("drop7", dropout)
    yield Tap(channels)


def sections(layers: Sequence[Layer]) -> Iterator[tuple[int, int]]:
    """Yields first and last + 1 of the stretches between the smallest maps: each ends behind a pooling, taps alone."""
    first = 0
    for at, layer in enumerate(layers):
        if isinstance(layer, Tap) and first < at:
            yield first, at
            first = at
        if isinstance(layer, Tap | MaxPool) or at == len(layers) - 1:
            yield first, at + 1
            first = at + 1


def cells_after(layer: Layer, cells: int) -> int:
    """Returns how many cells a side of so many has after a layer; none or fewer if the layer does not fit."""
    if isinstance(layer, Concat | Sum):
        for inner in layer.paths[0]:
            cells = cells_after(inner, cells)
        return cells
    if not isinstance(layer, Conv | MaxPool) or cells < 1:
        return cells
    steps = cells + 2 * layer.padding - layer.kernel
    following = steps // layer.stride + 1
    if isinstance(layer, MaxPool) and layer.ceil and steps % layer.stride:
        following += following * layer.stride < cells + layer.padding  # the last window begins inside
    return following
