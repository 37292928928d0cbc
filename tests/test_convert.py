"""Conversion: the file says which net and which inputs, a refusal is one line, and nothing is left half written."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from caffemodels import write_caffemodel
from fcnseg.backbones.pretrained import load_weights
from fcnseg.convert import convert, main
from fcnseg.fcn import FCN, bilinear_kernel
from fcnseg.weights.files import read_tensors
from fcnseg.weights.nets import (
    CAFFE_MEAN,
    CAFFENET,
    FCN32S,
    GOOGLENET,
    GOOGLENET_MEAN,
    HIDDEN,
    NETS,
    PYTORCH_FCN_MEAN,
    VGG,
    VGG19,
    VGG_MEAN,
)
from fcnseg.weights.normalization import CAFFE, from_metadata


def convolution(outputs=1, kernel=1):
    return "Convolution", [np.ones((outputs, 3, kernel, kernel), np.float32), np.zeros(outputs, np.float32)]


def upsampling(size, classes=21):
    weight = np.zeros((classes, classes, size, size), np.float32)
    weight[range(classes), range(classes)] = bilinear_kernel(size)
    return "Deconvolution", [weight]


KERNELS = {"conv1_1": 3, "conv1": 11, "conv1/7x7_s2": 7}
OUTPUTS = {"fc8": 1000, "loss3/classifier": 1000, "score_fr": 21, "score_pool4": 21, "score_pool3": 21}


def layers_of(names, **others):
    """Layers of few numbers; those that read images or give scores have the shapes of the published nets."""
    return {name: convolution(OUTPUTS.get(name, 1), KERNELS.get(name, 1)) for name in sorted(names)} | others


@pytest.fixture
def source(tmp_path):
    """Writes a caffemodel of the given layers."""

    def build(layers, name="net.caffemodel"):
        return write_caffemodel(tmp_path / name, layers)

    return build


@pytest.fixture
def state():
    """A state dict as pytorch-fcn's, with one channel everywhere."""
    tensors = {}
    for name in sorted(FCN32S | {"score_pool4", "score_pool3"}):
        outputs, kernel = OUTPUTS.get(name, 1), KERNELS.get(name, 1)
        tensors |= {f"{name}.weight": torch.randn(outputs, 3, kernel, kernel), f"{name}.bias": torch.randn(outputs)}
    return tensors | {"upscore8.weight": torch.from_numpy(upsampling(16)[1][0])}


def metadata_of(file):
    return read_tensors(file)[1]


# ---- what the file says


@pytest.mark.parametrize(
    ("layers", "net", "mean"),
    [
        (layers_of(FCN32S, upscore=upsampling(64)), "voc-fcn32s", CAFFE_MEAN),
        (layers_of(FCN32S | {"score_pool4"}), "voc-fcn16s", CAFFE_MEAN),
        (layers_of(NETS["voc-fcn8s"].layers), "voc-fcn8s", CAFFE_MEAN),
        (layers_of(NETS["voc-fcn8s"].layers | {"scale_pool4", "scale_pool3"}), "voc-fcn8s-atonce", CAFFE_MEAN),
        (layers_of(CAFFENET | HIDDEN | {"score_fr"}), "voc-fcn-alexnet", CAFFE_MEAN),
        (layers_of(VGG | HIDDEN | {"fc8"}), "vgg16", VGG_MEAN),
        (layers_of(CAFFENET | HIDDEN | {"fc8"}), "caffenet", CAFFE_MEAN),
        (layers_of(GOOGLENET | {"loss3/classifier"}), "bvlc_googlenet", GOOGLENET_MEAN),
        (layers_of(VGG19 | HIDDEN | {"fc8"}), "vgg19", VGG_MEAN),
        (layers_of(FCN32S) | {"score_fr": convolution(40)}, "unknown", None),
        (layers_of({"conv1"}), "unknown", None),
    ],
)
def test_the_net_is_told_by_its_layers_and_its_mean_by_the_net(layers, net, mean, source, tmp_path, capsys):
    file, target = source(layers), tmp_path / "net.safetensors"
    metadata = convert(file, target)
    assert metadata == metadata_of(target)
    inputs = {} if mean is None else {"normalization": "caffe", "mean": mean}
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert metadata == {"source": "net.caffemodel", "sha256": digest, "net": net} | inputs
    assert metadata_of(file) == {"net": net} | inputs, "the file itself says what its conversion says"
    assert ("warning" in capsys.readouterr().err) == (net == "unknown")
    normalization = from_metadata(metadata)
    if mean is None:
        assert normalization is None
    else:
        assert normalization.order == "bgr"
        assert normalization.mean[0] > normalization.mean[2], "red first"


