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
from safetensors.torch import load_file

from caffemodels import write_caffemodel
from fcnseg.backbones.pretrained import load_weights
from fcnseg.convert import convert, main
from fcnseg.fcn import FCN
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
from published import convolution, layers_of, pytorch_fcn, upsampling


@pytest.fixture
def source(tmp_path):
    """Writes a caffemodel of the given layers."""

    def build(layers, name="net.caffemodel"):
        return write_caffemodel(tmp_path / name, layers)

    return build


@pytest.fixture
def state():
    return pytorch_fcn()


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


# ---- the command


def test_the_command_converts(source, tmp_path, capsys):
    target = tmp_path / "net.safetensors"
    main([str(source(layers_of(CAFFENET | HIDDEN))), str(target), "--net", "caffenet"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2] == f"net caffenet, inputs BGR minus the mean (red, green, blue) {CAFFE_MEAN}"
    assert printed[-1] == f"wrote {target}: 388 numbers, {target.stat().st_size:,} bytes"
    assert metadata_of(target)["net"] == "caffenet"


def test_a_refusal_is_one_line_and_a_status(source, tmp_path, monkeypatch, capsys):
    arguments = [str(source(layers_of({"conv1"}))), str(tmp_path / "no" / "net.safetensors")]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    printed = capsys.readouterr().err
    assert stop.value.code == 1
    assert printed.startswith("error: there is no folder")
    assert printed.count("\n") == 1
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
