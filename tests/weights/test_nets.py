"""The published nets: their layers are the backbones', and a file is told by names and shapes."""

import pytest

from fcnseg.backbones import backbone_class
from fcnseg.backbones.layers import Conv, named_layers
from fcnseg.fcn import AT_ONCE_SCALES, FCN
from fcnseg.weights.nets import AT_ONCE, NETS, UNKNOWN, detected, differences, inputs_of
from fcnseg.weights.normalization import CAFFE, from_metadata

BACKBONES = ["vgg16", "vgg19", "caffenet", "bvlc_googlenet"]


def convolutions(name):
    layers = named_layers(backbone_class(name).make_layers("same", 0.0))
    return [layer for layer in layers if isinstance(layer, Conv)]


def shapes_of(name):
    """What a file of a classifier holds."""
    shapes = {
        f"{conv.name}.weight": (conv.outputs, conv.inputs, conv.kernel, conv.kernel) for conv in convolutions(name)
    }
    return shapes | {f"{backbone_class(name).head.layer}.weight": (1000, 4096)}


@pytest.mark.parametrize("name", BACKBONES)
def test_the_classifiers_layers_are_those_of_the_backbone_of_that_name(name):
    net, (first, *others) = NETS[name], convolutions(name)
    assert net.layers == {first.name, *(conv.name for conv in others)}
    assert net.marks == {backbone_class(name).head.layer}
    assert (net.first, net.kernel, net.classes) == (first.name, first.kernel, backbone_class(name).head.classes)
    assert detected(shapes_of(name)) == name
    assert from_metadata(inputs_of(name)).order == "bgr"


@pytest.mark.parametrize(
    ("net", "backbone", "stride", "scales"),
    [
        ("voc-fcn32s", "vgg16", 32, ()),
        ("voc-fcn16s", "vgg16", 16, ()),
        ("voc-fcn8s", "vgg16", 8, ()),
        (AT_ONCE, "vgg16", 8, AT_ONCE_SCALES),
        ("voc-fcn-alexnet", "caffenet", 32, ()),
    ],
)
def test_the_authors_nets_have_the_layers_of_ours(net, backbone, stride, scales, narrow):
    ours = FCN(narrow(backbone)(), 21, stride, scales=scales)
    shapes = {name.removeprefix("backbone."): tuple(value.shape) for name, value in ours.state_dict().items()}
    shapes |= {f"scale_pool{stride.bit_length() - 1}.weight": (1,) for stride in ours.scales}
    assert detected(shapes) == net
    assert from_metadata(inputs_of(net)) == CAFFE


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("vgg16", {"fc8.weight": (365, 4096)}, ["fc8 has 365 classes, needed 1000"]),
        ("vgg16", {"conv1_1.weight": (64, 4, 3, 3)}, ["conv1_1 has the shape [64, 4, 3, 3], needed [*, 3, 3, 3]"]),
        ("caffenet", {"conv1.weight": (96, 3, 7, 7)}, ["conv1 has the shape [96, 3, 7, 7], needed [*, 3, 11, 11]"]),
        ("vgg16", {"conv6_1.weight": (1, 1)}, ["it has conv6_1 besides"]),
    ],
)
def test_a_net_of_the_same_layers_with_other_shapes_is_another(name, changed, said):
    shapes = shapes_of(name) | changed
    assert differences(name, shapes) == said
    assert detected(shapes) == UNKNOWN
    assert inputs_of(UNKNOWN) == {}
