"""Weights that a backbone starts from, and the normalisation that goes with them."""

import re
from pathlib import Path
from pickle import UnpicklingError
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model

from caffemodels import write_caffemodel
from fcnseg.backbones import backbone_class
from fcnseg.backbones import pretrained as pretrained_module
from fcnseg.backbones.pretrained import comes_from_caffe, imagenet_tensors, load_weights, pretrained
from fcnseg.backbones.squeezenet import SqueezeNet
from fcnseg.weights.normalization import CAFFE, TORCHVISION, normalization
from fcnseg.weights.surgery import fitted


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


# ---- Caffe's originals


@pytest.fixture
def caffemodel(tmp_path, monkeypatch, narrow):
    """A narrow VGG 16 or GoogLeNet as a published .caffemodel, and the names that were asked for."""
    asked = []

    def fetched(name):
        asked.append(name)
        return tmp_path / f"{name}.caffemodel"

    def write(name):
        torch.manual_seed(1)
        backbone = narrow(name)()
        layers = {
            layer: ("Convolution", [module.weight.detach().numpy(), module.bias.detach().numpy()])
            for layer, module in backbone.named_children()
            if isinstance(module, torch.nn.Conv2d)
        }
        head = {backbone.head.layer: ("InnerProduct", [np.ones((1000, 3), np.float32), np.ones(1000, np.float32)])}
        write_caffemodel(tmp_path / f"{backbone.caffe_weights}.caffemodel", layers | head, version=1)
        return backbone, asked

    monkeypatch.setattr(pretrained_module, "released_file", fetched)
    return write


@pytest.mark.parametrize(("name", "said"), [("vgg16", CAFFE), ("bvlc_googlenet", None), ("caffenet", None)])
def test_imagenet_means_caffes_file_where_caffe_is_asked_for_or_alone(name, said, caffemodel, narrow):
    source, asked = caffemodel(name)
    backbone = narrow(name)()
    assert load_weights(backbone, "imagenet", said) == f"{source.caffe_weights}.caffemodel"
    assert asked == [source.caffe_weights]
    assert unchanged(backbone, source.state_dict())
    assert backbone.normalization.order == "bgr"
    assert said is None or backbone.normalization == said


def test_imagenet_means_torchvisions_file_where_nothing_is_said(monkeypatch, narrow):
    asked = []
    monkeypatch.setattr(pretrained_module, "imagenet_tensors", lambda model: asked.append(model) or {})
    with pytest.raises(ValueError, match="torchvision's ImageNet file of vgg16 does not fit"):
        load_weights(narrow("vgg16")(), "imagenet")
    assert asked == ["vgg16"]


def test_caffes_weights_are_not_to_be_had_for_nets_without_them():
    assert not comes_from_caffe(SqueezeNet, CAFFE)
    assert not comes_from_caffe(backbone_class("vgg16"), TORCHVISION)
    assert not comes_from_caffe(backbone_class("vgg16"), None)
    assert comes_from_caffe(backbone_class("vgg16"), CAFFE)
    assert comes_from_caffe(backbone_class("caffenet"), None)


@pytest.mark.parametrize(
    ("name", "said", "message"),
    [
        ("squeezenet", CAFFE, r"torchvision's ImageNet file of squeezenet1_1 was trained on RGB images on 0..1, but"),
        ("caffenet", TORCHVISION, r"Caffe's bvlc_reference_caffenet was trained on BGR images on 0..255, but"),
    ],
)
def test_inputs_that_are_not_the_weights_are_refused_before_any_download(name, said, message, narrow):
    with pytest.raises(ValueError, match=message):
        load_weights(narrow(name)(), "imagenet", said)


def test_torchvision_says_nothing_of_googlenets_own_statistics(monkeypatch):
    monkeypatch.setattr(pretrained_module, "imagenet_tensors", lambda model: {})
    googlenet = backbone_class("googlenet")
    assert pretrained(googlenet, "imagenet", TORCHVISION).normalization == googlenet.imagenet_normalization
    own = normalization("torchvision", [0.1, 0.2, 0.3])
    assert pretrained(googlenet, "imagenet", own).normalization == own


@pytest.mark.parametrize("name", ["googlenet", "resnet50", "vgg16_bn", "alexnet"])
def test_a_local_file_of_torchvision_is_known_by_its_layers(name, tmp_path, narrow):
    torch.manual_seed(3)
    source, target = narrow(name)(), narrow(name)()
    names = source.torchvision_names
    state = {}
    for key, value in source.state_dict().items():
        layer, _, kind = key.rpartition(".")
        state[f"{names[layer]}.{kind}"] = value
    state[f"{names[source.head.layer]}.weight"] = torch.zeros(1000, 4)
    torch.save(state, tmp_path / "theirs.pth")
    load_weights(target, tmp_path / "theirs.pth", TORCHVISION)
    assert unchanged(target, source.state_dict())


