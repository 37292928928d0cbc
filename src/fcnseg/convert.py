"""python -m fcnseg.convert: published weights as a safetensors file that says which net and which inputs they need."""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

VGG = frozenset(f"conv{stage}_{i + 1}" for stage, count in enumerate((2, 2, 3, 3, 3), 1) for i in range(count))
VGG19 = VGG | {"conv3_4", "conv4_4", "conv5_4"}
CAFFENET = frozenset(f"conv{number}" for number in range(1, 6))
HIDDEN = frozenset({"fc6", "fc7"})
INCEPTION = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
GOOGLENET = frozenset({"conv1/7x7_s2", "conv2/3x3_reduce", "conv2/3x3"}) | {
    f"inception_{module}/{path}"
    for module in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    for path in INCEPTION
}
"""Layers of the published classifiers, without the last one."""

AUXILIARY = ("loss1/", "loss2/")
"""How the layers of GoogLeNet begin that only its training needs: half of the file."""

CAFFE_MEAN = "122.67892,116.66877,104.00699"
"""Red, green and blue as the authors' nets subtract them, which is Caffe's default."""

VGG_MEAN = "123.68,116.779,103.939"
"""What VGG's authors subtract."""

PYTORCH_FCN_MEAN = "122.67891434,116.66876762,104.00698793"
"""What pytorch-fcn subtracts, with more digits."""


class Net(NamedTuple):
    """A published net, as its file shows it.

    Attributes:
        layers: layers that it must have.
        mean: red, green and blue on 0..255 that its training subtracted.
        marks: further layers that tell it from a net with the same layers.
        classes: outputs of its score_fr; None where it has no such layer.
    """

    layers: frozenset[str]
    mean: str = CAFFE_MEAN
    marks: frozenset[str] = frozenset()
    classes: int | None = None


FCN32S = VGG | HIDDEN | {"score_fr"}

NETS = {
    "voc-fcn8s-atonce": Net(
        FCN32S | {"score_pool4", "score_pool3"}, marks=frozenset({"scale_pool4", "scale_pool3"}), classes=21
    ),
    "voc-fcn8s": Net(FCN32S | {"score_pool4", "score_pool3"}, classes=21),
    "voc-fcn16s": Net(FCN32S | {"score_pool4"}, classes=21),
    "voc-fcn32s": Net(FCN32S, classes=21),
    "voc-fcn-alexnet": Net(CAFFENET | HIDDEN | {"score_fr"}, classes=21),
    "vgg16": Net(VGG | HIDDEN, VGG_MEAN, frozenset({"fc8"})),
    "vgg19": Net(VGG19 | HIDDEN, VGG_MEAN, frozenset({"fc8"})),
    "caffenet": Net(CAFFENET | HIDDEN, marks=frozenset({"fc8"})),
    "googlenet": Net(GOOGLENET, "123,117,104"),
}
"""Nets that are told by their layers; a net stands before those whose layers it has too."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; what the user can mend becomes one line and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m fcnseg.convert", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("source", type=Path, help="a .caffemodel, or a state dict of pytorch-fcn (.pth)")
    parser.add_argument("target", type=Path, help="the .safetensors file to write")
    parser.add_argument("--net", choices=NETS, help="which net it is, where the layers do not tell")
    parser.add_argument("--force", action="store_true", help="write over a target that exists")
    stated = parser.parse_args(arguments)
    with _reported():
        convert(stated.source, stated.target, stated.net, stated.force)


@contextmanager
def _reported() -> Iterator[None]:
    # As console.reported, which brings all of Lightning with it.
    try:
        yield
    except (ValueError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        sys.exit(f"error: {error}")


def convert(source: Path, target: Path, net: str | None = None, force: bool = False) -> dict[str, str]:
    """Writes the weights of a source as a safetensors file and prints what became of each layer.

    Args:
        source: a .caffemodel, or a state dict of pytorch-fcn.
        target: the file to write, ending in .safetensors.
        net: name in NETS; None tells it by the layers.
        force: whether to write over a target that exists.

    Returns:
        The metadata written: source, sha256, net, normalization, mean.

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
    net = _checked(net, tensors, source) if net else detected(tensors)
    mean = NETS[net].mean if net in NETS else CAFFE_MEAN
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    metadata = {
        "source": source.name,
        "sha256": digest,
        "net": net,
        "normalization": "caffe",
        "mean": mean if source.suffix == ".caffemodel" else PYTORCH_FCN_MEAN,
    }
    kept = _report(tensors)
    write(kept, target, metadata)
    print(f"net {net}, inputs BGR minus the mean (red, green, blue) {metadata['mean']}")
    print(
        f"wrote {target}: {sum(tensor.numel() for tensor in kept.values()):,} numbers, {target.stat().st_size:,} bytes"
    )
    if net == "unknown":
        print(
            "warning: the layers are those of no net that is known here, so the mean is only Caffe's default: name the "
            "net with --net, or set backbone.normalization and backbone.mean where you use the file",
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


def detected(tensors: Mapping[str, "Tensor"]) -> str:
    """Returns the name of the net that has these layers: one of NETS, or "unknown".

    Args:
        tensors: {layer.weight: tensor, layer.bias: ...}.
    """
    layers = {name.rpartition(".")[0] for name in tensors}
    convolutions = {layer for layer in layers if layer.startswith("conv")}
    classes = len(tensors["score_fr.weight"]) if "score_fr.weight" in tensors else None
    for name, net in NETS.items():
        # VGG 19 has all of VGG 16's layers, and data sets other than VOC have other means.
        if net.layers | net.marks <= layers and convolutions <= net.layers and classes == net.classes:
            return name
    return "unknown"


def _checked(net: str, tensors: Mapping[str, "Tensor"], source: Path) -> str:
    if lacking := sorted(NETS[net].layers - {name.rpartition(".")[0] for name in tensors}):
        raise ValueError(f"{source} is not --net {net}: it lacks {', '.join(lacking)}")
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
