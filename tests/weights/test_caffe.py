"""Caffe's files and blobs: any file is read or refused by name, and all blobs fit, or nothing is changed."""

import random
import tracemalloc
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from caffemodels import blob, caffemodel, field, floats, layer, varint, write_caffemodel
from fcnseg.fcn import FCN
from fcnseg.weights.caffe import blobs_as_tensors, load_blobs, read_caffemodel
from fcnseg.weights.files import read_tensors

# ---- the file


def numbers(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


LAYERS = {
    "data": ("Data", []),
    "conv1/7x7_s2": ("Convolution", [numbers(4, 3, 2, 2), numbers(4)]),
    "relu1": ("ReLU", []),
    "one": ("Convolution", [numbers(1, 1, 1, 3), numbers(1)]),
    "fc6": ("InnerProduct", [numbers(5, 16), numbers(5)]),
    "fc7": ("InnerProduct", [numbers(1, 5), numbers(1)]),
    "upscore": ("Deconvolution", [numbers(2, 2, 4, 4)]),
}


def assert_same(found, layers):
    expected = {name: blobs for name, (_, blobs) in layers.items() if blobs}
    assert list(found) == list(expected)
    for name, blobs in expected.items():
        assert [values.dtype for values in found[name]] == [np.float32] * len(blobs)
        for ours, theirs in zip(found[name], blobs, strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("version", [1, 2])
def test_every_writing_of_a_net_gives_the_same_blobs(version, legacy, packed, double, tmp_path):
    options = {"legacy": legacy, "packed": packed, "double": double}
    file = write_caffemodel(tmp_path / "net.caffemodel", LAYERS, version, **options)
    assert_same(read_caffemodel(file), LAYERS)
    assert_same(read_caffemodel(str(file)), LAYERS)


def test_blobs_in_pieces_and_unknown_fields_are_read(tmp_path):
    values = numbers(2, 3)
    content = field(7, field(1, 2)) + floats(5, values[0]) + field(6, b"\x00" * 8) + field(99, 1)
    content += floats(5, values[1], packed=False) + field(7, field(1, varint(3)))
    file = tmp_path / "net.caffemodel"
    file.write_bytes(field(3, "data") + field(4, 10) + layer("fc", "InnerProduct", [content]))
    assert_same(read_caffemodel(file), {"fc": ("InnerProduct", [values])})


def test_numbers_beyond_single_precision_become_infinite(tmp_path):
    layers = {"conv": ("Convolution", [np.array([1e300, -1e300])])}
    file = write_caffemodel(tmp_path / "net.caffemodel", layers, double=True)
    assert read_caffemodel(file)["conv"][0].tolist() == [np.inf, -np.inf]


def test_a_caffemodel_is_a_file_of_tensors(tmp_path):
    layers = LAYERS | {"bn": ("BatchNorm", [numbers(2), numbers(2), numbers(1)])}
    tensors, metadata = read_tensors(write_caffemodel(tmp_path / "net.caffemodel", layers))
    assert metadata == {"normalization": "caffe"}
    assert {name for name in tensors if "/" in name} == {"conv1/7x7_s2.weight", "conv1/7x7_s2.bias"}
    assert {name for name in tensors if name.startswith("bn")} == {"bn.weight", "bn.bias", "bn.blob2"}
    np.testing.assert_array_equal(tensors["fc6.weight"].numpy(), LAYERS["fc6"][1][0])


def test_tensors_of_blobs_that_cannot_be_written_to_are_copies():
    values = numbers(4, 3)
    values.setflags(write=False)
    tensors = blobs_as_tensors({"fc": [values.T]})
    tensors["fc.weight"].zero_()
    assert tensors["fc.weight"].shape == (3, 4)
    assert values.all()


# ---- damaged and hostile files


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
    "many dimensions": (spoiled(shape=field(7, field(1, b"\x01" * 33))), "a blob of more than 32 dimensions"),
    "many shapes": (spoiled(shape=field(7, field(1, 1)) * 33), "a blob of more than 32 dimensions"),
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
    try:
        blobs, said = read_caffemodel(file), None
    except ValueError as error:
        blobs, said = {}, str(error)
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


@pytest.mark.parametrize("version", [1, 2])
def test_flipped_bytes_are_read_or_refused(version, scratch):
    draw, content = random.Random(version), caffemodel(LAYERS, version)
    for _ in range(25):
        changed = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(len(content))] = draw.randrange(256)
        read_or_refuse(scratch, bytes(changed))


def test_more_blobs_than_any_net_has_are_refused(monkeypatch, scratch):
    monkeypatch.setattr("fcnseg.weights.caffe._MAX_BLOBS", 5)
    scratch.write_bytes(caffemodel({f"conv{i}": ("Convolution", [numbers(1)]) for i in range(6)}))
    with pytest.raises(ValueError, match="more than 5 blobs, which no net has"):
        read_caffemodel(scratch)


def unpacked():
    values = floats(5, [1.0], packed=False) * 600
    return layer("conv", "Convolution", [field(7, field(1, 3)) + values]), "cannot hold 600 values"


def packed_dims():
    return spoiled(shape=field(7, field(1, b"\x01" * 500_000))), "more than 32 dimensions"


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


def peak_of_reading(folder, content, message):
    file = folder / "net.caffemodel"
    file.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            read_caffemodel(file)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ---- the net


@pytest.fixture
def net(narrow):
    torch.manual_seed(0)
    return FCN(narrow("vgg16")(), 4, 8)


@pytest.fixture
def blobs(net, golden_blobs):
    return golden_blobs(net, 5)


def parameters(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def test_the_layers_have_the_authors_names(blobs):
    stages = [f"conv{stage}_{i + 1}" for stage, count in enumerate((2, 2, 3, 3, 3), 1) for i in range(count)]
    assert sorted(blobs) == sorted([*stages, "fc6", "fc7", "score_fr", "score_pool4", "score_pool3"])


def test_blobs_become_weights_and_biases(net, blobs):
    load_blobs(net, blobs)
    for name, values in blobs.items():
        module = net.get_submodule(name if name.startswith("score") else f"backbone.{name}")
        for parameter, value in zip((module.weight, module.bias), values, strict=True):
            np.testing.assert_array_equal(parameter.detach().numpy(), value)


def test_inner_products_are_reshaped(net, blobs):
    flat = blobs | {"fc6": [blobs["fc6"][0].reshape(len(blobs["fc6"][0]), -1), blobs["fc6"][1]]}
    load_blobs(net, flat)
    np.testing.assert_array_equal(net.backbone.fc6.weight.detach().numpy(), blobs["fc6"][0])


def test_a_backbone_takes_its_own_layers(net, blobs):
    load_blobs(net.backbone, {name: values for name, values in blobs.items() if not name.startswith("score")})
    np.testing.assert_array_equal(net.backbone.conv1_1.bias.detach().numpy(), blobs["conv1_1"][1])


def without(blobs):
    del blobs["conv3_2"]


def unknown(blobs):
    blobs["score_pool2"] = blobs["score_pool3"]


def unbiased(blobs):
    blobs["fc7"] = blobs["fc7"][:1]


def narrower(blobs):
    blobs["score_fr"] = [blobs["score_fr"][0][:3], blobs["score_fr"][1][:3]]


def transposed(blobs):
    blobs["fc6"][0] = blobs["fc6"][0].reshape(len(blobs["fc6"][0]), -1).T


def excessive(blobs):
    blobs["fc7"] = [*blobs["fc7"], blobs["fc7"][1]]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without, "missing layers: backbone.conv3_2$"),
        (unknown, "FCN has no layers score_pool2"),
        (unbiased, "fc7.bias is missing"),
        (narrower, r"score_fr.weight: shape \[3, 128, 1, 1\], needed \[4, 128, 1, 1\]; score_fr.bias"),
        (transposed, r"fc6.weight: an inner product of shape"),
        (excessive, r"fc7 has 3 blobs, needed weight and bias alone"),
    ],
)
def test_blobs_that_do_not_fit_are_refused_and_change_nothing(spoil, message, net, blobs):
    before = parameters(net)
    spoil(blobs)
    with pytest.raises(ValueError, match=message):
        load_blobs(net, blobs)
    assert_unchanged(net, before)


