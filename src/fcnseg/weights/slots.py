"""Where the layers of the authors' files belong in our nets, and what becomes of the layers that we compute instead."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from fcnseg.weights.surgery import convolutionalize

FINAL_UPSCORES = ("upscore", "upscore8", "upscore16")
"""What the release calls the upsampling to pixels, which differs from net to net."""

SKIP_UPSCORES = {32: "upscore2", 16: "upscore_pool4"}
"""What the release calls the upsampling between skips, by the stride that it starts from."""


class Slot(NamedTuple):
    """A place in the model where one layer of a file belongs.

    Attributes:
        name: our name of it.
        layers: what it may be called in the file.
        shapes: {kind: shape} of its blobs in order; None where any shape will do.
        fitted: puts a blob into such a shape.
        fixed: what the weight of a layer that is dropped must satisfy; None where the layer is loaded.
    """

    name: str
    layers: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...] | None]
    fitted: Callable[[Tensor, tuple[int, ...]], Tensor]
    fixed: Callable[[Tensor], bool] | None = None

    def fit(self, tensors: Sequence[Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Returns what is to be loaded, and everything that does not fit, each to be put behind the layer's name."""
        state: dict[str, Tensor] = {}
        faults = [f".{kind} is missing" for kind in list(self.shapes)[len(tensors) :]]
        if len(tensors) > len(self.shapes):
            faults.append(f" has {len(tensors)} blobs, needed {' and '.join(self.shapes)} alone")
        for (kind, shape), tensor in zip(self.shapes.items(), tensors, strict=False):
            try:
                state[kind] = tensor if shape is None else self.fitted(tensor, shape)
            except ValueError as error:
                faults.append(f".{kind}: {error}")
        if self.fixed is None:
            return state, faults
        if not faults and not self.fixed(state["weight"]):
            faults.append(f" differs from {self.name}, which the model computes without weights")
        return {}, faults


def slots(model: nn.Module) -> Iterator[Slot]:
    """Yields the places of an FCN or a backbone: convolutions, upsampling, and the factors of the at-once nets."""
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if isinstance(module, nn.Conv2d):
            shapes = {kind: tuple(parameter.shape) for kind, parameter in module.named_parameters(recurse=False)}
            yield Slot(name, (last,), shapes, _as_convolution)
        elif last.startswith("upsample") and hasattr(module, "factor"):
            # The type itself is out of reach: it belongs to a layer above this one.
            channels, kernel, factor = (cast(int, getattr(module, part)) for part in ("channels", "kernel", "factor"))
            stride = int(last.removeprefix("upsample"))
            layers = FINAL_UPSCORES if stride == factor else (SKIP_UPSCORES.get(stride, last),)
            learned = next(module.parameters(), None) is not None
            shapes = {"weight": (channels, channels, kernel, kernel)}
            yield Slot(name, layers, shapes, _as_upsampling, None if learned else is_bilinear)
    for stride, factor in getattr(model, "scales", {}).items():
        same = partial(_is_filled_with, number=factor)
        yield Slot(f"the factor {factor}", (f"scale_pool{stride.bit_length() - 1}",), {"weight": None}, _as_given, same)


def _as_given(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(tensor.shape) != shape:
        raise ValueError(f"shape {list(tensor.shape)}, needed {list(shape)}")
    return tensor


def _as_convolution(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    flat = tensor.ndim == 2 and len(shape) == 4
    return convolutionalize(tensor, shape) if flat else _as_given(tensor, shape)


def _as_upsampling(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(tensor.shape) == (shape[0], 1, *shape[2:]):
        # One group a class: each class from itself alone.
        diagonal = torch.arange(shape[0])
        whole = tensor.new_zeros(shape)
        whole[diagonal, diagonal] = tensor[:, 0]
        return whole
    return _as_given(tensor, shape)


def _is_filled_with(tensor: Tensor, number: float) -> bool:
    return bool(((tensor.double() - number).abs() <= 1e-6 * abs(number)).all())


def is_bilinear(weight: Tensor) -> bool:
    """Tells whether an upsampling layer's weight is bilinear on the diagonal of classes and zero elsewhere, to 1e-6.

    Args:
        weight: [k, k, size, size], or [k, 1, size, size] with one group a class.
    """
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or weight.shape[1] not in (1, len(weight)):
        return False
    size = weight.shape[2]
    line = 1 - (torch.arange(size, dtype=torch.float64) - (size - 1) / 2).abs() / ((size + 1) // 2)
    diagonal = torch.arange(len(weight))
    rest = weight.to(torch.float64, copy=True)
    rest[diagonal, diagonal % weight.shape[1]] -= line[:, None] * line
    return bool((rest.abs() <= 1e-6).all())
