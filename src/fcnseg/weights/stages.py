"""Coarse to fine: a net with one more skip starts from the finished coarser one.

Paper: Sec. 4.2
"""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fcnseg.weights.files import check_sums, read_checkpoint, read_tensors
from fcnseg.weights.nets import AT_ONCE, NETS
from fcnseg.weights.normalization import Normalization, from_metadata
from fcnseg.weights.released import CLASSIFIERS, PUBLISHED, released_file
from fcnseg.weights.slots import COUNTER, FINAL_UPSCORES, Slot, fill, is_bilinear, slots

WEIGHTS_FILES = (".caffemodel", ".safetensors", ".pth", ".pt", ".bin")
"""Endings of files that hold weights alone, unlike a checkpoint of ours, which says what net it holds."""

_LEARNED = "has learned upsampling (take model.learn_intermediate and model.learn_final as they were for it):"


class Stage(NamedTuple):
    """A trained net as its checkpoint tells of it.

    Attributes:
        path: the checkpoint.
        state: the net's tensors.
        record: the resolved configuration and the normalisation, as plain containers.
    """

    path: Path
    state: dict[str, Tensor]
    record: dict[str, Any]

    @property
    def normalization(self) -> Normalization:
        """The normalisation that the net was trained with."""
        said = self.record["normalization"]
        return Normalization(said["order"], said["scale"], tuple(said["mean"]), tuple(said["std"]))


def find_checkpoint(path: Path) -> Path:
    """Returns the checkpoint that a path names: the file itself, or the last one of a run folder.

    Raises:
        FileNotFoundError: there is none.
    """
    if path.is_dir():
        last = path / "checkpoints" / "last.ckpt"
        if not last.is_file() and (previous := last.with_name("previous.ckpt")).is_file():
            raise FileNotFoundError(
                f"{path} was killed while it wrote {last}, which is not there: name the checkpoint before it, "
                f"{previous}, or let the training go on"
            )
        if not last.is_file():
            raise FileNotFoundError(f"{path} is no finished run: there is no {last}")
        return last
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint and no run folder {path}")
    return path


def read_stage(path: Path, prefix: str = "model.") -> Stage:
    """Reads a checkpoint that training wrote.

    Args:
        path: a checkpoint, or a run folder.
        prefix: what the task puts before the net's names.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or training did not write it.
    """
    file = find_checkpoint(path)
    content = read_checkpoint(file)
    check_sums(file)
    if "fcnseg" not in content or "state_dict" not in content:
        raise ValueError(f"{file} was not written by fcnseg.train: it does not say which net it holds")
    state = {
        name.removeprefix(prefix): value for name, value in content["state_dict"].items() if name.startswith(prefix)
    }
    return Stage(file, state, content["fcnseg"] | {"steps": content.get("global_step", 0)})


def start_from_coarser(model: nn.Module, stage: Stage, new_layers: Iterable[str]) -> None:
    """Copies a coarser net; only score layers and upsampling that it cannot have stay as they are.

    Args:
        model: the finer net.
        stage: the coarser one.
        new_layers: layers that the coarser net may lack; score layers among them stay zero.

    Raises:
        ValueError: names what is missing, what is left over, or whose shape differs; the model is left as it was.
    """
    ours, new = model.state_dict(), tuple(f"{layer}." for layer in new_layers)
    missing = [name for name in ours if name not in stage.state and not name.startswith(new)]
    left_over = [name for name in stage.state if name not in ours and not name.startswith("upsample")]
    # The coarser net's last upsampling may bear the name of one between skips here, with another kernel.
    common = {name: value for name, value in stage.state.items() if name in ours}
    fitting = {name: value for name, value in common.items() if value.shape == ours[name].shape}
    shapes = [name for name in common if name not in fitting and not name.startswith(new)]
    faults = [
        ("lacks", missing),
        ("has layers unknown to the finer net:", left_over),
        (_LEARNED, _dropped(stage.state, ours)),
        ("has other shapes in", shapes),
    ]
    said = "; ".join(f"{what} {', '.join(names[:4])}" for what, names in faults if names)
    if said:
        raise ValueError(f"init_from={stage.path} is not the coarser form of this net: it {said}")
    model.load_state_dict(fitting, strict=False)


def _dropped(state: Mapping[str, Tensor], ours: Collection[str]) -> list[str]:
    """Names the learned upsampling of a net that a finer one, or one of the same stride, computes without weights."""
    finer = any(name not in state for name in ours if name.startswith("score_"))
    final = f"{_final_upsampling({name.rpartition('.')[0] for name in state})}.weight" if finer else ""
    upsampling = {name: value for name, value in state.items() if name.startswith("upsample") and name != final}
    return [name for name, value in upsampling.items() if name not in ours and not is_bilinear(value)]


