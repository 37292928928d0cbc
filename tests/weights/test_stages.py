"""Coarse to fine: a finer net starts as the coarser one, skip by skip."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from caffemodels import write_caffemodel
from fcnseg.fcn import FCN, bilinear_kernel
from fcnseg.geometry import Grid
from fcnseg.weights.normalization import CAFFE, TORCHVISION
from fcnseg.weights.stages import (
    Stage,
    find_checkpoint,
    published_file,
    read_stage,
    start_from_coarser,
    start_from_published,
)

NEW_SCORES = {16: "score_pool4", 8: "score_pool3"}


def noise(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def net_at(stride, trunk, **options):
    torch.manual_seed(stride)
    return FCN(trunk(), 4, stride, **options).double().eval()


def trained(net):
    """Stands for a training: every parameter has moved."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += torch.randn_like(parameter) * (parameter.std() if parameter.numel() > 1 else 1) + 0.01
    return net


def stage_of(net):
    return Stage(Path("runs/coarse/checkpoints/last.ckpt"), net.state_dict(), {})


@pytest.fixture
def trunk(narrow):
    return narrow("vgg16")


def upsampled_twice(scores):
    """The map of the finer stage as the authors compute it, by a transposed convolution."""
    filters = bilinear_kernel(4).double().expand(scores.shape[1], 1, -1, -1)
    return functional.conv_transpose2d(scores, filters, stride=2, groups=scores.shape[1])


@pytest.mark.parametrize("stride", [16, 8])
@pytest.mark.parametrize("learned", [False, True])
def test_the_finer_net_starts_with_the_coarser_ones_scores_upsampled(stride, learned, trunk):
    coarse = trained(net_at(2 * stride, trunk, learn_intermediate=learned))
    fine = net_at(stride, trunk, learn_intermediate=learned)
    start_from_coarser(fine, stage_of(coarse), [NEW_SCORES[stride], f"upsample{2 * stride}", f"upsample{stride}"])
    images = noise(1, 3, 90, 70)
    with torch.inference_mode():
        before, after = coarse.scores(images), fine.scores(images)
        expected = upsampled_twice(before.tensor)
    cells = before.grid.upsample(4, 2).crop_to(Grid(stride, after.grid.offset, 1))
    rows, columns = after.tensor.shape[2:]
    window = expected[:, :, cells : cells + rows, cells : cells + columns]
    assert after.tensor.abs().max() > 0
    torch.testing.assert_close(after.tensor, window, rtol=1e-9, atol=1e-9 * float(window.abs().max()))


def test_three_stages_carry_every_parameter_on(trunk):
    coarsest, middle, finest = (net_at(stride, trunk) for stride in (32, 16, 8))
    trained(coarsest)
    start_from_coarser(middle, stage_of(coarsest), ["score_pool4", "upsample32", "upsample16"])
    trained(middle)
    start_from_coarser(finest, stage_of(middle), ["score_pool3", "upsample16", "upsample8"])
    state = finest.state_dict()
    assert all(torch.equal(state[name], value) for name, value in middle.state_dict().items())
    assert not finest.score_pool3.weight.any()
    assert not finest.score_pool3.bias.any()


def test_a_learned_last_upsampling_is_not_carried_to_a_net_that_upsamples_less(trunk):
    coarse, fine = (net_at(stride, trunk, learn_intermediate=True, learn_final=True) for stride in (16, 8))
    trained(coarse)
    new = {name: fine.get_submodule(name).weight.clone() for name in ("upsample16", "upsample8")}
    start_from_coarser(fine, stage_of(coarse), ["score_pool3", *new])
    assert torch.equal(fine.upsample32.weight, coarse.upsample32.weight)
    assert all(torch.equal(fine.get_submodule(name).weight, value) for name, value in new.items())


def lacking(state):
    del state["backbone.fc7.bias"], state["score_fr.weight"]


def strange(state):
    state["backbone.fc8.weight"] = torch.zeros(1)


def other_classes(state):
    state["score_fr.bias"] = torch.zeros(7)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lacking, r"last.ckpt is not the coarser form of this net: it lacks (backbone.fc7.bias, score_fr.weight)$"),
        (strange, r"has layers unknown to the finer net: backbone.fc8.weight$"),
        (other_classes, r"has other shapes in score_fr.bias$"),
    ],
)
def test_what_is_not_the_coarser_net_is_refused_and_changes_nothing(spoil, message, trunk):
    coarse, fine = trained(net_at(32, trunk)), net_at(16, trunk)
    stage, before = stage_of(coarse), {name: value.clone() for name, value in fine.state_dict().items()}
    spoil(stage.state)
    with pytest.raises(ValueError, match=message):
        start_from_coarser(fine, stage, ["score_pool4", "upsample32", "upsample16"])
    assert all(torch.equal(fine.state_dict()[name], value) for name, value in before.items())


def test_a_net_that_lacks_an_older_skip_is_refused(trunk):
    with pytest.raises(ValueError, match=r"it lacks score_pool4.weight, score_pool4.bias"):
        start_from_coarser(net_at(8, trunk), stage_of(net_at(32, trunk)), ["score_pool3", "upsample16", "upsample8"])


