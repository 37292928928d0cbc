"""Fills a backbone with pretrained weights, and with the normalisation that belongs to them."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor
from torch.hub import get_dir

from fcnseg.backbones.base import Backbone
from fcnseg.weights.files import read_tensors
from fcnseg.weights.normalization import TORCHVISION, Normalization, from_metadata
from fcnseg.weights.surgery import fitted


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
        ValueError: the file does not fit, or nobody says its preprocessing.
    """
    if weights is None or weights == "none":
        if stated is not None:
            backbone.normalize_with(stated)
        return "none"
    if weights == "imagenet":
        _fill(backbone, imagenet_tensors(backbone.torchvision_model), "torchvision's ImageNet file")
        backbone.normalize_with(stated or TORCHVISION)
        return "imagenet"
    path = Path(weights)
    tensors, metadata = read_tensors(path)
    normalization = stated or from_metadata(metadata)
    if normalization is None:
        raise ValueError(
            f"{path} does not say how its images were normalised: set backbone.normalization=caffe or torchvision, "
            "and backbone.mean=[red,green,blue] where its mean differs"
        )
    _fill(backbone, tensors, str(path))
    backbone.normalize_with(normalization)
    return path.name


def _fill(backbone: Backbone, tensors: dict[str, Tensor], source: str) -> None:
    own = any(f"{layer}.weight" in tensors for layer in backbone.torchvision_names)
    backbone.load_state_dict(fitted(backbone, tensors, {} if own else backbone.torchvision_names, source), strict=False)


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