def test_a_stated_net_sets_the_mean(source, tmp_path):
    file, target = source(layers_of(VGG | HIDDEN)), tmp_path / "net.safetensors"
    assert convert(file, target)["net"] == "unknown"
    assert convert(file, target, "vgg16", force=True)["mean"] == VGG_MEAN
    assert metadata_of(target)["net"] == "vgg16"


FCN8S = NETS["voc-fcn8s"].layers


@pytest.mark.parametrize(
    ("layers", "net", "message"),
    [
        (layers_of(VGG | HIDDEN), "voc-fcn16s", r"net.caffemodel is not --net voc-fcn16s: it lacks score_fr, score_"),
        (layers_of(VGG19 | HIDDEN | {"fc8"}), "vgg16", r"it has conv3_4, conv4_4, conv5_4 besides: take --net vgg19"),
        (layers_of(FCN8S), "voc-fcn32s", r"it has score_pool3, score_pool4 besides: take --net voc-fcn8s, or leave"),
        (layers_of(FCN8S, score_fr=convolution(40)), "voc-fcn8s", r"score_fr has 40 classes, needed 21: leave --net out"),
        (layers_of(FCN8S | {"scale_pool4", "scale_pool3"}), "voc-fcn8s", "it has scale_pool3, scale_pool4 besides"),
        (layers_of(FCN8S), "voc-fcn8s-atonce", "it lacks scale_pool3, scale_pool4, which only a port does without"),
    ],
)
def test_a_stated_net_that_the_file_is_not_is_refused(layers, net, message, source, tmp_path):
    with pytest.raises(ValueError, match=message):
        convert(source(layers), tmp_path / "net.safetensors", net)
    assert not (tmp_path / "net.safetensors").exists()


def test_the_report_says_of_each_layer_what_became_of_it(source, tmp_path, capsys):
    learned = upsampling(4)
    learned[1][0][0, 1] = 1
    layers = layers_of(
        FCN32S | {"score_pool4"},
        fc6=("InnerProduct", [np.ones((3, 4), np.float32), np.zeros(3, np.float32)]),
        scale_pool4=("Scale", [np.ones(2, np.float32)]),
        upscore2=learned,
        upscore16=upsampling(32),
    )
    target = tmp_path / "net.safetensors"
    convert(source(layers), target)
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    said = {line[0].strip(): tuple(cell.strip() for cell in line[1:] if cell.strip()) for line in lines}
    assert said["conv1_1"] == ("1x3x3x3 + 1", "convolution", "kept")
    assert said["fc6"] == ("3x4 + 3", "inner product", "kept")
    assert said["score_fr"] == ("21x3x1x1 + 21", "scores", "kept")
    assert said["scale_pool4"] == ("2", "factor of a skip", "kept")
    assert said["upscore2"] == ("21x21x4x4", "learned upsampling", "kept")
    assert said["upscore16"] == ("21x21x32x32", "bilinear upsampling", "kept")
    assert set(layers) <= set(said)
    assert {name.rpartition(".")[0] for name in load_file(target)} == set(layers)


def test_the_auxiliary_classifiers_of_googlenet_are_dropped(source, tmp_path, capsys):
    heads = {"loss1/conv", "loss2/classifier"}
    file, target = source(layers_of(GOOGLENET | {"loss3/classifier"} | heads)), tmp_path / "net.safetensors"
    assert convert(file, target)["net"] == "bvlc_googlenet"
    assert {name.rpartition(".")[0] for name in load_file(target)} == GOOGLENET | {"loss3/classifier"}
    printed = capsys.readouterr().out.splitlines()
    for head in heads:
        (line,) = [line for line in printed if line.startswith(head)]
        assert line.endswith("auxiliary classifier  dropped: only its training used it")


