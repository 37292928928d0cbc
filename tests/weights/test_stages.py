"""Coarse to fine: a finer net starts as the coarser one, skip by skip."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from fcnseg.fcn import FCN
from fcnseg.geometry import Grid
from fcnseg.upsampling import bilinear_kernel
from fcnseg.weights.normalization import CAFFE, TORCHVISION
from fcnseg.weights.stages import (
    Stage,
    find_checkpoint,
    read_stage,
    start_from_coarser,
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


def test_learned_upsampling_is_not_dropped_for_fixed_one(trunk):
    coarse, fine = trained(net_at(16, trunk, learn_intermediate=True)), net_at(8, trunk)
    new = ["score_pool3", "upsample32", "upsample16", "upsample8"]
    with pytest.raises(ValueError, match=r"it has learned upsampling .*model.learn_intermediate.* upsample32.weight$"):
        start_from_coarser(fine, stage_of(coarse), new)
    start_from_coarser(fine, stage_of(net_at(16, trunk, learn_intermediate=True, learn_final=True)), new)


def test_a_net_of_the_same_stride_keeps_its_learned_last_upsampling(trunk):
    same = trained(net_at(16, trunk, learn_final=True))
    with pytest.raises(ValueError, match=r"it has learned upsampling .*model.learn_final.* upsample16.weight$"):
        start_from_coarser(net_at(16, trunk), stage_of(same), ["upsample32", "upsample16"])


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


def test_a_single_changed_bit_of_a_checkpoint_is_noticed(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save({"fcnseg": {}, "state_dict": {"model.w": torch.arange(3000.0)}}, path)
    assert torch.equal(read_stage(path).state["w"], torch.arange(3000.0))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path} is damaged \(in "):
        read_stage(path)


def test_a_run_that_has_only_the_checkpoint_before_the_last_says_so(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "previous.ckpt").touch()
    with pytest.raises(FileNotFoundError, match=r"name the checkpoint before it, .*previous\.ckpt"):
        find_checkpoint(tmp_path)
