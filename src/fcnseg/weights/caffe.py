"""Caffe's own weights: reads a .caffemodel without Caffe, and fills a net from blobs under the authors' layer names."""

import math
from collections.abc import Collection, Mapping, Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fcnseg.weights.slots import fill, slots
from fcnseg.weights.wire import FIXED32, FIXED64, STRETCH, VARINT, WIDTHS, Bytes, Field, expect, fields, integers, text

KINDS = ("weight", "bias")
"""What the first blobs of a layer are; where a layer has more, they are only numbered."""

# ---- reading the file: field numbers are those of caffe.proto


class _Generation(NamedTuple):
    """Field numbers in the messages of one generation of layers, and its value for the type InnerProduct."""

    name: int
    kind: int
    blobs: int
    inner_product: int | bytes


_LAYERS = {2: _Generation(4, 5, 6, 14), 100: _Generation(1, 2, 7, b"InnerProduct")}
_LEGACY_DIMS, _DATA, _SHAPE, _DOUBLE_DATA = (1, 2, 3, 4), 5, 7, 8
_DIM = 1

# A tiny blob or dimension takes thirty times its bytes in the file, so a file of nothing else must be stopped.
_MAX_BLOBS, _MAX_BLOBS_OF_LAYER, _MAX_DIMS = 2048, 64, 8
_SMALL = 4096


