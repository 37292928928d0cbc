"""Which cells of which layers see the image, and which the canvas' edge: the plan of the exact window."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor

from fcnseg.backbones.layers import BatchNorm, Conv, Layer, LocalResponseNorm, MaxPool, Tap, cells_after
from fcnseg.geometry import IMAGE

WORTH = 0.97
"""Share of a side that the window may have and still be worth its trouble."""


@dataclass(frozen=True)
class Span:
    """The cells of one map along one side.

    Attributes:
        size: cells of the canvas.
        start: first cell that sees the image.
        stop: first cell behind those that see the image.
        low: cells at the beginning that the canvas' edge changes.
        high: the same at the end.
    """

    size: int
    start: int
    stop: int
    low: int
    high: int

    @property
    def apart(self) -> bool:
        """Whether window and edges have not met."""
        return self.low <= self.start < self.stop <= self.size - self.high

    def after(self, layer: Conv | MaxPool) -> "Span":
        """Follows the cells through a convolution or a pooling.

        The edge of a convolution is the zeros beyond it. A pooling takes no notice of what lies beyond: even an
        incomplete window of constants has their value.
        """
        kernel, stride, padding = layer.kernel, layer.stride, layer.padding
        size, pools = cells_after(layer, self.size), isinstance(layer, MaxPool)
        first_seen = -((kernel - 1 - padding - self.start) // stride)
        last_seen = (self.stop - 1 + padding) // stride
        first_high = (self.size - self.high + padding - kernel) // stride + 1
        return Span(
            size=size,
            start=max(0, first_seen),
            stop=min(size, last_seen + 1),
            low=0 if pools and not self.low else -(-(self.low + padding) // stride),
            high=0 if pools and not self.high else max(0, size - first_high),
        )

    def margins(self, layer: Conv | MaxPool, after: "Span") -> tuple[int, int]:
        """Returns the zeros to lay before and behind these cells so that the layer alone gives those after it.

        A negative number of cells is cut.
        """
        first = layer.stride * after.start - layer.padding
        behind = layer.stride * (after.stop - 1) - layer.padding + layer.kernel
        return self.start - first, behind - self.stop


@dataclass(frozen=True)
class Plan:
    """What is computed in the window, along one side of an image.

    Attributes:
        layers: how many layers are computed in the window.
        spans: the cells before the first of them and after each one.
        margins: zeros to lay before and behind the window for each layer; see Span.margins.
        canvas: cells of the small canvas after the first layer.
        cells: for each cell of the last map its place in the small canvas' one.
    """

    layers: int
    spans: tuple[Span, ...]
    margins: tuple[tuple[int, int], ...]
    canvas: int
    cells: tuple[int, ...]


@lru_cache(maxsize=4096)
def plan(layers: tuple[Layer, ...], side: int, count: int | None = None) -> Plan | None:
    """Plans one side of an image.

    Args:
        layers: of the backbone.
        side: pixels.
        count: how many layers shall be computed in the window; None takes as many as can be.

    Returns:
        None where there is nothing to gain.
    """
    spans, taps_fit = [Span(side, 0, side, 0, 0)], True
    grid = IMAGE
    for layer in layers:
        if isinstance(layer, Conv | MaxPool):
            grid = grid.conv(layer.kernel, layer.stride, layer.padding)
            following = spans[-1].after(layer)
            if len(spans) == 1:  # the zeros around the image are what lies beyond them too: no edge yet
                following = replace(following, low=0, high=0)
        elif isinstance(layer, BatchNorm | LocalResponseNorm | Tap):
            following = spans[-1]
            taps_fit = not isinstance(layer, Tap) or grid.field // 2 >= grid.stride
        else:
            break
        if not following.apart or not taps_fit:
            break
        spans.append(following)
    known = len(spans) - 1 if count is None else min(count, len(spans) - 1)
    if known < 2 or spans[1].stop - spans[1].start > WORTH * spans[1].size:
        return None
    canvas = _small_canvas(layers[1:known], spans[1].size, grid_stride(layers[1:known]))
    if canvas is None:
        return None
    spans = _widened(layers[:known], spans[: known + 1])
    last = spans[known]
    removed = last.size - _sizes(layers[1:known], canvas)[-1].size
    cells = [i if i < last.low else i - removed if i >= last.size - last.high else last.low for i in range(last.size)]
    margins = [
        before.margins(layer, after) if isinstance(layer, Conv | MaxPool) else (0, 0)
        for layer, before, after in zip(layers[:known], spans[:-1], spans[1:], strict=True)
    ]
    return Plan(known, tuple(spans), tuple(margins), canvas, tuple(cells))


def _widened(layers: Sequence[Layer], spans: list[Span]) -> list[Span]:
    """Adds the one to three cells with which the first two poolings need no padding, which copies the largest maps.

    What they see is the constant field, so they are exactly that. Where windows of a pooling overlap there are none.
    """
    pools = [at for at, layer in enumerate(layers) if isinstance(layer, MaxPool)][:2]
    for side, (end, sign) in enumerate((("start", -1), ("stop", 1))):
        for more in range(4):
            first = replace(spans[1], **{end: getattr(spans[1], end) + sign * more})
            trial = [spans[0], *_followed(layers[1:], first)]
            fits = all(trial[at].margins(cast(MaxPool, layers[at]), trial[at + 1])[side] == 0 for at in pools)
            if fits and all(span.apart for span in trial[1:]):
                spans = trial
                break
    return spans


def plans(layers: tuple[Layer, ...], height: int, width: int) -> tuple[Plan, Plan] | None:
    """Plans rows and columns for the same number of layers; None where there is nothing to gain."""
    each = [plan(layers, side) for side in (height, width)]
    count = min(one.layers if one else 0 for one in each)
    rows, columns = (plan(layers, side, count) for side in (height, width))
    return (rows, columns) if rows is not None and columns is not None else None


def grid_stride(layers: Sequence[Layer]) -> int:
    """Returns the product of the layers' strides."""
    stride = 1
    for layer in layers:
        stride *= layer.stride if isinstance(layer, Conv | MaxPool) else 1
    return stride


def _small_canvas(layers: Sequence[Layer], size: int, stride: int) -> int | None:
    """Finds the smallest canvas with the edges of the large one and something between them; None if it is no smaller.

    Sizes that differ by multiples of the stride round alike in every layer.
    """
    for small in range(size % stride or stride, size, stride):
        last = _sizes(layers, small)[-1]
        if last.size > last.low + last.high:
            return small
    return None


def _sizes(layers: Sequence[Layer], size: int) -> list[Span]:
    return _followed(layers, Span(size, 0, size, 0, 0))


def _followed(layers: Sequence[Layer], first: Span) -> list[Span]:
    """Returns the cells before the layers and after each one."""
    spans = [first]
    for layer in layers:
        spans.append(spans[-1].after(layer) if isinstance(layer, Conv | MaxPool) else spans[-1])
    return spans


def inside(sizes: Tensor, height: int, width: int) -> Tensor:
    """Returns [n, height, width] booleans, true on the pixels within each image's own size."""
    rows = torch.arange(height, device=sizes.device) < sizes[:, :1]
    columns = torch.arange(width, device=sizes.device) < sizes[:, 1:]
    return rows[:, :, None] & columns[:, None, :]
