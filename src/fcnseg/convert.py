"""python -m fcnseg.convert: published weights as a safetensors file that says which net and which inputs they need."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fcnseg.messages import complained
from fcnseg.weights.nets import (
    AT_ONCE,
    FCN32S,
    NETS,
    PYTORCH_FCN_MEAN,
    UNKNOWN,
    detected,
    differences,
    inputs_of,
    layers_of,
)

if TYPE_CHECKING:
    from torch import Tensor

AUXILIARY = ("loss1/", "loss2/")
"""How the layers of GoogLeNet begin that only its training needs: half of the file."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; what the user can mend becomes one line and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m fcnseg.convert", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("source", type=Path, help="a .caffemodel, or a state dict of pytorch-fcn (.pth)")
    parser.add_argument("target", type=Path, help="the .safetensors file to write")
    parser.add_argument("--net", choices=NETS, help="which net it is, where the layers do not tell")
    parser.add_argument("--force", action="store_true", help="write over a target that exists")
    stated = parser.parse_args(arguments)
    with complained():
        convert(stated.source, stated.target, stated.net, stated.force)


def convert(source: Path, target: Path, net: str | None = None, force: bool = False) -> dict[str, str]:
    """Writes the weights of a source as a safetensors file and prints what became of each layer.

    Args:
        source: a .caffemodel, or a state dict of pytorch-fcn.
        target: the file to write, ending in .safetensors.
        net: name in NETS; None tells it by the layers.
        force: whether to write over a target that exists.

    Returns:
        The metadata written: source, sha256, net, and of a known net normalization and mean.

    Raises:
        FileExistsError: the target exists, and ``force`` is not set.
        FileNotFoundError: there is no source, or no folder for the target.
        PermissionError: the target's folder cannot be written to.
        ValueError: the source is damaged, holds code, or is something else; the target has another ending; the source
            is not the net that is stated.
        OSError: the target cannot be written.
    """
    import hashlib

    check_target(target, force)
    tensors = read_source(source)
    net = _told(net, tensors, source)
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    inputs = inputs_of(net, None if source.suffix == ".caffemodel" else PYTORCH_FCN_MEAN)
    metadata = {"source": source.name, "sha256": digest, "net": net} | inputs
    kept = _report(tensors)
    write(kept, target, metadata)
    print(f"net {net}" + (f", inputs BGR minus the mean (red, green, blue) {inputs['mean']}" if inputs else ""))
    print(
        f"wrote {target}: {sum(tensor.numel() for tensor in kept.values()):,} numbers, {target.stat().st_size:,} bytes"
    )
    if not inputs:
        print(
            "warning: the layers are those of no net that is known here, so the file does not say how its inputs are "
            "normalised: name the net with --net, or set backbone.normalization and backbone.mean where you use the "
            "file",
            file=sys.stderr,
        )
    return metadata


def check_target(target: Path, force: bool) -> None:
    """Refuses a target that cannot be written, before anything is read.

    Raises:
        FileExistsError, FileNotFoundError, PermissionError, ValueError: as ``convert``.
    """
    if target.suffix != ".safetensors":
        raise ValueError(f"the target {target} must end in .safetensors")
    if target.is_dir():
        raise FileExistsError(f"the target {target} is a folder: name another file")
    if not force and (target.exists() or target.is_symlink()):
        raise FileExistsError(f"the target {target} exists: name another file, or write over it with --force")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent} for the target {target.name}: make it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {target.parent} cannot be written to: choose another for {target.name}")


def read_source(source: Path) -> dict[str, "Tensor"]:
    """Reads the tensors of a .caffemodel or of pytorch-fcn's state dict, as dense float tensors that share nothing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, holds code, or is something else.
    """
    from fcnseg.weights.files import PICKLED, read_tensors

    if source.suffix not in (".caffemodel", *PICKLED):
        endings = ", ".join(PICKLED)
        raise ValueError(f"the source {source} must be a .caffemodel, or a state dict of pytorch-fcn ({endings})")
    tensors, _ = read_tensors(source)
    if source.suffix == ".caffemodel":
        return tensors
    if lacking := sorted({f"{layer}.weight" for layer in FCN32S} - set(tensors)):
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        raise ValueError(f"{source} is no state dict of pytorch-fcn: it lacks {', '.join(lacking[:3])}{more}")
    return {name: _plain(name, tensor, source) for name, tensor in tensors.items()}


def _plain(name: str, tensor: "Tensor", source: Path) -> "Tensor":
    import torch

    dense = tensor.layout == torch.strided and tensor.device.type == "cpu" and tensor.is_floating_point()
    # A tensor of stride 0 may claim any size; its file does not hold as much.
    if not (name.isprintable() and dense and tensor.numel() * tensor.itemsize <= tensor.untyped_storage().nbytes()):
        raise ValueError(f"{source} is no state dict of pytorch-fcn: {name!r} is no plain tensor of floats")
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _told(net: str | None, tensors: Mapping[str, "Tensor"], source: Path) -> str:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if net is None:
        return detected(shapes)
    said = differences(net, shapes)
    if net == AT_ONCE and source.suffix == ".caffemodel" and (lacking := sorted(NETS[net].marks - layers_of(shapes))):
        said.append(f"it lacks {', '.join(lacking)}, which only a port does without")
    if said:
        seen = detected(shapes)
        remedy = "leave --net out" if seen == UNKNOWN else f"take --net {seen}, or leave it out"
        raise ValueError(f"{source} is not --net {net}: {'; '.join(said)}: {remedy}")
    return net


def _report(tensors: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Prints a line a layer; returns the tensors that are kept."""
    layers: dict[str, list[str]] = {}
    for name in tensors:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    rows: list[tuple[str, ...]] = []
    kept: dict[str, Tensor] = {}
    for layer, names in layers.items():
        what, dropped = _described(layer, tensors[names[0]])
        shapes = " + ".join("x".join(map(str, tensors[name].shape)) or "1" for name in names)
        rows.append((layer, shapes, what, "dropped: only its training used it" if dropped else "kept"))
        kept |= {} if dropped else {name: tensors[name] for name in names}
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
    return kept


def _described(layer: str, weight: "Tensor") -> tuple[str, bool]:
    """Returns what a layer is, and whether it is dropped."""
    from fcnseg.weights.slots import is_bilinear

    if layer.startswith(AUXILIARY):
        return "auxiliary classifier", True
    if layer.startswith("upscore"):
        return f"{'bilinear' if is_bilinear(weight) else 'learned'} upsampling", False
    if layer.startswith("scale_"):
        return "factor of a skip", False
    if layer.startswith("score"):
        return "scores", False
    return {4: "convolution", 2: "inner product"}.get(weight.ndim, "other"), False


def write(tensors: Mapping[str, "Tensor"], target: Path, metadata: dict[str, str]) -> None:
    """Writes a safetensors file whole or not at all.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    import uuid

    from safetensors import SafetensorError
    from safetensors.torch import save_file

    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode  # safetensors makes files that nobody else may read
        save_file(dict(tensors), temporary, metadata)
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except (SafetensorError, OSError) as error:
        raise OSError(f"{target} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