def test_everything_that_does_not_fit_is_said_at_once(net, blobs):
    before = parameters(net)
    for spoil in (without, unknown, unbiased, narrower, transposed):
        spoil(blobs)
    del blobs["conv1_1"], blobs["conv5_3"]
    with pytest.raises(ValueError, match="the blobs do not fit FCN: ") as refusal:
        load_blobs(net, blobs)
    said = str(refusal.value)
    for part in ("fc7.bias", "score_fr.weight", "score_fr.bias", "fc6.weight", "no layers score_pool2"):
        assert part in said
    assert "missing layers: backbone.conv1_1, backbone.conv3_2, backbone.conv5_3" in said
    assert_unchanged(net, before)


def assert_unchanged(net, before):
    after = net.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_layers_to_ignore_are_left_out_on_both_sides(net, blobs):
    before = parameters(net)
    blobs["fc8"] = [numbers(10, 4), numbers(10)]
    blobs["score_fr"] = blobs["score_fr"][:1]
    del blobs["score_pool3"]
    load_blobs(net, blobs, ignore=("fc8", "loss3/classifier", "score_fr", "score_pool3"))
    assert torch.equal(net.score_fr.weight, before["score_fr.weight"])
    np.testing.assert_array_equal(net.backbone.fc6.weight.detach().numpy(), blobs["fc6"][0])


def test_what_was_read_from_a_file_fits(net, blobs, tmp_path):
    layers = {name: ("Convolution", values) for name, values in blobs.items()}
    layers["fc6"] = ("InnerProduct", [blobs["fc6"][0].reshape(len(blobs["fc6"][0]), -1), blobs["fc6"][1]])
    small = {name: value for name, value in layers.items() if name in ("conv1_1", "fc7", "score_fr")}
    read = read_caffemodel(write_caffemodel(tmp_path / "net.caffemodel", small, version=1))
    load_blobs(net, blobs | read)
    np.testing.assert_array_equal(net.backbone.fc7.weight.detach().numpy(), blobs["fc7"][0])


def test_all_that_is_no_convolution_stays():
    net = torch.nn.Sequential()
    net.conv1, net.bn1 = torch.nn.Conv2d(3, 2, 1, bias=False), torch.nn.BatchNorm2d(2)
    load_blobs(net, {"conv1": [numbers(2, 3, 1, 1)]})
    np.testing.assert_array_equal(net.conv1.weight.detach().numpy(), numbers(2, 3, 1, 1))
    assert bool((net.bn1.weight == 1).all())
    with pytest.raises(ValueError, match="Sequential has no layers bn1"):
        load_blobs(net, {"conv1": [numbers(2, 3, 1, 1)], "bn1": [numbers(2), numbers(2)]})


def test_layers_of_one_name_are_refused(net):
    twice = torch.nn.Sequential()
    twice.first, twice.second = torch.nn.Sequential(), torch.nn.Sequential()
    twice.first.conv, twice.second.conv = torch.nn.Conv2d(3, 2, 1), torch.nn.Conv2d(3, 2, 1)
    with pytest.raises(ValueError, match=r"missing layers: first.conv"):
        load_blobs(twice, {"conv": [numbers(2, 3, 1, 1), numbers(2)]})
