"""Net surgery: a classifier's weights put into its fully convolutional form.

Paper: Sec. 3.1
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


def convolutionalize(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Reshapes an inner product's weight into the convolution that computes the same at every place.

    Args:
        weight: [outputs, inputs * kernel * kernel].
        shape: (outputs, inputs, kernel, kernel).

    Raises:
        ValueError: the numbers of elements differ.
    """
    if weight.ndim != 2 or weight.shape[0] != shape[0] or weight.shape[1] != math.prod(shape[1:]):
        raise ValueError(f"an inner product of shape {list(weight.shape)} is no convolution of shape {list(shape)}")
    return weight.reshape(shape)


def spread_out(weight: Tensor) -> Tensor:
    """Lays a kernel onto every second cell of one with twice its side, zeros between: the same on a map twice as fine.

    Args:
        weight: [outputs, inputs, kernel, kernel].
    """
    wide = weight.new_zeros(*weight.shape[:2], 2 * weight.shape[2], 2 * weight.shape[3])
    wide[:, :, ::2, ::2] = weight
    return wide


LEFT_OVER = ("score", "upscore", "upsample", "scale_", "loss", "aux", "classifier", "fc")
"""How layers of a file begin that a backbone may leave out: heads of classifiers, of other nets, auxiliary ones."""


def fitted(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    names: Mapping[str, str],
    source: str,
    left_over: Sequence[str] = LEFT_OVER,
) -> dict[str, Tensor]:
    """Finds a tensor for every parameter and statistic of the module, inner products reshaped to convolutions.

    A kernel with twice the side of the source's takes its values at every second cell.

    Args:
        module: whose tensors are to be filled.
        tensors: what the source offers.
        names: {our layer: the source's layer}; tensors keep their last part (weight, bias, running_mean ...).
        source: named in errors.
        left_over: beginnings of layers that the source may have besides; any other means that it is another net.

    Returns:
        A complete state, but for batch normalisation's counters, which old files lack.

    Raises:
        ValueError: names every tensor that is missing, of another shape, or has no place in the module.
    """
    state, faults, used = {}, list[str](), set[str]()
    for name, parameter in module.state_dict().items():
        layer, _, kind = name.rpartition(".")
        key = f"{names.get(layer, layer)}.{kind}"
        used.add(key)
        if kind == "num_batches_tracked":
            continue
        if key not in tensors:
            faults.append(f"{key} is missing")
            continue
        try:
            state[name] = _as_shape(tensors[key], tuple(parameter.shape))
        except ValueError as error:
            faults.append(f"{key}: {error}")
    more = sorted({key.rpartition(".")[0] for key in set(tensors) - used if not key.startswith(tuple(left_over))})
    faults += [f"{layer} has no place in it" for layer in more]
    if faults:
        shown = "; ".join(faults[:6]) + (f"; and {len(faults) - 6} more" if len(faults) > 6 else "")
        raise ValueError(f"{source} does not fit {type(module).__name__}: {shown}")
    return state


def for_channels(weight: Tensor, channels: int) -> Tensor:
    """Makes a first convolution's filters for three channels read another number of channels.

    One channel, a grey image, is read by the sum of the three filters; channels after the third by their mean, as the
    authors do for depth; two channels by half of the sum each.

    Args:
        weight: [outputs, 3, kernel, kernel].
        channels: that the images have.

    Returns:
        [outputs, channels, kernel, kernel].

    Paper: Sec. 5 (NYUDv2)
    """
    if channels < 3:
        return weight.sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels
    return torch.cat([weight, weight.mean(1, keepdim=True).expand(-1, channels - 3, -1, -1)], dim=1)


def _as_shape(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(tensor.shape) == shape:
        return tensor
    half = (*shape[:2], *(side // 2 for side in shape[2:]))
    flat = tensor.ndim == 2 and tensor.shape[:1] == shape[:1] and tensor.numel() == math.prod(half)
    if len(shape) == 4 and shape[2] % 2 == shape[3] % 2 == 0 and (flat or tuple(tensor.shape) == half):
        return spread_out(tensor.reshape(half))
    if len(shape) == 4 and tensor.ndim == 2:
        return convolutionalize(tensor, shape)
    raise ValueError(f"shape {list(tensor.shape)}, needed {list(shape)}")
