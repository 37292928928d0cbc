"""Caffe's files and blobs: any writing of a net is read, and all blobs fit, or nothing is changed."""

import numpy as np
import pytest
import torch

from caffemodels import field, floats, layer, varint, write_caffemodel
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
    assert metadata == {"net": "unknown"}
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
        (excessive, r"fc7 has weight and bias and blob2, needed weight and bias alone"),
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
    with pytest.raises(ValueError, match="the weights do not fit FCN: ") as refusal:
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


def test_layers_of_one_name_are_refused():
    twice = torch.nn.Sequential()
    twice.first, twice.second = torch.nn.Sequential(), torch.nn.Sequential()
    twice.first.conv, twice.second.conv = torch.nn.Conv2d(3, 2, 1), torch.nn.Conv2d(3, 2, 1)
    with pytest.raises(ValueError, match=r"missing layers: first.conv"):
        load_blobs(twice, {"conv": [numbers(2, 3, 1, 1), numbers(2)]})
