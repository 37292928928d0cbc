"""Where layers belong: upsampling is told by stride and factor, and what is computed must be bilinear."""

import numpy as np
import pytest
import torch

from fcnseg.fcn import AT_ONCE_SCALES, FCN
from fcnseg.upsampling import bilinear_kernel
from fcnseg.weights.caffe import load_blobs
from fcnseg.weights.slots import FINAL_UPSCORES, is_bilinear, slots

NO_CONVOLUTIONS = {32: {"upsample32": FINAL_UPSCORES}} | {
    16: {"upsample32": ("upscore2",), "upsample16": FINAL_UPSCORES},
    8: {"upsample32": ("upscore2",), "upsample16": ("upscore_pool4",), "upsample8": FINAL_UPSCORES},
}


@pytest.mark.parametrize("stride", NO_CONVOLUTIONS)
def test_every_upsampling_has_the_releases_names(stride, narrow):
    found = {slot.name: slot for slot in slots(FCN(narrow("vgg16")(), 4, stride, learn_final=True))}
    assert {name: found[name].layers for name in found if name.startswith("up")} == NO_CONVOLUTIONS[stride]
    assert {name for name in NO_CONVOLUTIONS[stride] if found[name].fixed is None} == {f"upsample{stride}"}
    assert found["backbone.fc6"].layers == ("fc6",)


@pytest.mark.parametrize("size", [1, 4, 63, 64])
@pytest.mark.parametrize("inputs", [1, 3])
def test_bilinear_kernels_are_told_from_others(size, inputs):
    weight = torch.zeros(3, inputs, size, size, dtype=torch.float64)
    weight[range(3), [0] * 3 if inputs == 1 else range(3)] = bilinear_kernel(size).double()
    before = weight.clone()
    assert is_bilinear(weight)
    assert is_bilinear(weight.float())
    assert torch.equal(weight, before)
    assert not is_bilinear(weight[:, :, :, 1:])
    assert not is_bilinear(weight[0])
    weight[1, 0, 0, 0] += 2e-6
    assert not is_bilinear(weight)


def test_a_kernel_for_other_channels_is_not_bilinear():
    assert not is_bilinear(torch.zeros(4, 2, 4, 4))


# ---- loading

UPSCORES = {
    32: {"upscore": 64},
    16: {"upscore2": 4, "upscore16": 32},
    8: {"upscore2": 4, "upscore_pool4": 4, "upscore8": 16},
}
"""The release's upsampling layers and their kernels, by output stride."""


def bilinear(size, grouped=False):
    weight = np.zeros((4, 1 if grouped else 4, size, size), np.float32)
    for i in range(4):
        weight[i, 0 if grouped else i] = bilinear_kernel(size)
    return weight


@pytest.fixture
def release(narrow, golden_blobs):
    """A net of an output stride, and the blobs that a file of the release would have for it."""

    def build(stride, grouped=False, **options):
        net = FCN(narrow("vgg16")(), 4, stride, **options)
        return net, golden_blobs(net, 5) | {name: [bilinear(s, grouped)] for name, s in UPSCORES[stride].items()}

    return build


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("stride", UPSCORES)
def test_the_releases_bilinear_upsampling_is_accepted_and_dropped(stride, grouped, release):
    net, blobs = release(stride, grouped)
    load_blobs(net, blobs)
    np.testing.assert_array_equal(net.score_fr.bias.detach().numpy(), blobs["score_fr"][1])


@pytest.mark.parametrize("grouped", [False, True])
def test_learned_upsampling_is_loaded_where_it_belongs(grouped, release):
    net, blobs = release(8, grouped, learn_intermediate=True, learn_final=True)
    ours = {"upscore2": "upsample32", "upscore_pool4": "upsample16", "upscore8": "upsample8"}
    for factor, layer_name in enumerate(ours, 2):
        blobs[layer_name][0] *= factor
    load_blobs(net, blobs)
    for factor, (layer_name, name) in enumerate(ours.items(), 2):
        expected = factor * bilinear(UPSCORES[8][layer_name])
        np.testing.assert_array_equal(net.get_submodule(name).weight.detach().numpy(), expected)


def test_learned_upsampling_that_is_missing_is_refused_unless_ignored(release):
    net, blobs = release(16, learn_intermediate=True)
    del blobs["upscore2"]
    with pytest.raises(ValueError, match=r"missing layers: upsample32$"):
        load_blobs(net, blobs)
    load_blobs(net, blobs, ignore=["upscore2"])


def off_the_diagonal(blobs):
    blobs["upscore8"][0][0, 1, 3, 3] = 2e-6


def learned(blobs):
    blobs["upscore_pool4"][0][2, 2] *= 1.001


def undefined(blobs):
    blobs["upscore2"][0][0, 0, 0, 0] = np.nan


def of_another_size(blobs):
    blobs["upscore8"] = [bilinear(32)]


def of_other_classes(blobs):
    blobs["upscore2"] = [bilinear(4)[:3, :3]]


def biased(blobs):
    blobs["upscore2"] = [bilinear(4), np.zeros(4, np.float32)]


def again(blobs):
    blobs["upscore"] = blobs["upscore8"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (off_the_diagonal, "upscore8 differs from upsample8, which the model computes without weights"),
        (learned, r"upscore_pool4 differs from upsample16, .*model.learn_intermediate=true"),
        (undefined, "upscore2 differs from upsample32"),
        (of_another_size, r"upscore8.weight: shape \[4, 4, 32, 32\], needed \[4, 4, 16, 16\]"),
        (of_other_classes, r"upscore2.weight: shape \[3, 3, 4, 4\], needed \[4, 4, 4, 4\]"),
        (biased, "upscore2 has weight and bias, needed weight alone"),
        (again, "upscore is a second layer for upsample8"),
    ],
)
def test_upsampling_that_the_model_does_not_compute_is_refused(spoil, message, release):
    net, blobs = release(8)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    spoil(blobs)
    with pytest.raises(ValueError, match=message):
        load_blobs(net, blobs)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_upsampling_of_another_net_is_unknown(release):
    net, blobs = release(32)
    with pytest.raises(ValueError, match="FCN has no layers upscore_pool4, upscore2"):
        load_blobs(net, blobs | {"upscore_pool4": [bilinear(4)], "upscore2": [bilinear(4)]})


def test_the_factors_of_the_at_once_nets_must_be_the_models(release):
    net, blobs = release(8, scales=AT_ONCE_SCALES)
    factors = {"scale_pool4": [np.full(8, 0.01, np.float32)], "scale_pool3": [np.full(4, 0.0001, np.float32)]}
    load_blobs(net, blobs | factors)
    with pytest.raises(ValueError, match=r"scale_pool3 differs from the factor 0.0001, which the model computes"):
        load_blobs(net, blobs | {"scale_pool3": factors["scale_pool4"]})
    with pytest.raises(ValueError, match="FCN has no layers scale_pool4, scale_pool3"):
        load_blobs(release(8)[0], blobs | factors)
