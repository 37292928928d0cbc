"""Blobs under the authors' layer names: all of them fit, or nothing is changed."""

import numpy as np
import pytest
import torch

from fcnseg.fcn import FCN
from fcnseg.weights.caffe import load_blobs


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
    for layer, values in blobs.items():
        module = net.get_submodule(layer if layer.startswith("score") else f"backbone.{layer}")
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
        (without, "conv3_2.weight is missing; backbone.conv3_2.bias is missing"),
        (unknown, "FCN has no layers score_pool2"),
        (unbiased, "fc7.bias is missing"),
        (narrower, r"score_fr.weight: shape \[3, 128, 1, 1\], needed \[4, 128, 1, 1\]; score_fr.bias"),
        (transposed, r"fc6.weight: an inner product of shape"),
        (excessive, r"the layer fc7 has 3 blobs: a convolution has a weight and a bias"),
    ],
)
def test_blobs_that_do_not_fit_are_refused_and_change_nothing(spoil, message, net, blobs):
    before = parameters(net)
    spoil(blobs)
    with pytest.raises(ValueError, match=message):
        load_blobs(net, blobs)
    after = net.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
