"""Net surgery: a classifier's weights put into its fully convolutional form.

Paper: Sec. 3.1
"""

import math
from collections.abc import Mapping

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


def fitted(
    module: nn.Module, tensors: Mapping[str, Tensor], names: Mapping[str, str], source: str
) -> dict[str, Tensor]:
    """Finds a tensor for every parameter of the module, inner products reshaped to convolutions.

    Args:
        module: whose parameters are to be filled.
        tensors: what the source offers.
        names: {our layer: the source's layer}; parameters keep their last part (weight, bias).
        source: named in errors.

    Returns:
        A complete state for the module's parameters.

    Raises:
        ValueError: names every parameter that is missing or of another shape.
    """
    state, faults = {}, []
    for name, parameter in module.named_parameters():
        layer, _, kind = name.rpartition(".")
        key = f"{names.get(layer, layer)}.{kind}"
        if key not in tensors:
            faults.append(f"{key} is missing")
            continue
        try:
            state[name] = _as_shape(tensors[key], tuple(parameter.shape))
        except ValueError as error:
            faults.append(f"{key}: {error}")
    if faults:
        shown = "; ".join(faults[:6]) + (f"; and {len(faults) - 6} more" if len(faults) > 6 else "")
        raise ValueError(f"{source} does not fit {type(module).__name__}: {shown}")
    return state


def _as_shape(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(tensor.shape) == shape:
        return tensor
    if len(shape) == 4 and tensor.ndim == 2:
        return convolutionalize(tensor, shape)
    raise ValueError(f"shape {list(tensor.shape)}, needed {list(shape)}")