@pytest.mark.parametrize(("larger", "smaller"), [("vgg19", "vgg16"), ("resnet101", "resnet50")])
def test_a_larger_nets_file_is_refused(larger, smaller, tmp_path):
    with torch.device("meta"):
        state = {key: torch.empty(0) for key in backbone_class(larger)().state_dict()}
        fitting = backbone_class(smaller)()
    state |= {key: torch.zeros(value.shape, device="meta") for key, value in fitting.state_dict().items()}
    with pytest.raises(ValueError, match=r"(conv3_4|layer3_\w+) has no place in it"):
        fitted(fitting, state, {}, "the file")


# ---- other numbers of channels


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_the_first_filters_are_adapted_to_the_channels(channels, state, tmp_path):
    file = tmp_path / "colour.pt"
    torch.save(state, file)
    backbone = SqueezeNet(in_channels=channels)
    load_weights(backbone, file, CAFFE)
    filters, three = backbone.conv1.weight, state["features.0.weight"]
    if channels < 3:
        torch.testing.assert_close(filters.sum(1), three.sum(1))
        assert all(torch.equal(filters[:, 0], filters[:, channel]) for channel in range(channels))
    else:
        assert torch.equal(filters[:, :3], three)
        torch.testing.assert_close(filters[:, 3:], three.mean(1, keepdim=True).expand(-1, channels - 3, -1, -1))
    assert torch.equal(backbone.fire2_squeeze1x1.weight, state["features.3.squeeze.weight"])


def test_a_grey_image_gives_what_its_colour_copy_gives(state, tmp_path):
    file = tmp_path / "colour.pt"
    torch.save(state, file)
    even = normalization("caffe", [120.0] * 3)
    colour, grey = SqueezeNet(dropout=0).eval(), SqueezeNet(dropout=0, in_channels=1).eval()
    load_weights(colour, file, even)
    load_weights(grey, file, even)
    image = torch.randint(0, 256, (1, 1, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for stride, feature in colour(image.expand(-1, 3, -1, -1)).items():
            torch.testing.assert_close(
                grey(image)[stride].tensor, feature.tensor, rtol=1e-4, atol=5e-3
            )  # of values up to hundreds


def test_weights_of_as_many_channels_are_taken_as_they_are(tmp_path):
    source, target = SqueezeNet(in_channels=4), SqueezeNet(in_channels=4)
    torch.save(source.state_dict(), tmp_path / "four.pt")
    load_weights(target, tmp_path / "four.pt", normalization("caffe", [1, 2, 3, 4], channels=4))
    assert torch.equal(target.conv1.weight, source.conv1.weight)
    assert target.mean.tolist() == [1, 2, 3, 4]


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
    other = normalization("caffe", [1.0, 2.0, 3.0])
    load_weights(backbone, file, other)
    assert backbone.normalization == other
    with pytest.raises(
        ValueError, match=r"told.safetensors was trained on BGR images on 0..255, but .* set it to caffe"
    ):
        load_weights(backbone, file, TORCHVISION)
    assert backbone.normalization == other


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


@pytest.mark.parametrize("name", ["squeezenet", "squeezenet32"])
def test_the_shared_squeezenet_loads(data_root, name):
    file = data_root.parent / "weights" / "squeezenet1_1_caffe_features.pt"
    if not file.is_file():
        pytest.skip(f"needs the shared weights: there is no {file}")
    backbone = backbone_class(name)()
    said = normalization("caffe", [123.68, 116.779, 103.939])
    assert load_weights(backbone, file, said) == file.name
    tensors = torch.load(file, weights_only=True)
    assert len(tensors) == len(list(backbone.parameters()))
    assert torch.equal(backbone.fire9_expand3x3.weight, tensors["features.12.expand3x3.weight"])
    assert backbone.normalization == said


def test_a_net_that_ends_early_leaves_the_rest_of_the_file(state, monkeypatch):
    backbone = SqueezeNet()
    backbone.end_at(8)
    monkeypatch.setattr("fcnseg.backbones.pretrained.imagenet_tensors", lambda model: dict(state))
    assert load_weights(backbone, "imagenet") == "imagenet"
    assert torch.equal(backbone.fire5_expand3x3.weight, state["features.7.expand3x3.weight"])
    assert "fire6_squeeze1x1" in backbone.dropped
