"""Damaged and hostile caffemodels: refused by name and byte, and never larger in memory than the file allows."""

import random
import tracemalloc
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffemodels import blob, caffemodel, field, floats, layer, varint
from fcnseg.weights.caffe import _MAX_BLOBS, read_caffemodel
from fcnseg.weights.files import read_tensors


def numbers(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"there is no caffemodel {tmp_path / 'gone.caffemodel'}"):
        read_caffemodel(tmp_path / "gone.caffemodel")
    with pytest.raises(FileNotFoundError, match="there is no weights file"):
        read_tensors(tmp_path / "gone.caffemodel")


def spoiled(**changes):
    """A net of one layer whose one blob is made of these pieces."""
    pieces = {"shape": field(7, field(1, 2)), "data": floats(5, [1.0, 2.0])} | changes
    return layer("conv", "Convolution", [b"".join(pieces.values())])


HUGE = 10 * 2**30
HOSTILE = {
    "empty": (b"", "byte 0: the file is empty"),
    "text": (b'name: "VGG"\nlayer {\n  name: "conv1_1"\n}\n', "byte 0: it is text; a .prototxt describes"),
    "no weights": (layer("relu1", "ReLU", []), r"byte 16: the file ends, and no layer in it has weights"),
    "net of 10 GB": (varint(100 << 3 | 2) + varint(HUGE) + b"\x00", "byte 0: field 100 claims 10737418240 bytes"),
    "blob of 10 GB": (spoiled(data=varint(5 << 3 | 2) + varint(HUGE)), "field 5 claims 10737418240 bytes"),
    "shape of 10 GB": (spoiled(shape=field(7, field(1, HUGE))), r"a blob of shape \[10737418240\] cannot hold 2"),
    "overflowing shape": (
        spoiled(shape=field(7, b"".join(field(1, side) for side in (2**62, 2**3)))),
        r"shape \[4611686018427387904, 8\] cannot hold 2 values",
    ),
    "negative shape": (spoiled(shape=field(7, b"".join([field(1, -1), field(1, -2)]))), r"shape \[-1, -2\] cannot"),
    "negative legacy": (spoiled(shape=field(1, -1) + field(4, -2)), r"shape \[-1, 0, 0, -2\] cannot hold 2"),
    "partial legacy": (spoiled(shape=field(4, 2)), r"shape \[0, 0, 0, 2\] cannot hold 2 values"),
    "empty dimension": (spoiled(shape=field(7, field(1, 0))), r"shape \[0\] cannot hold 2 values"),
    "other shape": (spoiled(shape=field(7, field(1, 3))), r"shape \[3\] cannot hold 2 values"),
    "many dimensions": (spoiled(shape=field(7, field(1, b"\x01" * 9))), "a blob of more than 8 dimensions"),
    "many shapes": (spoiled(shape=field(7, field(1, 1)) * 9), "a blob of more than 8 dimensions"),
    "no shape": (spoiled(shape=b""), "a blob without a shape"),
    "no values": (spoiled(data=b""), "a blob with no values"),
    "two precisions": (spoiled(more=floats(8, [1.0], double=True)), "a blob with values of both precisions"),
    "half a value": (spoiled(data=field(5, b"1234567")), "7 bytes are no values of 4 bytes each"),
    "many blobs": (layer("conv", "ReLU", [blob([1.0])] * 65), "more than 64 blobs"),
    "data as an integer": (spoiled(data=field(5, 3)), "field 5 is an integer, needed 4 bytes or a stretch"),
    "data as doubles": (spoiled(data=floats(5, [1.0], False, double=True)), "field 5 is 8 bytes, needed 4 bytes"),
    "shape as an integer": (spoiled(shape=field(7, 2)), "field 7 is an integer, needed a stretch of bytes"),
    "side as a float": (spoiled(shape=field(7, floats(1, [2.0], False))), "field 1 is 4 bytes, needed an integer"),
    "layer as an integer": (field(100, 7), "byte 0: field 100 is an integer, needed a stretch of bytes"),
    "blob as an integer": (field(100, field(1, "conv") + field(7, 3)), "byte 9: field 7 is an integer"),
    "name as an integer": (field(100, field(1, 3)), "byte 3: field 1 is an integer, needed a stretch"),
    "V1 type as a text": (field(2, field(5, "ReLU")), "byte 2: field 5 is a stretch of bytes, needed an integer"),
    "name of other bytes": (layer(b"conv\xff", "Convolution", [blob([1.0])]), "byte 3: a name is no UTF-8"),
    "name that clears the screen": (layer("\x1b[2J", "Convolution", [blob([1.0])]), "holds control characters"),
    "no name": (field(100, field(7, blob([1.0]))), "byte 0: no name"),
    "names twice": (layer("conv", "ReLU", [blob([1.0])]) * 2, "byte 28: a second layer is called conv"),
    "group": (layer("conv", "ReLU", [blob([1.0])]) + b"\x0b" * 1000, "byte 28: field 1 is a group"),
    "nesting": (
        partial(lambda inner, depth: [inner := field(100, inner) for _ in range(depth)][-1], b"", 500)(),
        "byte",
    ),
    "long integer": (b"\x0a" + b"\xff" * 11, "byte 1: an integer has more than 10 bytes"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_damaged_and_hostile_files_are_refused_by_name_and_byte(case, tmp_path):
    content, message = HOSTILE[case]
    file = tmp_path / "net.caffemodel"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refusal:
        read_caffemodel(file)
    assert str(refusal.value).startswith(f"{file} cannot be read as a caffemodel: byte ")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch") / "net.caffemodel"


def read_or_refuse(file, content):
    """The blobs of a file of this content, or nothing where it is refused as it should be."""
    file.write_bytes(content)
    tracemalloc.start()
    try:
        blobs, said = read_caffemodel(file), None
    except ValueError as error:
        blobs, said = {}, str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 * len(content) + 2**20
    assert said is None or said.startswith(f"{file} cannot be read as a caffemodel: byte ")
    assert sum(values.nbytes for arrays in blobs.values() for values in arrays) <= len(content)
    return blobs


@pytest.mark.parametrize("version", [1, 2])
def test_a_net_cut_anywhere_is_refused_unless_cut_between_layers(version, scratch):
    layers = {"conv": ("Convolution", [numbers(2, 1, 1, 1), numbers(2)]), "fc": ("InnerProduct", [numbers(1, 3)])}
    content = caffemodel(layers, version)
    found = [list(read_or_refuse(scratch, content[:length])) for length in range(len(content))]
    assert [names for names in found if names] == [["conv"]]  # cut right behind its layer, the first one is whole


@given(st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_read_or_refused(scratch, content):
    read_or_refuse(scratch, content)


NET = {
    "data": ("Data", []),
    "conv1/7x7_s2": ("Convolution", [numbers(4, 3, 2, 2), numbers(4)]),
    "fc6": ("InnerProduct", [numbers(5, 16), numbers(5)]),
    "upscore": ("Deconvolution", [numbers(2, 2, 4, 4)]),
}


@pytest.mark.parametrize("version", [1, 2])
def test_flipped_bytes_are_read_or_refused(version, scratch):
    draw, content = random.Random(version), caffemodel(NET, version)
    for _ in range(25):
        changed = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(len(content))] = draw.randrange(256)
        read_or_refuse(scratch, bytes(changed))


def wired(number, content):
    """A field of any wire type, its value and its length right or wrong."""
    return st.one_of(
        content.map(lambda inner: field(number, inner)),
        st.integers(0, 2**64 - 1).map(lambda value: field(number, value)),
        st.binary(max_size=8).map(lambda value: varint(number << 3 | 5) + value),
        st.binary(max_size=8).map(lambda value: varint(number << 3 | 1) + value),
        st.tuples(st.integers(0, 2**40), content).map(lambda both: varint(number << 3 | 2) + varint(both[0]) + both[1]),
    )


def joined(*parts, most=4):
    return st.lists(st.one_of(*parts), max_size=most).map(b"".join)


def fitting(sides):
    """A blob whose shape is that of its values."""
    return blob(np.ones(sides, np.float32))


SIDES = st.one_of(st.integers(0, 4), st.integers(-(2**63), 2**63 - 1))
SHAPES = st.lists(SIDES.map(varint), max_size=10).map(lambda sides: field(1, b"".join(sides)))
VALUES = st.binary(max_size=40)
BLOBS = st.one_of(
    st.lists(st.integers(1, 3), min_size=1, max_size=4).map(fitting),
    joined(wired(7, SHAPES), wired(5, VALUES), wired(8, VALUES), *(wired(i, VALUES) for i in (1, 2, 3, 4, 99))),
)
NAMES = st.one_of(st.text(max_size=5).map(str.encode), st.binary(max_size=5), st.just(b"InnerProduct"))
V1 = joined(wired(4, NAMES), wired(5, NAMES), wired(6, BLOBS), BLOBS.map(partial(field, 6)))
V2 = joined(wired(1, NAMES), wired(2, NAMES), wired(7, BLOBS), BLOBS.map(partial(field, 7)))
LAYERS = [
    st.tuples(st.sampled_from("abcd"), BLOBS).map(lambda both: layer(both[0], "InnerProduct", [both[1]] * 3)),
    *(content.map(partial(field, number)) for number, content in ((2, V1), (100, V2))),
    *(wired(number, content) for number, content in ((1, NAMES), (2, V1), (100, V2))),
]


@given(joined(*LAYERS))
@settings(max_examples=200, deadline=None)
def test_any_nested_fields_are_read_or_refused(scratch, content):
    read_or_refuse(scratch, content)


@pytest.mark.parametrize("dims", [1, 8])
@pytest.mark.parametrize("a_layer", [1, 64])
def test_as_many_tiny_blobs_as_are_read_stay_small(dims, a_layer, tmp_path):
    content = field(7, field(1, b"\x01" * dims)) + floats(5, [1.0])
    few, many = (
        b"".join(layer(str(i), "ReLU", [content] * a_layer) for i in range(blobs // a_layer)) for blobs in (64, 128)
    )
    cost = (peak_of_reading(tmp_path, many) - peak_of_reading(tmp_path, few)) / 64
    bytes_of_one = (len(many) - len(few)) / 64
    assert 0 < cost * _MAX_BLOBS < 4 * bytes_of_one * _MAX_BLOBS + 2**20


def test_more_blobs_than_any_net_has_are_refused(monkeypatch, scratch):
    monkeypatch.setattr("fcnseg.weights.caffe._MAX_BLOBS", 5)
    scratch.write_bytes(caffemodel({f"conv{i}": ("Convolution", [numbers(1)]) for i in range(6)}))
    with pytest.raises(ValueError, match="more than 5 blobs, which no net has"):
        read_caffemodel(scratch)


def unpacked():
    values = floats(5, [1.0], packed=False) * 600
    return layer("conv", "Convolution", [field(7, field(1, 3)) + values]), "cannot hold 600 values"


def packed_dims():
    return spoiled(shape=field(7, field(1, b"\x01" * 500_000))), "more than 8 dimensions"


def long_name():
    return layer("n" * 500_000 + "\U0001f600", "Convolution", []), "a name of 500004 bytes"


@pytest.mark.parametrize("make", [unpacked, packed_dims, long_name])
def test_small_values_do_not_swell_in_memory(make, tmp_path):
    content, message = make()
    assert peak_of_reading(tmp_path, content, message) < 4 * len(content) + 2**14


@pytest.mark.parametrize("case", [name for name in HOSTILE if "10 GB" in name or "overflow" in name])
def test_claimed_lengths_take_no_memory(case, tmp_path):
    content, message = HOSTILE[case]
    assert peak_of_reading(tmp_path, content, message) < 4 * len(content) + 2**20


def peak_of_reading(folder, content, message=None):
    file = folder / "net.caffemodel"
    file.write_bytes(content)
    refused = pytest.raises(ValueError, match=message) if message else nullcontext()
    tracemalloc.start()
    try:
        with refused:
            read_caffemodel(file)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
