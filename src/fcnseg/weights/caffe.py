"""Weights under the names of the authors' Caffe layers."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fcnseg.weights.surgery import fitted


def load_blobs(model: nn.Module, blobs: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Fills a net from blobs under the authors' layer names (conv1_1, fc6, score_fr, score_pool4, ...).

    Args:
        model: an FCN or a backbone; a layer is found by the last part of its name.
        blobs: {layer: [weight, bias]}, inner products as [out, in].

    Raises:
        ValueError: a layer that is missing, that the model does not have, or whose shape does not fit; the model
            is left as it was.
    """
    ours = {name.rpartition(".")[2]: name for name, module in model.named_modules() if _has_parameters(module)}
    if unknown := sorted(set(blobs) - set(ours)):
        raise ValueError(f"{type(model).__name__} has no layers {', '.join(unknown)}")
    tensors: dict[str, Tensor] = {}
    for layer, values in blobs.items():
        if len(values) > 2:
            raise ValueError(f"the layer {layer} has {len(values)} blobs: a convolution has a weight and a bias")
        for kind, value in zip(("weight", "bias"), values, strict=False):
            tensors[f"{ours[layer]}.{kind}"] = torch.from_numpy(np.asarray(value))
    model.load_state_dict(fitted(model, tensors, {}, "the set of blobs"), strict=False)


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None
