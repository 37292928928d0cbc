"""The exact window: the padded net without computing what the padding makes of itself.

Around the image the authors' nets lay 100 zeros. Far from the image, and far from the canvas' edge, every layer then
holds one value per channel: c' = relu(b + sum(W) c), starting from c = 0. So each layer keeps a = x - c instead of x.
Where neither image nor edge is seen a is zero, zero padding of a is the constant field, and a layer becomes

    a' = relu(W * a + b') - relu(b') = max(W * a + b' - c', -c')    with b' = b + sum(W) c and c' = relu(b'),

computed on the window of cells that see the image, and nowhere else. The constant field ends at the canvas' edge, where
the next convolution meets zeros; what that does to the outermost cells does not depend on the image. It is read off
a small canvas of the same edges without an image, whose middle is repeated as often as the large one needs.

Two trains of cells thus grow through the layers: the window from the image outwards, the edge from the canvas inwards.
As long as they are apart the result is exact; before they meet, all three parts are laid together, and what follows is
computed as ever. Rows and columns are planned apart, from the layers' kernels, strides and paddings alone.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fcnseg.backbones.convolution import convolve, fastest_format
from fcnseg.backbones.layers import BatchNorm, Conv, Layer, LocalResponseNorm, MaxPool, Tap, grid_after, sections
from fcnseg.backbones.plan import Plan
from fcnseg.geometry import IMAGE
from fcnseg.shapes import Features


@dataclass(frozen=True)
class Field:
    """A map in the window: a constant per channel, and what the image adds to it.

    Attributes:
        a: [n, c, rows, columns] of the window.
        c: [1, c, 1, 1].
    """

    a: Tensor
    c: Tensor


def pooled(a: Tensor, kernel: int, stride: int) -> Tensor:
    """Pools [n, c, h, w] as functional.max_pool2d does.

    On a processor, in torch's default layout, the larger of every two rows, and then of every two columns, is there
    sooner. It is left to max_pool2d where gradients are asked for, since that of equal values would be shared by them.
    """
    plain = kernel == stride == 2 and a.device.type == "cpu" and a.is_contiguous() and min(a.shape[2:]) > 1
    if not plain or (torch.is_grad_enabled() and a.requires_grad) or torch.compiler.is_compiling():
        return functional.max_pool2d(a, kernel, stride)
    height, width = (side // 2 * 2 for side in a.shape[2:])
    rows = torch.maximum(a[:, :, 0:height:2], a[:, :, 1:height:2])
    return torch.maximum(rows[..., 0:width:2], rows[..., 1:width:2])


def step(module: nn.Module, layer: Layer, field: Field, amounts: Sequence[int]) -> Field:
    """Computes one layer in the window.

    Args:
        module: the layer's.
        layer: its record.
        field: the map before it.
        amounts: zeros to lay around the window, left, right, above and below; negative ones are cells to cut.
    """
    if isinstance(layer, MaxPool):
        a = functional.pad(field.a, amounts) if any(amounts) else field.a
        return Field(pooled(a, layer.kernel, layer.stride), field.c)
    if isinstance(layer, LocalResponseNorm):
        c = module(field.c)
        return Field(module(field.a + field.c) - c, c)
    if isinstance(layer, BatchNorm):
        before = module(field.c)
        a, relu = module(field.a + field.c) - before, layer.relu
        return _rectified(a, before) if relu else Field(a, before)
    assert isinstance(layer, Conv)
    conv = cast(nn.Conv2d, module)
    before, after = _constants(conv, layer, field.c)
    bias = (before - after).flatten() if layer.relu else None
    even = amounts[0] == amounts[1] >= 0 and amounts[2] == amounts[3] >= 0  # the convolution pads without a copy
    padding = (amounts[2], amounts[0]) if even else (0, 0)
    a = field.a if even else functional.pad(field.a, amounts)
    a = convolve(a, conv.weight, bias, layer.stride, padding, layer.groups)
    return Field(floored(a, -after) if layer.relu else a, after)


def _constants(conv: nn.Conv2d, layer: Conv, c: Tensor) -> tuple[Tensor, Tensor]:
    """Returns what a convolution makes of the constants, before and after its ReLU."""
    before = functional.conv2d(
        c.expand(-1, -1, layer.kernel, layer.kernel), conv.weight, conv.bias, groups=layer.groups
    )
    return before, functional.relu(before) if layer.relu else before


def _rectified(a: Tensor, before: Tensor) -> Field:
    after = functional.relu(before)
    return Field(floored(a + (before - after), -after), after)


def floored(a: Tensor, floor: Tensor) -> Tensor:
    """Returns the larger of a fresh map [n, c, h, w] and a value per channel [1, c, 1, 1], in the map's memory.

    A compiler fuses plain operators with what precedes them. It is not given the maximum, whose gradient would not keep
    the order of values, so that each convolution would have to restore it.
    """
    if torch.compiler.is_compiling() or a.is_meta:
        return functional.relu(a - floor) + floor
    return cast(Tensor, Floor.apply(a, floor))


class Floor(torch.autograd.Function):
    """The maximum with a value per channel, of which only the result is kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, floor: Tensor) -> Tensor:
        """Raises what lies below."""
        a.clamp_(min=floor)
        ctx.mark_dirty(a)
        ctx.save_for_backward(a, floor)
        return a

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the gradients of the map, where it is larger, and of the value, elsewhere."""
        a, floor = ctx.saved_tensors
        of_map = torch.gt(a, floor, out=torch.empty_like(gradient)).mul_(gradient)  # no map of booleans to convert
        return of_map, (gradient.sum((0, 2, 3)) - of_map.sum((0, 2, 3)))[None, :, None, None]


def edges(modules: Sequence[nn.Module | None], layers: Sequence[Layer], c: Tensor, canvas: tuple[int, int]) -> Tensor:
    """Computes the small canvas without an image.

    Args:
        modules: of the layers; None for taps.
        layers: those after the first one.
        c: [1, c, 1, 1], the constant field that the first layer leaves.
        canvas: rows and columns.
    """
    tensor = c.expand(-1, -1, *canvas).contiguous(memory_format=fastest_format(c.device.type))
    for module, layer in zip(modules, layers, strict=True):
        if module is not None:
            tensor = module(tensor)
            tensor = functional.relu(tensor) if isinstance(layer, Conv | BatchNorm) and layer.relu else tensor
    return tensor


def laid_together(field: Field, border: Tensor, rows: Plan, columns: Plan) -> Tensor:
    """Returns the whole map: edges, constants and window."""
    at = [torch.tensor(side.cells, device=border.device) for side in (rows, columns)]
    whole = border.index_select(2, at[0]).index_select(3, at[1])
    spans = columns.spans[-1], rows.spans[-1]
    amounts = [amount for span in spans for amount in (span.start, span.size - span.stop)]
    return whole + functional.pad(field.a, amounts)


class Borders:
    """The small canvases' last maps, kept at inference until the weights change.

    A change is seen by the weights' versions, or by a pass that records gradients: an optimiser follows it, and fused
    ones leave versions as they are.
    """

    def __init__(self, most: int = 64) -> None:
        """Keeps up to ``most`` of them."""
        self.most = most
        self._kept: dict[Hashable, Tensor] = {}
        self._weights: Hashable = None

    def forget(self) -> None:
        """Drops all maps; needed by hand only where weights are written through ``.data`` and without a gradient."""
        self._kept = {}

    def __len__(self) -> int:
        """Number of maps that are kept."""
        return len(self._kept)

    def get(
        self, modules: Sequence[nn.Module | None], layers: Sequence[Layer], c: Tensor, plans: tuple[Plan, Plan]
    ) -> Tensor:
        """Returns the map for these plans; computed anew, and not kept, where gradients are recorded.

        Args:
            modules: of all planned layers; None for taps.
            layers: their records.
            c: [1, c, 1, 1], the constant field that the first layer leaves.
            plans: of rows and columns.
        """
        canvas = plans[0].canvas, plans[1].canvas
        weights = None if torch.is_grad_enabled() else _state_of(modules)
        if weights is None:
            if not torch.compiler.is_compiling():  # which would follow the change of a list with another compilation
                self.forget()
            return edges(modules[1:], layers[1:], c, canvas)
        if weights != self._weights:
            self.forget()
            self._weights = weights
        on = c.device.type
        mixed = torch.amp.is_autocast_available(on) and torch.is_autocast_enabled(on)
        key = (len(layers), canvas, c.dtype, mixed)
        if key not in self._kept:
            if len(self._kept) >= self.most:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = edges(modules[1:], layers[1:], c, canvas)
        return self._kept[key]


def _state_of(modules: Sequence[nn.Module | None]) -> Hashable:
    """Returns what changes when a weight does; None where torch does not tell."""
    tensors = [
        tensor for module in modules if module is not None for tensor in (*module.parameters(), *module.buffers())
    ]
    if any(tensor.is_inference() for tensor in tensors):
        return None
    return tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)


def run(
    modules: Sequence[nn.Module | None],
    layers: Sequence[Layer],
    inputs: Tensor,
    plans: tuple[Plan, Plan],
    borders: Borders,
    call: Callable[..., tuple[Tensor, Tensor]],
) -> tuple[Features, dict[int, Features]]:
    """Computes the planned layers.

    Args:
        modules: of the planned layers; None for taps.
        layers: their records.
        inputs: [n, c, h, w], normalised images without padding.
        plans: of rows and columns, for the same number of layers.
        borders: keeps the small canvases' maps.
        call: calls a function of tensors, and may compute it again for the gradient.

    Returns:
        The whole map after the last planned layer, and the tapped maps by stride, those before the last layer as
        windows, which begin later than the canvas.
    """
    a, c, grid = inputs, inputs.new_zeros(1, inputs.shape[1], 1, 1), IMAGE
    edge = borders.get(modules, layers, _constants(cast(nn.Conv2d, modules[0]), cast(Conv, layers[0]), c)[1], plans)
    taps: dict[int, Features] = {}
    for first, stop in sections(layers):
        if isinstance(layers[first], Tap):
            taps[grid.stride] = Features(a + c, grid.crop(plans[0].spans[first].start))
        else:
            a, c = call(partial(_stretch, modules, layers, plans, (first, stop)), a, c)
            grid = grid_after(layers[first:stop], grid)
    return Features(laid_together(Field(a, c), edge, *plans), grid), taps


def _stretch(
    modules: Sequence[nn.Module | None],
    layers: Sequence[Layer],
    plans: tuple[Plan, Plan],
    part: tuple[int, int],
    a: Tensor,
    c: Tensor,
) -> tuple[Tensor, Tensor]:
    field = Field(a, c)
    for at in range(*part):
        rows, columns = (side.margins[at] for side in plans)
        field = step(cast(nn.Module, modules[at]), layers[at], field, [*columns, *rows])
    return field.a, field.c
