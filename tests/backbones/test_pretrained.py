"""Weights that a backbone starts from, and the normalisation that goes with them."""

import re
from pathlib import Path
from pickle import UnpicklingError
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model

from fcnseg.backbones.pretrained import imagenet_tensors, load_weights
from fcnseg.backbones.squeezenet import SqueezeNet
from fcnseg.weights.normalization import CAFFE, TORCHVISION, normalization


@pytest.fixture
def state():
    torch.manual_seed(0)
    return get_model("squeezenet1_1", weights=None).state_dict()


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path):
    """An empty cache and no network: every download fails unless a test says otherwise."""

    def unreachable(*_, **__):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    return tmp_path / "hub" / "checkpoints"


def parameters(backbone):
    return {name: value.clone() for name, value in backbone.state_dict().items()}


def unchanged(backbone, before):
    return all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


# ---- none, and imagenet


@pytest.mark.parametrize("weights", [None, "none"])
def test_none_leaves_the_net_as_it_was_built(weights):
    backbone = SqueezeNet(normalization=CAFFE)
    before = parameters(backbone)
    assert load_weights(backbone, weights) == "none"
    assert unchanged(backbone, before)
    assert backbone.normalization == CAFFE
    load_weights(backbone, weights, TORCHVISION)
    assert backbone.normalization == TORCHVISION


def test_imagenet_fills_every_layer_and_brings_torchvisions_statistics(state, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda url, **how: asked.append((url, how)) or state)
    backbone = SqueezeNet(normalization=CAFFE)
    assert load_weights(backbone, "imagenet") == "imagenet"
    assert backbone.normalization == TORCHVISION
    for ours, theirs in ((ours, theirs) for ours, theirs in backbone.torchvision_names.items() if ours != "conv10"):
        for kind in ("weight", "bias"):
            assert torch.equal(getattr(backbone.get_submodule(ours), kind), state[f"{theirs}.{kind}"])
    [(url, how)] = asked
    assert re.fullmatch(r"https://download.pytorch.org/models/squeezenet1_1-\w+.pth", url)
    assert how["weights_only"]
    assert how["check_hash"]


@pytest.mark.parametrize("model", ["squeezenet1_1", "vgg16"])
@pytest.mark.parametrize(
    "failure",
    [
        URLError("no network"),
        OSError("refused"),
        RuntimeError("invalid hash value"),
        EOFError("cut short"),
        UnpicklingError("no weights"),
    ],
)
def test_a_failed_download_says_which_file_to_put_where(model, failure, hub, monkeypatch):
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(FileNotFoundError, match=f"ImageNet weights of {model} .*{re.escape(str(failure))}") as error:
        imagenet_tensors(model)
    message = str(error.value)
    file = re.search(rf"Put ({model}-\w+\.pth) at (\S+\.pth)", message)
    assert file
    assert Path(file[2]) == hub / file[1]
    assert "backbone.weights=PATH" in message
    assert "backbone.weights=none" in message


def test_a_failed_download_changes_nothing():
    backbone = SqueezeNet(normalization=CAFFE)
    before = parameters(backbone)
    with pytest.raises(FileNotFoundError):
        load_weights(backbone, "imagenet")
    assert unchanged(backbone, before)
    assert backbone.normalization == CAFFE


# ---- local files


def test_a_bare_file_must_be_told_its_normalisation(state, tmp_path):
    file = tmp_path / "bare.pt"
    torch.save(state, file)
    backbone = SqueezeNet()
    before = parameters(backbone)
    with pytest.raises(ValueError, match=r"bare.pt does not say .* set backbone.normalization=caffe or torchvision"):
        load_weights(backbone, file)
    assert unchanged(backbone, before)
    assert load_weights(backbone, str(file), CAFFE) == "bare.pt"
    assert backbone.normalization == CAFFE
    assert torch.equal(backbone.conv1.weight, state["features.0.weight"])


def test_a_file_that_says_its_normalisation_needs_no_telling(state, tmp_path):
    file = tmp_path / "told.safetensors"
    save_file(state, file, {"normalization": "caffe", "mean": "123.5,116.25,103.0"})
    backbone = SqueezeNet()
    load_weights(backbone, file)
    assert backbone.normalization == normalization("caffe", [123.5, 116.25, 103.0])
    load_weights(backbone, file, TORCHVISION)
    assert backbone.normalization == TORCHVISION


def test_a_file_under_our_own_names_fits_too(tmp_path):
    torch.manual_seed(0)
    source, target = SqueezeNet(), SqueezeNet()
    file = tmp_path / "own.pt"
    torch.save(source.state_dict(), file)
    load_weights(target, file, TORCHVISION)
    assert unchanged(target, source.state_dict())


def test_a_file_that_does_not_fit_is_named_and_changes_nothing(state, tmp_path):
    file = tmp_path / "short.pt"
    del state["features.12.expand3x3.bias"]
    torch.save(state, file)
    backbone = SqueezeNet(normalization=CAFFE)
    before = parameters(backbone)
    with pytest.raises(ValueError, match=r"short.pt does not fit SqueezeNet: features.12.expand3x3.bias is missing"):
        load_weights(backbone, file, TORCHVISION)
    assert unchanged(backbone, before)
    assert backbone.normalization == CAFFE


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"there is no weights file {tmp_path / 'gone.pt'}"):
        load_weights(SqueezeNet(), tmp_path / "gone.pt", CAFFE)


def test_the_shared_squeezenet_loads(data_root):
    file = data_root.parent / "weights" / "squeezenet1_1_caffe_features.pt"
    if not file.is_file():
        pytest.skip(f"needs the shared weights: there is no {file}")
    backbone = SqueezeNet()
    said = normalization("caffe", [123.68, 116.779, 103.939])
    assert load_weights(backbone, file, said) == file.name
    tensors = torch.load(file, weights_only=True)
    assert len(tensors) == len(list(backbone.parameters()))
    assert torch.equal(backbone.fire9_expand3x3.weight, tensors["features.12.expand3x3.weight"])
    assert backbone.normalization == said