def test_a_state_dict_of_pytorch_fcn_keeps_its_tensors_and_its_mean(state, tmp_path):
    file, target = tmp_path / "fcn8s.pth", tmp_path / "fcn8s.safetensors"
    torch.save(state, file)
    metadata = convert(file, target)
    assert (metadata["net"], metadata["mean"]) == ("voc-fcn8s", PYTORCH_FCN_MEAN)
    tensors = load_file(target)
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in tensors.items())
    assert convert(file, target, "voc-fcn8s-atonce", force=True)["net"] == "voc-fcn8s-atonce"


def test_the_file_may_be_read_by_whom_the_umask_lets(source, tmp_path):
    target, other = tmp_path / "net.safetensors", tmp_path / "other"
    convert(source(layers_of({"conv1"})), target)
    other.touch()
    assert target.stat().st_mode == other.stat().st_mode


def test_tensors_that_share_memory_are_written_whole(state, tmp_path):
    file, target = tmp_path / "fcn8s.pth", tmp_path / "fcn8s.safetensors"
    base = torch.randn(1, 1, 2, 1)
    state |= {"conv1_1.weight": base[:, :, :1], "conv1_2.weight": base[:, :, 1:].transpose(2, 3)}
    torch.save(state, file)
    convert(file, target)
    assert torch.equal(load_file(target)["conv1_2.weight"], base[:, :, 1:])


def test_a_backbone_takes_a_converted_file(narrow, golden_blobs, tmp_path):
    net = FCN(narrow("vgg16")(), 21, 32)
    blobs = golden_blobs(net, 3)
    file = write_caffemodel(tmp_path / "net.caffemodel", {name: ("Convolution", blobs[name]) for name in blobs})
    convert(file, tmp_path / "net.safetensors")
    assert load_weights(net.backbone, tmp_path / "net.safetensors") == "net.safetensors"
    np.testing.assert_array_equal(net.backbone.fc7.weight.detach().numpy(), blobs["fc7"][0])
    assert net.backbone.normalization == CAFFE


# ---- refusals


def test_a_target_that_exists_is_written_over_only_by_force(source, tmp_path):
    file, target = source(layers_of({"conv1"})), tmp_path / "net.safetensors"
    target.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=f"the target {target} exists: .* --force"):
        convert(file, target)
    assert target.read_bytes() == b"precious"
    convert(file, target, force=True)
    assert set(load_file(target)) == {"conv1.weight", "conv1.bias"}
    target.unlink()
    target.mkdir()
    with pytest.raises(FileExistsError, match="is a folder"):
        convert(file, target, force=True)


def test_targets_that_cannot_be_are_refused(source, tmp_path, monkeypatch):
    file = source(layers_of({"conv1"}))
    with pytest.raises(ValueError, match=r"net.pth must end in .safetensors"):
        convert(file, tmp_path / "net.pth")
    with pytest.raises(FileNotFoundError, match=f"there is no folder {tmp_path / 'no'} for the target"):
        convert(file, tmp_path / "no" / "net.safetensors")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root
    with pytest.raises(PermissionError, match=f"the folder {tmp_path} cannot be written to"):
        convert(file, tmp_path / "net.safetensors")


