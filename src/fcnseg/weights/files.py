"""Reads tensors from files without ever running code that a file carries."""

import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fcnseg.weights.caffe import blobs_as_tensors, read_caffemodel
from fcnseg.weights.nets import detected, inputs_of

PICKLED = (".pt", ".pth", ".ckpt", ".bin")
"""Endings of files that torch.save wrote."""


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads a file of named tensors: safetensors, a state dict saved by torch, or a caffemodel.

    Args:
        path: the file; a Lightning checkpoint counts as the state dict in it.

    Returns:
        The tensors by name, on the CPU, and the file's metadata (empty where the format has none; of a caffemodel
        which net it is by its layers and, if it is a known one, how its inputs are normalised).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no file of tensors, it is damaged, or it holds code besides tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no weights file {path}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix == ".caffemodel":
        tensors = blobs_as_tensors(read_caffemodel(path))
        net = detected({name: tuple(tensor.shape) for name, tensor in tensors.items()})
        return tensors, {"net": net} | inputs_of(net)
    if path.suffix not in PICKLED:
        endings = ", ".join((".safetensors", *PICKLED, ".caffemodel"))
        raise ValueError(f"{path} is no weights file that can be read: its name must end in one of {endings}")
    content = read_checkpoint(path)
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__} as its state_dict, not a dictionary of tensors")
    return {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}, {}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a dictionary saved by torch that holds only tensors and plain containers.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, holds no dictionary, or holds objects that would have to be unpickled.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # What torch's reader raises depends on where it trips: struct.error, AssertionError, KeyError and a dozen more.
        raise ValueError(
            f"{path} cannot be read as tensors and plain containers: it is damaged, or holds code, which is never run. "
            f"Torch says {type(error).__name__}: {_said(error)}"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a dictionary of tensors")
    return content


def check_sums(path: Path) -> None:
    """Compares every byte of a file that torch.save wrote with the sums in it; torch itself does not.

    Raises:
        ValueError: it is cut off or changed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except Exception as error:  # zlib.error, struct.error, NotImplementedError: it depends on which byte is wrong
        raise ValueError(f"{path} is damaged ({error})") from error
    if member is not None:
        raise ValueError(f"{path} is damaged (in {member})")


def _said(error: Exception) -> str:
    """Returns the first line of an error, without torch's advice to run what the file carries."""
    return (str(error) or "nothing").splitlines()[0].partition(" Re-running")[0]


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is no readable safetensors file: {error}") from error
