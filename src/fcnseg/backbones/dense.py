"""An inner product that became a convolution, computed as a matrix product where that is the faster form."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class DenseConv2d(nn.Conv2d):
    """A convolution with many channels over few cells, such as fc6: its inputs unfolded, times one large matrix.

    On a processor the convolution of fc6 runs at half the speed of the matrix product, and on a GPU in half precision
    somewhat slower too; in single precision there the product gains nothing for the memory that it takes.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolves [n, c, h, w]; without groups, and with a step of one."""
        faster = input.device.type == "cpu" or (input.is_cuda and input.itemsize < 4)
        if not faster or self.groups != 1 or self.stride != (1, 1) or self.dilation != (1, 1):
            return super().forward(input)
        padding = cast(tuple[int, int], self.padding)
        rows, columns = (
            side + 2 * pad - size + 1
            for side, pad, size in zip(input.shape[2:], padding, self.kernel_size, strict=True)
        )
        if min(rows, columns) < 1:
            return super().forward(input)  # says what is wrong
        last = self.weight.is_contiguous(memory_format=torch.channels_last)
        matrix = (self.weight.permute(0, 2, 3, 1) if last else self.weight).flatten(1)
        products = multiply(unfolded(input, self.kernel_size, padding, last), matrix, self.bias)
        return products.view(len(input), rows, columns, -1).permute(0, 3, 1, 2)


def unfolded(input: Tensor, kernel: tuple[int, ...], padding: tuple[int, int], channels_last: bool) -> Tensor:
    """Returns what each place of the kernel sees of [n, c, h, w], as the rows of a matrix.

    Args:
        input: the map.
        kernel: its rows and columns.
        padding: zeros around the map.
        channels_last: whether a row holds all channels of a cell together, or all cells of a channel.
    """
    if any(padding):
        input = functional.pad(input, (padding[1], padding[1], padding[0], padding[0]))
    places = input.permute(0, 2, 3, 1).unfold(1, kernel[0], 1).unfold(2, kernel[1], 1)
    places = places.permute(0, 1, 2, 4, 5, 3) if channels_last else places
    return places.flatten(3).flatten(0, 2)


def multiply(rows: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """Returns rows times the transposed matrix, plus the bias."""
    if rows.is_cuda or rows.dtype != torch.float32 or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return functional.linear(rows, matrix, bias)
    return cast(Tensor, Product.apply(rows, matrix, bias)) if _has_onednn() else functional.linear(rows, matrix, bias)


def _has_onednn() -> bool:
    return torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class Product(torch.autograd.Function):
    """A linear layer computed by oneDNN, which torch itself takes for half precision only, and is faster."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
        """Multiplies."""
        ctx.save_for_backward(rows, matrix)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, matrix, bias, "none", [], "")
        return product

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of rows, matrix and bias."""
        rows, matrix = ctx.saved_tensors
        of_rows, of_matrix, of_bias = ctx.needs_input_grad
        return (
            gradient @ matrix if of_rows else None,
            gradient.t() @ rows if of_matrix else None,
            gradient.sum(0) if of_bias else None,
        )
