"""Fills a backbone with pretrained weights, and with the normalisation that belongs to them."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.hub import get_dir

from fcnseg.backbones.base import Backbone
from fcnseg.backbones.layers import Conv, named_layers
from fcnseg.weights.files import read_tensors
from fcnseg.weights.normalization import CAFFE, Normalization, from_metadata, settled
from fcnseg.weights.released import released_file
from fcnseg.weights.surgery import LEFT_OVER, fitted, for_channels


class Pretrained(NamedTuple):
    """Weights as they come from a file.

    Attributes:
        tensors: by the file's names.
        names: {our layer: the file's layer}, where they differ.
        normalization: how the images of these weights were prepared.
        label: where they came from, for the results.
        source: the same for error messages.
    """

    tensors: dict[str, Tensor]
    names: dict[str, str]
    normalization: Normalization
    label: str
    source: str


def load_weights(backbone: Backbone, weights: str | Path | None, stated: Normalization | None = None) -> str:
    """Loads weights by what the configuration says of them.

    Args:
        backbone: filled in place; left as it was if anything fails.
        weights: None or "none", "imagenet", or a local file.
        stated: the preprocessing of a local file that does not say it itself.

    Returns:
        Where the weights came from, for the results: "none", "imagenet" or the file's name.

    Raises:
        FileNotFoundError: no such file, or the download failed.
        ValueError: the file does not fit, or nobody says its preprocessing, or what is said contradicts it.
    """
    if weights is None or weights == "none":
        if stated is not None:
            backbone.normalize_with(stated)
        return "none"
    found = pretrained(type(backbone), weights, stated)
    first = cast(Conv, backbone.layers[0]).name
    key = f"{found.names.get(first, first)}.weight"
    tensors = dict(found.tensors)
    if key in tensors and tensors[key].ndim == 4 and tensors[key].shape[1] == 3 != backbone.in_channels:
        tensors[key] = for_channels(tensors[key], backbone.in_channels)
    unused = [*LEFT_OVER, *(f"{found.names.get(layer, layer)}." for layer in backbone.dropped)]
    backbone.load_state_dict(fitted(backbone, tensors, found.names, found.source, unused), strict=False)
    backbone.normalize_with(found.normalization)
    return found.label


def pretrained(backbone: type[Backbone], weights: str | Path, stated: Normalization | None = None) -> Pretrained:
    """Reads the weights that belong to a backbone and its classifier.

    "imagenet" are torchvision's, or the original Caffe ones where the stated normalisation is Caffe's or torchvision
    has none.

    Args:
        backbone: says the names and the published files.
        weights: "imagenet", or a local file.
        stated: as load_weights.

    Raises:
        FileNotFoundError, ValueError: as load_weights.
    """
    if weights != "imagenet":
        return _from_file(backbone, Path(weights), stated)
    if comes_from_caffe(backbone, stated):
        settled(stated, CAFFE, f"Caffe's {backbone.caffe_weights}")
        return _from_file(backbone, released_file(cast(str, backbone.caffe_weights)), stated)
    model = backbone.torchvision_model
    if model is None:
        raise ValueError(f"nobody publishes ImageNet weights of {backbone.__name__}: name a file")
    source = f"torchvision's ImageNet file of {model}"
    normalization = settled(stated, backbone.imagenet_normalization, source)
    return Pretrained(imagenet_tensors(model), dict(backbone.torchvision_names), normalization, "imagenet", source)


def comes_from_caffe(backbone: type[Backbone], stated: Normalization | None) -> bool:
    """Tells whether "imagenet" means the original Caffe weights of this backbone."""
    wanted = backbone.torchvision_model is None or (stated is not None and stated.order == "bgr")
    return wanted and backbone.caffe_weights is not None


def _from_file(backbone: type[Backbone], path: Path, stated: Normalization | None) -> Pretrained:
    tensors, metadata = read_tensors(path)
    normalization = settled(stated, from_metadata(metadata), str(path))
    return Pretrained(tensors, _names(backbone, tensors), normalization, path.name, str(path))


def _names(backbone: type[Backbone], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Tells whether a file has our names or torchvision's: those under which more layers are found."""
    layers = [layer.name for layer in named_layers(backbone.make_layers("same", 0.0))]

    def found(names: Mapping[str, str]) -> int:
        return sum(f"{names.get(layer, layer)}.weight" in tensors for layer in layers)

    return max({}, dict(backbone.torchvision_names), key=found)


def imagenet_tensors(model: str) -> dict[str, Tensor]:
    """Fetches torchvision's ImageNet weights through its own mechanism and cache.

    Args:
        model: torchvision's name of the classifier.

    Raises:
        FileNotFoundError: not cached and not to be had; says which file to put where.
    """
    from torchvision.models import get_model_weights

    entry = get_model_weights(model)["IMAGENET1K_V1"]
    file = Path(get_dir()) / "checkpoints" / Path(entry.url).name
    try:
        state: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            entry.url, map_location="cpu", check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise FileNotFoundError(
            f"the ImageNet weights of {model} are not here and could not be fetched ({error}). Put {file.name} "
            f"at {file}, name a file with backbone.weights=PATH, or start without: backbone.weights=none"
        ) from error
    return state