# ---- checkpoints


@pytest.fixture
def checkpoint(tmp_path):
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    file.parent.mkdir(parents=True)
    normalization = {"order": "bgr", "scale": 1.0, "mean": list(CAFFE.mean), "std": [1.0, 1.0, 1.0]}
    content = {
        "state_dict": {"model.score_fr.bias": torch.arange(3.0), "confusion.matrix": torch.zeros(2, 2)},
        "global_step": 40,
        "fcnseg": {"normalization": normalization, "num_classes": 3},
    }
    torch.save(content, file)
    return file


@pytest.mark.parametrize("by_folder", [False, True])
def test_a_stage_is_read_from_its_checkpoint_or_its_run(by_folder, checkpoint):
    stage = read_stage(checkpoint.parents[1] if by_folder else checkpoint)
    assert stage.path == checkpoint
    assert list(stage.state) == ["score_fr.bias"]
    assert stage.state["score_fr.bias"].tolist() == [0, 1, 2]
    assert (stage.record["num_classes"], stage.record["steps"]) == (3, 40)
    assert stage.normalization == CAFFE != TORCHVISION


def test_a_run_without_a_checkpoint_and_no_run_at_all_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} is no finished run: there is no .*last.ckpt"):
        find_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"no checkpoint and no run folder {tmp_path / 'gone'}"):
        find_checkpoint(tmp_path / "gone")


@pytest.mark.parametrize("key", ["fcnseg", "state_dict"])
def test_a_checkpoint_of_another_program_is_refused(key, checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    del content[key]
    torch.save(content, checkpoint)
    with pytest.raises(ValueError, match=r"was not written by fcnseg.train"):
        read_stage(checkpoint)


# ---- nets published elsewhere


def blobs_of(net):
    """A net as the authors' files hold it, last upsampling included."""
    named = {name.rpartition(".")[2]: module for name, module in net.named_modules()}
    blobs = {
        name: ("Convolution", [module.weight.detach().float().numpy(), module.bias.detach().float().numpy()])
        for name, module in named.items()
        if isinstance(module, torch.nn.Conv2d)
    }
    layer = named[f"upsample{net.output_stride}"]
    kernel = torch.zeros(4, 4, layer.kernel, layer.kernel)
    kernel[range(4), range(4)] = bilinear_kernel(layer.kernel)
    return blobs | {"upscore": ("Deconvolution", [kernel.numpy()])}


def test_a_caffemodel_fills_the_whole_net_and_brings_caffes_normalisation(trunk, tmp_path):
    source, target = trained(net_at(16, trunk)).float(), net_at(16, trunk).float()
    path = write_caffemodel(
        tmp_path / "net.caffemodel", blobs_of(source) | {"upscore2": ("Deconvolution", [skip_kernel()])}
    )
    assert start_from_published(target, path, ["score_pool4"]) == CAFFE
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items())


def skip_kernel():
    kernel = torch.zeros(4, 4, 4, 4)
    kernel[range(4), range(4)] = bilinear_kernel(4)
    return kernel.numpy()


def test_a_finer_net_starts_from_a_published_coarser_one(trunk, tmp_path):
    source, target = trained(net_at(32, trunk)).float(), net_at(16, trunk).float()
    path = write_caffemodel(tmp_path / "coarse.caffemodel", blobs_of(source))
    start_from_published(target, path, ["score_pool4"])
    assert torch.equal(target.score_fr.weight, source.score_fr.weight)
    assert not target.score_pool4.weight.any()


def test_tensors_of_another_port_fill_the_net_too(trunk, tmp_path):
    source, target = trained(net_at(32, trunk)).float(), net_at(32, trunk).float()
    state = {name.removeprefix("backbone."): value for name, value in source.state_dict().items()}
    torch.save(state, tmp_path / "port.pth")
    assert start_from_published(target, tmp_path / "port.pth", []) is None
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items())


def test_a_classifiers_file_is_no_whole_net(trunk, tmp_path):
    net = net_at(32, trunk).float()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    blobs = {name: blob for name, blob in blobs_of(net).items() if name not in ("score_fr", "upscore")}
    path = write_caffemodel(tmp_path / "classifier.caffemodel", blobs)
    with pytest.raises(
        ValueError, match=r"weights of a classifier alone go to backbone.weights.*missing layers: score_fr"
    ):
        start_from_published(net, path, [])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("name", "ours"), [("net.caffemodel", False), ("net.safetensors", False), ("net.pth", False), ("last.ckpt", True)]
)
def test_a_file_of_weights_is_told_from_a_run_of_ours(name, ours, tmp_path):
    assert published_file(str(tmp_path / name)) == (None if ours else tmp_path / name)
    assert published_file(str(tmp_path)) is None


def test_the_authors_nets_are_known_by_name(monkeypatch, tmp_path):
    monkeypatch.setattr("fcnseg.weights.stages.released_file", lambda name: tmp_path / f"{name}.caffemodel")
    assert published_file("fcn8s-heavy-pascal") == tmp_path / "fcn8s-heavy-pascal.caffemodel"