def _final_upsampling(layers: Iterable[str]) -> str | None:
    """Returns our name of the upsampling to pixels in a net of these layers; None where it is fixed."""
    found = [re.fullmatch(r"(upsample|score_pool)(\d{1,3})", layer) for layer in layers]
    numbers = [(match[1], int(match[2])) for match in found if match]
    finest = min((2**number for what, number in numbers if what == "score_pool"), default=None)
    strides = (number for what, number in numbers if what == "upsample")
    return next((f"upsample{stride}" for stride in strides if stride <= (finest or stride)), None)


def published_file(init_from: str) -> Path | None:
    """Returns the file of a whole net that was published elsewhere, fetched if need be; None for a run of ours.

    Args:
        init_from: a name in weights/released.py, a file (.caffemodel, .safetensors, .pth), a checkpoint or a run.

    Raises:
        FileNotFoundError: a published file that is not here and cannot be fetched.
        ValueError: the name is that of a classifier.
    """
    if init_from in CLASSIFIERS:
        raise ValueError(f"init_from={init_from} is a classifier, not a net: set backbone.weights=imagenet instead")
    if init_from in PUBLISHED:
        return released_file(init_from)
    path = Path(init_from)
    return path if path.suffix in WEIGHTS_FILES and not path.is_dir() else None


def start_from_published(model: nn.Module, path: Path, new_layers: Iterable[str]) -> Normalization | None:
    """Fills a net from a published one under the authors' layer names, the same net or a coarser one.

    Args:
        model: the net.
        path: a .caffemodel, or tensors under the same names.
        new_layers: layers that a coarser net lacks; score layers among them stay zero.

    Returns:
        How the images of these weights were prepared, if the file says so.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or does not fit; the model is left as it was.
    """
    tensors, metadata = read_tensors(path)
    layers = _by_layer(tensors, path)
    _check_factors(model, path, layers, metadata)
    places = list(slots(model, batch_norm=True))
    lacking = {layer for layer in new_layers if layer not in layers and not layer.startswith("upsample")}
    try:
        fill(model, layers, places, lacking | _upscores(layers, places) if lacking else ())
    except ValueError as error:
        raise ValueError(
            f"init_from={path} is neither this net nor its coarser form (weights of a classifier alone go to "
            f"backbone.weights): {error}"
        ) from error
    return from_metadata(metadata)


def _by_layer(tensors: Mapping[str, Tensor], path: Path) -> dict[str, dict[str, Tensor]]:
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        if kind == COUNTER:
            continue
        dense = tensor.layout == torch.strided and tensor.device.type == "cpu" and tensor.is_floating_point()
        # A tensor of stride 0 may claim any size; its file does not hold as much.
        if not (dense and tensor.numel() * tensor.itemsize <= tensor.untyped_storage().nbytes()):
            raise ValueError(f"init_from={path}: {name!r} is no plain tensor of floats: take it out of the file")
        layers.setdefault(layer or name, {})[kind] = tensor.detach()
    return layers


def _upscores(layers: Collection[str], places: Iterable[Slot]) -> set[str]:
    """Returns the upsampling to leave out of a coarser file: its last one, and all that it has not."""
    finals = {*FINAL_UPSCORES, _final_upsampling(layers) or "upscore"}
    offered = set(layers) - finals
    upsampling = [slot for slot in places if slot.name.startswith("upsample")]
    absent = [slot.layers for slot in upsampling if offered.isdisjoint((slot.name, *slot.layers))]
    return finals.union(*absent)


def _check_factors(model: nn.Module, path: Path, layers: Collection[str], metadata: Mapping[str, Any]) -> None:
    net, scales = metadata.get("net"), getattr(model, "scales", {})
    at_once = net == AT_ONCE or any(layer.startswith("scale_") for layer in layers)
    if at_once and not scales:
        raise ValueError(
            f"init_from={path} is a net with factors on its skips, which this one lacks: take model=fcn8s_atonce, or "
            "set model.scales"
        )
    caffe = ".caffemodel" in (path.suffix, Path(metadata.get("source", "")).suffix)
    skips = any(layer.startswith("score_pool") for layer in layers)
    if scales and skips and not at_once and (caffe or net in NETS):
        raise ValueError(
            f"init_from={path} is a net without factors on its skips, but model.scales={list(scales.values())}: "
            "set model.scales=[], or take the file of an at-once net"
        )