def read_caffemodel(path: str | Path) -> dict[str, list[np.ndarray]]:
    """Reads the weights of a .caffemodel, of Caffe's first generation of layers or of its second.

    Args:
        path: the file.

    Returns:
        {layer: blobs}, float32, in the file's order, layers without blobs left out. Inner products are
        [out, in] and biases [n], also where an old file pads their shapes with ones.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, incomplete or something else; names the file and the byte.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no caffemodel {path}")
    try:
        if path.stat().st_size == 0:
            raise ValueError("byte 0: the file is empty; fetch it again")
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            _refuse_text(data[:512])
            return _read_net(data)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a caffemodel: {error}") from error


def _refuse_text(head: bytes) -> None:
    # A binary net has the tag of a layer, which is no printable character, behind a name of under 128 bytes.
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        raise ValueError(
            "byte 0: it is text; a .prototxt describes a net without its weights, which are in the .caffemodel"
        )


def _read_net(data: mmap) -> dict[str, list[np.ndarray]]:
    blobs: dict[str, list[np.ndarray]] = {}
    count = 0
    try:
        for field in fields(data, 0, len(data)):
            if field.number not in _LAYERS:
                continue
            expect(field, STRETCH)
            name, values = _read_layer(data, field, _LAYERS[field.number])
            if not values:
                continue
            if not name or name in blobs:
                raise ValueError(f"byte {field.at}: " + (f"a second layer is called {name}" if name else "no name"))
            blobs[name] = values
            count += len(values)
            if count > _MAX_BLOBS:
                raise ValueError(f"byte {field.at}: more than {_MAX_BLOBS} blobs, which no net has")
        if not blobs:
            raise ValueError(f"byte {len(data)}: the file ends, and no layer in it has weights")
    except ValueError as error:
        raise ValueError(f"{error}; the file is damaged, incomplete or no caffemodel: fetch it again") from error
    return blobs


def _read_layer(data: Bytes, layer: Field, numbers: _Generation) -> tuple[str, list[np.ndarray]]:
    name, inner_product, blobs = "", False, list[tuple[np.ndarray, bool]]()
    for field in fields(data, layer.start, layer.end):
        if field.number == numbers.name:
            name = text(data, field)
        elif field.number == numbers.kind:
            expect(field, VARINT if isinstance(numbers.inner_product, int) else STRETCH)
            kind = field.value if field.wire == VARINT else text(data, field).encode()
            inner_product = kind == numbers.inner_product
        elif field.number == numbers.blobs:
            expect(field, STRETCH)
            blobs.append(_read_blob(data, field))
            if len(blobs) > _MAX_BLOBS_OF_LAYER:
                raise ValueError(f"byte {field.at}: more than {_MAX_BLOBS_OF_LAYER} blobs, which no layer has")
    return name, [
        _without_padding(values, 1 if index else 2 if inner_product else 4) if legacy else values
        for index, (values, legacy) in enumerate(blobs)
    ]


def _without_padding(values: np.ndarray, dims: int) -> np.ndarray:
    padding = values.shape[:-dims]
    return values.reshape(values.shape[-dims:]) if all(side == 1 for side in padding) else values


def _read_blob(data: Bytes, blob: Field) -> tuple[np.ndarray, bool]:
    """Returns the values, and whether their shape is the four numbers of old files."""
    # One buffer for all pieces: as Python objects, values that are not packed would take ten times their bytes.
    values = {_DATA: bytearray(), _DOUBLE_DATA: bytearray()}
    legacy, dims = dict.fromkeys(_LEGACY_DIMS, 0), list[int]()
    seen: set[int] = set()
    for field in fields(data, blob.start, blob.end):
        if field.number in legacy:
            expect(field, VARINT)
            legacy[field.number] = next(integers(data, field))
            seen.add(field.number)
        elif field.number == _SHAPE:
            dims += _read_dims(data, field, _MAX_DIMS - len(dims))
            seen.add(_SHAPE)
        elif field.number in values:
            start, end = _span(field, FIXED32 if field.number == _DATA else FIXED64)
            values[field.number] += memoryview(data)[start:end]
    is_legacy = bool(seen & set(_LEGACY_DIMS))  # these win where a blob has both, as in Caffe
    return _shaped(values, list(legacy.values()) if is_legacy else dims if seen else None, blob), is_legacy


def _read_dims(data: Bytes, shape: Field, room: int) -> list[int]:
    expect(shape, STRETCH)
    dims: list[int] = []
    for field in fields(data, shape.start, shape.end):
        for side in integers(data, field) if field.number == _DIM else ():
            dims.append(side)
            if len(dims) > room:
                raise ValueError(f"byte {shape.at}: a blob of more than {_MAX_DIMS} dimensions")
    return dims


def _span(field: Field, wire: int) -> tuple[int, int]:
    expect(field, wire, STRETCH)
    if (field.end - field.start) % WIDTHS[wire]:
        raise ValueError(f"byte {field.at}: {field.end - field.start} bytes are no values of {WIDTHS[wire]} bytes each")
    return field.start, field.end


def _shaped(values: Mapping[int, bytearray], shape: list[int] | None, blob: Field) -> np.ndarray:
    single, double = values[_DATA], values[_DOUBLE_DATA]
    if bool(single) == bool(double):
        raise ValueError(f"byte {blob.at}: a blob with {'values of both precisions' if single else 'no values'}")
    if shape is None:
        raise ValueError(f"byte {blob.at}: a blob without a shape")
    flat = np.frombuffer(double or single, "<f8" if double else "<f4")
    if min(shape, default=1) < 1 or math.prod(shape) != flat.size:
        raise ValueError(f"byte {blob.at}: a blob of shape {shape} cannot hold {flat.size} values")
    with np.errstate(over="ignore"):
        shaped = flat.astype(np.float32, copy=False).reshape(shape)
    # A view keeps the buffer alive, whose objects are larger than a small blob's values.
    return shaped.copy() if shaped.nbytes < _SMALL else shaped


# ---- using what was read


def blobs_as_tensors(blobs: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Tensor]:
    """Names every blob as a state dict does: layer.weight, layer.bias, and layer.blob2 ... where there are more.

    Args:
        blobs: {layer: blobs}; the tensors share their memory where they can.
    """
    layers = {layer: _by_kind(values) for layer, values in blobs.items()}
    return {f"{layer}.{kind}": tensor for layer, kinds in layers.items() for kind, tensor in kinds.items()}


def _by_kind(blobs: Sequence[np.ndarray]) -> dict[str, Tensor]:
    return {KINDS[i] if i < len(KINDS) else f"blob{i}": _tensor(value) for i, value in enumerate(blobs)}


def _tensor(value: np.ndarray) -> Tensor:
    # Torch warns of arrays that cannot be written to, and refuses some strides.
    return torch.from_numpy(np.require(value, requirements=["C", "A", "W"]))


def load_blobs(model: nn.Module, blobs: Mapping[str, Sequence[np.ndarray]], *, ignore: Collection[str] = ()) -> None:
    """Fills a net from blobs under the authors' layer names (conv1_1, fc6, score_fr, score_pool4, ...).

    Convolutions and learned upsampling are filled, and each of them must be. The release's fixed layers (upscore,
    scale_pool4, ...) must say what the net computes without them. All else, such as batch normalisation, stays.

    Args:
        model: an FCN or a backbone; a layer is found by the last part of its name.
        blobs: {layer: [weight, bias]}, inner products as [out, in].
        ignore: layers to leave out, of the blobs (classifier heads: fc8, loss3/classifier) or of the model.

    Raises:
        ValueError: lists all layers that are missing, that the model does not have, or that do not fit; the model
            is left as it was.
    """
    fill(model, {layer: _by_kind(values) for layer, values in blobs.items()}, slots(model), ignore)
