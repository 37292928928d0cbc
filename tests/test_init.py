"""create_model: the nets of conf/model/ without a configuration."""

import inspect
import tomllib
from pathlib import Path

import pytest
import torch

import fcnseg
from fcnseg import OUTPUT_STRIDES, create_model
from fcnseg.config import CONF_DIR
from runs import composed

MODELS = sorted(path.stem for path in (CONF_DIR / "model").glob("*.yaml"))


def test_the_names_are_those_of_the_configuration():
    assert set(OUTPUT_STRIDES) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_the_one_of_the_configuration(name):
    with torch.device("meta"):
        net = create_model(name)
    chosen = composed(f"model={name}", "backbone=vgg16").model
    assert (net.output_stride, list(net.scales.values())) == (chosen.output_stride, chosen.scales)
    assert net.num_classes == 21
    assert type(net.backbone).__name__ == "VGG16"


def test_options_reach_the_net():
    net = create_model(
        "fcn8s",
        backbone="squeezenet",
        num_classes=4,
        padding=100,
        dropout=0.25,
        normalization="caffe",
        mean=(1.0, 2.0, 3.0),
        std=(4.0, 5.0, 6.0),
        learn_intermediate=True,
        learn_final=True,
    )
    assert net.training
    assert net(torch.zeros(1, 3, 20, 30, dtype=torch.uint8)).shape == (1, 4, 20, 30)
    assert net.backbone.conv1.padding == (100, 100)
    assert net.backbone.drop9.p == 0.25
    assert net.backbone.normalization.order == "bgr"
    assert (net.backbone.mean.tolist(), net.backbone.std.tolist()) == ([1, 2, 3], [4, 5, 6])
    assert net.upsample16.weight.requires_grad
    assert net.upsample8.weight.requires_grad


def test_channels_and_batch_normalisation_reach_the_backbone():
    with torch.device("meta"):
        net = create_model("fcn32s", backbone="resnet50", in_channels=2)
        frozen = create_model("fcn32s", backbone="resnet50", batch_norm="frozen")
    assert net(torch.zeros(2, 2, 70, 90, device="meta")).shape == (2, 21, 70, 90)
    assert net.backbone.mean.shape == (2,)
    assert (net.backbone.batch_norm, frozen.backbone.batch_norm) == ("batch", "frozen")


def test_score_layers_are_zero():
    net = create_model("fcn8s", backbone="squeezenet")
    assert not any(parameter.any() for layer in net.score_layers for parameter in layer.parameters())
    assert any(parameter.any() for parameter in net.backbone.parameters())


@pytest.mark.parametrize("name", ["fcn4s", "FCN8s", ""])
def test_an_unknown_model_is_refused(name):
    with pytest.raises(ValueError, match=f"there is no model '{name}'; choose one of fcn32s, fcn16s, fcn8s, fcn8s_at"):
        create_model(name, backbone="squeezenet")


def test_a_stride_that_the_backbone_lacks_is_refused():
    with pytest.raises(ValueError, match=r"model\.output_stride=32 is not to be had from SqueezeNet"):
        create_model("fcn32s", backbone="squeezenet")


def test_a_missing_weights_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no weights file .*a\.pt"):
        create_model("fcn8s", backbone="squeezenet", weights=tmp_path / "a.pt")


def test_public_names_and_their_order():
    assert fcnseg.__all__ == ["__version__", "create_model"]
    parameters = inspect.signature(create_model).parameters
    assert list(parameters)[:4] == ["name", "backbone", "num_classes", "weights"]
    assert [parameters[key].default for key in ("backbone", "num_classes", "weights")] == ["vgg16", 21, None]


def test_the_version_is_the_projects():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert fcnseg.__version__ == project["version"]
