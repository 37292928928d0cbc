"""Writes small .caffemodel files, for tests only: the messages of caffe.proto that carry weights."""

import numpy as np

V1_TYPES = {"Convolution": 4, "Data": 5, "InnerProduct": 14, "Pooling": 17, "ReLU": 18, "Deconvolution": 39}
"""What V1 layers have for some of the types that V2 layers name."""


def varint(value):
    """An integer; negative ones as the 64 bits of their two's complement."""
    value %= 2**64
    groups = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])


def field(number, value):
    """A field: an integer as a varint, bytes with their length before them, a text as its UTF-8."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def floats(number, values, packed=True, double=False):
    """A repeated field of floats or doubles."""
    flat = np.ravel(values).astype("<f8" if double else "<f4")
    if packed:
        return field(number, flat.tobytes())
    return b"".join(varint(number << 3 | (1 if double else 5)) + value.tobytes() for value in flat)


def blob(values, shape=None, legacy=False, packed=True, double=False):
    """A BlobProto; ``legacy`` writes four numbers, with ones before shapes of fewer."""
    shape = np.shape(values) if shape is None else shape
    if legacy:
        dims = b"".join(field(i, side) for i, side in enumerate([*[1] * (4 - len(shape)), *shape], 1))
    elif packed:
        dims = field(7, field(1, b"".join(varint(side) for side in shape)))
    else:
        dims = field(7, b"".join(field(1, side) for side in shape))
    return dims + floats(8 if double else 5, values, packed, double)


def layer(name, kind, blobs, version=2):
    """One layer of a net, whose blobs are BlobProtos already."""
    if version == 1:
        content = field(4, name) + field(5, V1_TYPES[kind]) + b"".join(field(6, content) for content in blobs)
        return field(2, content)
    return field(100, field(1, name) + field(2, kind) + b"".join(field(7, content) for content in blobs))


def caffemodel(layers, version=2, legacy=None, **options):
    """The bytes of a net from {name: (type, [blobs])}; V1 has legacy shapes unless told otherwise."""
    legacy = version == 1 if legacy is None else legacy
    written = [
        layer(name, kind, [blob(values, legacy=legacy, **options) for values in blobs], version)
        for name, (kind, blobs) in layers.items()
    ]
    return field(1, "a net") + b"".join(written)


def write_caffemodel(path, layers, version=2, **options):
    """Writes such a net and returns its path."""
    path.write_bytes(caffemodel(layers, version, **options))
    return path
