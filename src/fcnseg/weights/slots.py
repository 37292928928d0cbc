"""Where the layers of the authors' files belong in our nets, and what becomes of the layers that we compute instead."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from fcnseg.weights.surgery import convolutionalize

FINAL_UPSCORES = ("upscore", "upscore8", "upscore16")
"""What the release calls the upsampling to pixels, which differs from net to net."""

SKIP_UPSCORES = {32: "upscore2", 16: "upscore_pool4"}
"""What the release calls the upsampling between skips, by the stride that it starts from."""

COUNTER = "num_batches_tracked"
"""What batch normalisation counts, and nothing uses; old files lack it."""


class Slot(NamedTuple):
    """A place in the model where one layer of a file belongs.

    Attributes:
        name: our name of it.
        layers: what it may be called in the file.
        shapes: {kind: shape} of its tensors; None where any shape will do.
        fitted: puts a blob into such a shape.
        fixed: what the weight of a layer that is dropped must satisfy; None where the layer is loaded.
        key: of the configuration, which decides what the model computes where it loads nothing.
    """

    name: str
    layers: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...] | None]
    fitted: Callable[[Tensor, tuple[int, ...]], Tensor]
    fixed: Callable[[Tensor], bool] | None = None
    key: str = ""

    def fit(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Returns what is to be loaded, and everything that does not fit, each to be put behind the layer's name.

        Args:
            tensors: of the layer, by kind.
        """
        state: dict[str, Tensor] = {}
        faults = [f".{kind} is missing" for kind in self.shapes if kind not in tensors]
        if not tensors.keys() <= self.shapes.keys():
            faults.append(f" has {' and '.join(tensors)}, needed {' and '.join(self.shapes)} alone")
        for kind, shape in self.shapes.items():
            if kind not in tensors:
                continue
            try:
                state[kind] = tensors[kind] if shape is None else self.fitted(tensors[kind], shape)
            except ValueError as error:
                faults.append(f".{kind}: {error}")
        if self.fixed is None:
            return state, faults
        if not faults and not self.fixed(state["weight"]):
            faults.append(f" differs from {self.name}, which the model computes without weights ({self.key})")
        return {}, faults


def slots(model: nn.Module, batch_norm: bool = False) -> Iterator[Slot]:
    """Yields the places of an FCN or a backbone: convolutions, upsampling, and the factors of the at-once nets.

    Args:
        model: an FCN or a backbone.
        batch_norm: whether batch normalisation is a place too; Caffe's files spread it over two layers.
    """
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if isinstance(module, nn.Conv2d) or (batch_norm and isinstance(module, nn.BatchNorm2d)):
            shapes = {kind: tuple(tensor.shape) for kind, tensor in module.state_dict().items() if kind != COUNTER}
            yield Slot(name, (last,), shapes, _as_convolution)
        elif last.startswith("upsample") and hasattr(module, "factor"):
            # The type itself is out of reach: it belongs to a layer above this one.
            channels, kernel, factor = (cast(int, getattr(module, part)) for part in ("channels", "kernel", "factor"))
            stride = int(last.removeprefix("upsample"))
            final = stride == factor
            layers = FINAL_UPSCORES if final else (SKIP_UPSCORES.get(stride, last),)
            learned = next(module.parameters(), None) is not None
            shapes = {"weight": (channels, channels, kernel, kernel)}
            key = f"model.learn_{'final' if final else 'intermediate'}=true learns it"
            yield Slot(name, layers, shapes, _as_upsampling, None if learned else is_bilinear, key)
    for stride, factor in getattr(model, "scales", {}).items():
        same = partial(_is_filled_with, number=factor)
        layer = f"scale_pool{stride.bit_length() - 1}"
        yield Slot(f"the factor {factor}", (layer,), {"weight": None}, _as_given, same, "model.scales sets it")


def fill(
    model: nn.Module, layers: Mapping[str, Mapping[str, Tensor]], places: Iterable[Slot], ignore: Collection[str] = ()
) -> None:
    """Fills a net from the layers of a file, whole or not at all.

    Args:
        model: the net.
        layers: {layer: {kind: tensor}}, the layer under the authors' name or under ours.
        places: of the net; each must be filled.
        ignore: layers to leave out, of the file or of the net.

    Raises:
        ValueError: lists all layers that are missing, that the net does not have, or that do not fit; the net is left
            as it was.
    """
    places = list(places)
    by_layer = {layer: slot for slot in places for layer in (slot.name, *slot.layers)}
    state: dict[str, Tensor] = {}
    filled, unknown, faults = set[str](), list[str](), list[str]()
    for layer in (layer for layer in layers if layer not in ignore):
        slot = by_layer.get(layer)
        if slot is None:
            unknown.append(layer)
        elif slot.name in filled:
            faults.append(f"{layer} is a second layer for {slot.name}")
        else:
            filled.add(slot.name)
            fitting, said = slot.fit(layers[layer])
            state |= {f"{slot.name}.{kind}": tensor for kind, tensor in fitting.items()}
            faults += [f"{layer}{fault}" for fault in said]
    missing = [slot for slot in places if slot.fixed is None and slot.name not in filled]
    if lacking := [slot.name for slot in missing if not any(layer in ignore for layer in slot.layers)]:
        faults.append(f"missing layers: {', '.join(lacking)}")
    if unknown:
        faults.append(f"{type(model).__name__} has no layers {', '.join(unknown)} (ignore= leaves layers out)")
    if faults:
        raise ValueError(f"the weights do not fit {type(model).__name__}: {'; '.join(faults)}")
    model.load_state_dict(state, strict=False)


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
    return bool(((tensor.double() - number).abs() <= _tolerance(tensor) * abs(number)).all())


def _tolerance(tensor: Tensor) -> float:
    # Half precision rounds by more than what tells a learned kernel from a bilinear one in single precision.
    return max(1e-6, torch.finfo(tensor.dtype).eps) if tensor.is_floating_point() else 1e-6


def is_bilinear(weight: Tensor) -> bool:
    """Tells whether an upsampling layer's weight is bilinear on the diagonal of classes and zero elsewhere.

    The tolerance is 1e-6, or the rounding of the weight's type where that is more.

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
    return bool((rest.abs() <= _tolerance(weight)).all())
