"""Convolutions on a processor by the fastest way that torch has there; elsewhere they are torch's own.

Processors without AVX-512 compute convolutions of 3x3 in single precision two to three times faster by Winograd's
transforms, which torch carries in NNPACK but takes for other machines only. The result differs from the direct sum by
rounding, about 1e-5 of the largest value a layer. ``torch.backends.nnpack.flags(enabled=False)`` turns them off.

With AVX-512 oneDNN takes three to four times as long for the gradient of the weights where more zeros are laid around a
map than half the kernel, as the exact window does. So these are laid around it before.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

NARROW = (
    torch.backends.cpu.get_cpu_capability() == "AVX2"
    and hasattr(torch.ops.aten, "_nnpack_spatial_convolution")
    and bool(torch.backends.nnpack.is_available())  # type: ignore[no-untyped-call]
)
"""Whether this processor lacks AVX-512. Asking for NNPACK also makes it ready: without that, its operator fails."""

BAND_BYTES = 2**23
"""Memory of the rows that are transformed at a time, at least."""

BAND_WEIGHTS = 4
"""The same in multiples of the weights, which are transformed anew for every band."""

TILE = 6
"""Rows and columns of a map that one transform gives."""

LEAST_CHANNELS = 16
"""Below, the transforms cost more than the sums that they save."""


class Convolution(nn.Conv2d):
    """A convolution whose 3x3 form takes Winograd's transforms where they are faster.

    Attributes:
        direct: whether it never does.
    """

    direct = False

    def forward(self, input: Tensor) -> Tensor:
        """Convolves [n, c, h, w]."""
        if self.direct or self.padding_mode != "zeros" or self.dilation != (1, 1) or self.stride[0] != self.stride[1]:
            return super().forward(input)
        padding = cast(tuple[int, int], self.padding)
        return convolve(input, self.weight, self.bias, self.stride[0], padding, self.groups)


def convolve(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: tuple[int, int], groups: int
) -> Tensor:
    """Convolves [n, c, h, w] as functional.conv2d does, to rounding."""
    if stride == groups == 1 and max(padding) <= 2 and weight.shape[2:] == (3, 3) and suits_winograd(input, weight):
        return cast(Tensor, Winograd.apply(input, weight, bias, padding))
    if any(pad > size // 2 for pad, size in zip(padding, weight.shape[2:], strict=True)) and suits_wide(weight):
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            input, weight, bias = input.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        with torch.autocast("cpu", enabled=False):
            return cast(Tensor, Wide.apply(input, weight, bias, stride, padding, groups))
    return functional.conv2d(input, weight, bias, stride, padding, groups=groups)


def suits_winograd(input: Tensor, weight: Tensor) -> bool:
    """Whether device, type and channels are those that the transforms are faster for."""
    return (
        input.device.type == "cpu"
        and input.dtype == weight.dtype == torch.float32
        and min(weight.shape[:2]) >= LEAST_CHANNELS
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and NARROW
        and torch._C._get_nnpack_enabled()
    )


def suits_wide(weight: Tensor) -> bool:
    """Whether the gradient of such weights is to be taken apart from that of the input."""
    return (
        weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.bfloat16)
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
    )


def fastest_format(device: str) -> torch.memory_format:
    """Returns the order of values that convolutions of this kind of device are fastest in, forward and backward.

    Without AVX-512 oneDNN takes four times as long for the gradient of weights in channels-last order.
    """
    return torch.contiguous_format if device == "cpu" and NARROW else torch.channels_last


class Winograd(torch.autograd.Function):
    """A convolution of 3x3 and stride 1, whose output and whose gradient of inputs take Winograd's transforms."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        """Convolves [n, c, h, w]."""
        ctx.save_for_backward(input, weight)
        ctx.padding = padding
        return _transformed(input, weight, bias, padding)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of input, weight and bias; that of the weight by the direct sum."""
        input, weight = ctx.saved_tensors
        of_input = None
        if ctx.needs_input_grad[0]:
            turned = weight.flip(2, 3).transpose(0, 1)
            of_input = _transformed(gradient, turned, None, tuple(2 - side for side in ctx.padding))
        wanted = [False, *ctx.needs_input_grad[1:3]]
        if not any(wanted):
            return of_input, None, None, None
        _, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient.contiguous(), input, weight, [len(weight)], [1, 1], ctx.padding, [1, 1], False, [0, 0], 1, wanted
        )
        return of_input, of_weight, of_bias, None


class Wide(torch.autograd.Function):
    """A convolution with more zeros around the map than half the kernel."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        padding: tuple[int, int],
        groups: int,
    ) -> Tensor:
        """Convolves [n, c, h, w]."""
        ctx.save_for_backward(input, weight)
        ctx.stride, ctx.padding, ctx.groups = stride, padding, groups
        return functional.conv2d(input, weight, bias, stride, padding, groups=groups)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of input, weight and bias; for that of the weight the input is padded before."""
        input, weight = ctx.saved_tensors
        of_input, *others = ctx.needs_input_grad[:3]
        within = [min(pad, size // 2) for pad, size in zip(ctx.padding, weight.shape[2:], strict=True)]
        rows, columns = (pad - kept for pad, kept in zip(ctx.padding, within, strict=True))

        def gradients(input: Tensor, padding: Sequence[int], wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
            steps = [ctx.stride] * 2, padding, [1, 1], False, [0, 0], ctx.groups
            found = torch.ops.aten.convolution_backward(gradient, input, weight, [len(weight)], *steps, wanted)
            return cast(tuple[Tensor | None, ...], found)

        first = gradients(input, ctx.padding, [True, False, False])[0] if of_input else None
        if not any(others):
            return first, None, None, None, None, None
        padded = functional.pad(input, (columns, columns, rows, rows))
        return first, *gradients(padded, within, [False, *others])[1:], None, None, None


def _transformed(input: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
    """Convolves by NNPACK, an image at a time, because it is slower with several, and large maps in bands of rows.

    The transforms of a map take three to four times its memory, those of a band that share of it.
    """
    count, channels, height, width = input.shape
    rows, columns = (side + 2 * pad - 2 for side, pad in zip((height, width), padding, strict=True))
    weight, result = weight.contiguous(), input.new_empty(count, len(weight), rows, columns)
    least = max(BAND_BYTES, BAND_WEIGHTS * weight.nbytes)
    band = max(1, least // (4 * channels * width * TILE)) * TILE
    for image, place in zip(input, result, strict=True):
        for first in range(0, rows, band):
            last = min(rows, first + band)
            above, below = first - padding[0], last - padding[0] + 2  # the rows that these see, some beyond the image
            seen = image[None, :, max(0, above) : min(height, below)]
            margins = (0, 0, max(0, -above), max(0, below - height))
            seen = functional.pad(seen, margins) if any(margins) else seen.contiguous()
            place[:, first:last] = torch.ops.aten._nnpack_spatial_convolution(
                seen, weight, bias, (0, padding[1]), [1, 1]
            )[0]
    return result
