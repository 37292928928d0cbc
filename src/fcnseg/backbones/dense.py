"""An inner product that became a convolution, computed as a matrix product where that is the faster form."""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fcnseg.backbones.convolution import fastest_format
from fcnseg.backbones.heap import trim

Net = TypeVar("Net", bound=nn.Module)


class Last(NamedTuple):
    """A layer's weights, taken when a pass begins so that their gradient is computed at the end of the way back.

    By then the maps of the other layers are gone: the gradient of fc6's weights alone is as large as all of them.

    Attributes:
        matrix: the weights.
        factors: what the gradient is the product of, from when it is known until it is computed.
    """

    matrix: Tensor
    factors: list[tuple[Tensor, Tensor]]


class DenseConv2d(nn.Conv2d):
    """A convolution with many channels over few cells, such as fc6: its inputs unfolded, times one large matrix.

    On a processor the convolution of fc6 runs at half the speed of the matrix product, and on a GPU in half precision
    somewhat slower too; in single precision there the product gains nothing for the memory that it takes.
    """

    def last(self) -> Last | None:
        """Returns the weights for a pass that begins now; None where the order of gradients is not ours to choose."""
        if not (torch.is_grad_enabled() and self.weight.requires_grad and takes_onednn(self.weight)):
            return None
        factors: list[tuple[Tensor, Tensor]] = []
        return Last(cast(Tensor, GradientLast.apply(self._matrix(), factors)), factors)

    def _matrix(self) -> Tensor:
        last = self.weight.is_contiguous(memory_format=torch.channels_last)
        return (self.weight.permute(0, 2, 3, 1) if last else self.weight).flatten(1)

    def forward(self, input: Tensor, last: Last | None = None) -> Tensor:
        """Convolves [n, c, h, w], with weights that were taken before if any; without groups, in steps of one."""
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
        channels_last = self.weight.is_contiguous(memory_format=torch.channels_last)
        seen = unfolded(input, self.kernel_size, padding, channels_last)
        matrix, factors = last or (self._matrix(), None)
        products = multiply(seen, matrix, self.bias, factors)
        return products.view(len(input), rows, columns, -1).permute(0, 3, 1, 2)


def laid_out(net: Net, device: str) -> Net:
    """Puts the weights of a net into the order of values that this kind of device computes fastest with.

    On a processor torch's fused optimisers copy each gradient in channels-last order, which for fc6 alone takes 400 MiB
    and 5 % of a training step; its matrix product is as fast in the usual order.
    """
    net = net.to(memory_format=fastest_format(device))
    if device == "cpu":
        for module in net.modules():
            if isinstance(module, DenseConv2d):
                module.weight.data = module.weight.data.contiguous()
    return net


def taken_last(modules: Iterable[tuple[str, nn.Module]]) -> dict[str, Last]:
    """Takes, of modules and their names, the weights whose gradients are to be computed last."""
    taken = {name: module.last() for name, module in modules if isinstance(module, DenseConv2d)}
    return {name: last for name, last in taken.items() if last}


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


def multiply(
    rows: Tensor, matrix: Tensor, bias: Tensor | None, factors: list[tuple[Tensor, Tensor]] | None = None
) -> Tensor:
    """Returns rows times the transposed matrix, plus the bias.

    Args:
        rows: what the places of the kernel see.
        matrix: the weights.
        bias: one value a channel.
        factors: see Last; None has the gradient of the weights computed with the others.
    """
    if not takes_onednn(rows):
        return functional.linear(rows, matrix, bias)
    return cast(Tensor, Product.apply(rows, matrix, bias, factors))


def takes_onednn(tensor: Tensor) -> bool:
    """Whether products with tensors like this one are left to oneDNN."""
    return (
        tensor.device.type == "cpu"
        and tensor.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and torch._C._has_mkldnn
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


class Product(torch.autograd.Function):
    """A linear layer computed by oneDNN, which torch itself takes for half precision only, and is faster."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, matrix: Tensor, bias: Tensor | None, factors: list[tuple[Tensor, Tensor]] | None
    ) -> Tensor:
        """Multiplies."""
        ctx.save_for_backward(rows, matrix)
        ctx.factors = factors
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, matrix, bias, "none", [], "")
        return product

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of rows, matrix and bias; GradientLast computes that of a matrix with factors."""
        rows, matrix = ctx.saved_tensors
        of_rows, of_matrix, of_bias, _ = ctx.needs_input_grad
        later = of_matrix and ctx.factors is not None
        if later:
            ctx.factors.append((gradient, rows))
        nothing = matrix.new_zeros(()).expand_as(matrix) if later else None  # takes no memory
        return (
            gradient @ matrix if of_rows else None,
            gradient.t() @ rows if of_matrix and not later else nothing,
            gradient.sum(0) if of_bias else None,
            None,
        )


class GradientLast(torch.autograd.Function):
    """A matrix as it is, whose gradient is computed behind those of all layers that were computed after this.

    The way back takes what is ready in the reverse of the order in which it came.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, factors: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Returns the matrix."""
        ctx.factors = factors
        return matrix.view_as(matrix)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Multiplies the factors, where they were left for this."""
        if not ctx.factors:
            return gradient, None
        trim()
        of_product, rows = ctx.factors.pop()
        return of_product.t() @ rows, None