@pytest.mark.parametrize("error", [SafetensorError("no space left on device"), OSError("no space left on device")])
def test_a_failed_write_leaves_the_folder_as_it_was(error, source, tmp_path, monkeypatch):
    file, target = source(layers_of({"conv1"})), tmp_path / "net.safetensors"
    target.write_bytes(b"precious")

    def fail(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise error

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match=f"{target} cannot be written: no space left on device"):
        convert(file, target, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.caffemodel", "net.safetensors"]
    assert target.read_bytes() == b"precious"


def test_sources_of_other_kinds_are_refused(tmp_path):
    for name, error, message in [
        ("gone.caffemodel", FileNotFoundError, "there is no weights file"),
        ("net.prototxt", ValueError, "must be a .caffemodel, or a state dict of pytorch-fcn"),
        ("net.safetensors", ValueError, "must be a .caffemodel, or a state dict of pytorch-fcn"),
    ]:
        with pytest.raises(error, match=message):
            convert(tmp_path / name, tmp_path / "target.safetensors")
    (tmp_path / "text.caffemodel").write_text('name: "VGG"\n')
    with pytest.raises(ValueError, match="it is text"):
        convert(tmp_path / "text.caffemodel", tmp_path / "target.safetensors")


def from_torchvision(state):
    return {"features.0.weight": torch.zeros(1)}, r"no state dict of pytorch-fcn: it lacks conv1_1.weight, .* 13 more"


def claims_of_size(state):
    return state | {"conv1_1.bias": torch.zeros(1).expand(10**10)}, "'conv1_1.bias' is no plain tensor of floats"


def without_values(state):
    return state | {"conv1_1.bias": torch.zeros(1, device="meta")}, "'conv1_1.bias' is no plain tensor of floats"


def of_integers(state):
    return state | {"epoch": torch.zeros(1, dtype=torch.int64)}, "'epoch' is no plain tensor of floats"


def unprintable(state):
    return state | {"\x1b[2J.weight": torch.zeros(1)}, r"'\\x1b\[2J.weight' is no plain tensor of floats"


def no_tensors(state):
    return {"state_dict": 3, **state}, "holds a int as its state_dict"


@pytest.mark.parametrize(
    "spoil", [from_torchvision, claims_of_size, without_values, of_integers, unprintable, no_tensors]
)
def test_other_state_dicts_are_refused(spoil, state, tmp_path):
    content, message = spoil(state)
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "net.pth", tmp_path / "net.safetensors")
    assert not (tmp_path / "net.safetensors").exists()


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_state_dict_is_refused_and_never_run(state, tmp_path, capsys):
    file, trace, target = tmp_path / "net.pth", tmp_path / "it_ran", tmp_path / "net.safetensors"
    torch.save(state | {"extra": Payload(trace)}, file)
    with pytest.raises(SystemExit) as stop:
        main([str(file), str(target)])
    assert str(stop.value.code).startswith(f"error: {file} cannot be read as tensors")
    assert not trace.exists()
    assert not target.exists()
    assert capsys.readouterr().out == ""


# ---- the command


def test_the_command_converts(source, tmp_path, capsys):
    target = tmp_path / "net.safetensors"
    main([str(source(layers_of(CAFFENET | HIDDEN))), str(target), "--net", "caffenet"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2] == f"net caffenet, inputs BGR minus the mean (red, green, blue) {CAFFE_MEAN}"
    assert printed[-1] == f"wrote {target}: 388 numbers, {target.stat().st_size:,} bytes"
    assert metadata_of(target)["net"] == "caffenet"


def test_a_refusal_is_one_line_and_a_status(source, tmp_path, monkeypatch):
    arguments = [str(source(layers_of({"conv1"}))), str(tmp_path / "no" / "net.safetensors")]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert str(stop.value.code).startswith("error: there is no folder")
    assert "\n" not in str(stop.value.code)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        main(arguments)


@pytest.mark.parametrize("arguments", [[], ["a.pth"], ["a.pth", "b.safetensors", "--net", "resnet"]])
def test_a_wrong_call_says_how_to_call(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: python -m fcnseg.convert" in capsys.readouterr().err


def test_importing_the_command_loads_nothing_heavy():
    code = "import fcnseg.convert, sys, json; print(json.dumps(list(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert {"torch", "numpy", "hydra", "lightning"}.isdisjoint(json.loads(done.stdout))


def test_the_module_is_the_command(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src")}
    command = [sys.executable, "-m", "fcnseg.convert", "net.pth", "no/net.safetensors"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: there is no folder no for the target net.safetensors: make it first\n"
