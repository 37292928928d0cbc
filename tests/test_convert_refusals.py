"""What is not converted: targets that are in the way, sources of other kinds, nets that are not the stated one."""

import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from caffemodels import write_caffemodel
from fcnseg.convert import convert, main
from fcnseg.weights.nets import HIDDEN, NETS, VGG, VGG19
from payload import Payload
from published import convolution, layers_of, pytorch_fcn


@pytest.fixture
def source(tmp_path):
    """Writes a caffemodel of the given layers."""

    def build(layers, name="net.caffemodel"):
        return write_caffemodel(tmp_path / name, layers)

    return build


@pytest.fixture
def state():
    return pytorch_fcn()


FCN8S = NETS["voc-fcn8s"].layers


@pytest.mark.parametrize(
    ("layers", "net", "message"),
    [
        (layers_of(VGG | HIDDEN), "voc-fcn16s", r"net.caffemodel is not --net voc-fcn16s: it lacks score_fr, score_"),
        (layers_of(VGG19 | HIDDEN | {"fc8"}), "vgg16", r"it has conv3_4, conv4_4, conv5_4 besides: take --net vgg19"),
        (layers_of(FCN8S), "voc-fcn32s", r"it has score_pool3, score_pool4 besides: take --net voc-fcn8s, or leave"),
        (layers_of(FCN8S, score_fr=convolution(40)), "voc-fcn8s", "score_fr has 40 classes, needed 21: leave --net"),
        (layers_of(FCN8S | {"scale_pool4", "scale_pool3"}), "voc-fcn8s", "it has scale_pool3, scale_pool4 besides"),
        (layers_of(FCN8S), "voc-fcn8s-atonce", "it lacks scale_pool3, scale_pool4, which only a port does without"),
    ],
)
def test_a_stated_net_that_the_file_is_not_is_refused(layers, net, message, source, tmp_path):
    with pytest.raises(ValueError, match=message):
        convert(source(layers), tmp_path / "net.safetensors", net)
    assert not (tmp_path / "net.safetensors").exists()


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


def test_code_in_a_state_dict_is_refused_and_never_run(state, tmp_path, capsys):
    file, trace, target = tmp_path / "net.pth", tmp_path / "it_ran", tmp_path / "net.safetensors"
    torch.save(state | {"extra": Payload(trace)}, file)
    with pytest.raises(SystemExit) as stop:
        main([str(file), str(target)])
    printed = capsys.readouterr()
    assert stop.value.code == 1
    assert printed.err.startswith(f"error: {file} cannot be read as tensors")
    assert not trace.exists()
    assert not target.exists()
    assert printed.out == ""
