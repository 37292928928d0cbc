"""A training step changes the weights, each net by its own loss."""

import copy

import pytest
import torch
from torch.nn import functional

from fcnseg.benchmarks import machine
from fcnseg.benchmarks.nets import PEER, Entrant, Setting, entrant, targets_of
from fcnseg.benchmarks.train import LR, measure, step


def test_steps_of_ours_and_the_peer_are_timed(peers, narrow_vgg):
    found = measure(Setting(size=(40, 24), peers=peers), "fp32", 1)
    rows = {row["what"]: row for row in found["rows"]}
    assert list(rows) == ["ours", "ours, plain", "torchfcn", "torchfcn, channels_last", "ours again"]
    assert 0 < rows["ours"]["GFLOP"] < rows["ours, plain"]["GFLOP"]


def test_bf16_is_autocast_beside_the_peer_with_and_without_it(peers, narrow_vgg, monkeypatch):
    monkeypatch.setattr(
        machine, "product_gflops", lambda dtype, device: {torch.float32: 10, torch.bfloat16: 1000}[dtype]
    )
    found = measure(Setting(size=(40, 24), peers=peers), "bf16", 1)
    assert [row["what"] for row in found["rows"]] == [
        *("ours, autocast", "ours, plain, autocast", "torchfcn", "torchfcn, autocast"),
        *("torchfcn, channels_last, autocast", "ours, autocast again"),
    ]
    assert "times ours, autocast" in found["rows"][2]
    ours, _, theirs, *_, again = found["rows"]
    assert theirs["of peak"] == pytest.approx(theirs["GFLOP/s"] / 10)
    assert [row["of peak"] / row["GFLOP/s"] for row in (ours, again)] == pytest.approx([1e-3, 1e-3])


def test_a_step_of_the_peer_descends_its_summed_loss_and_leaves_its_upsampling(peers):
    setting = Setting(size=(9, 7), batch=2, peers=peers)
    each, targets = entrant(PEER, setting), targets_of(setting)
    expected = functional.cross_entropy(each.net(each.images), targets.long(), ignore_index=255, reduction="sum")
    expected.backward()
    before = {name: parameter.detach().clone() for name, parameter in each.net.named_parameters()}
    bias = each.net.score_fr.bias.grad.clone()
    torch.testing.assert_close(step(each, targets)(), expected.detach())
    assert torch.equal(each.net.upscore.weight, before["upscore.weight"])
    assert each.net.upscore.weight.grad is not None
    torch.testing.assert_close(each.net.score_fr.bias, before["score_fr.bias"] - 2 * LR * bias)


def test_the_two_losses_are_one(narrow_vgg):
    setting = Setting(size=(40, 24))
    ours, targets = entrant("ours", setting), targets_of(setting)
    theirs = Entrant(
        PEER, torch.nn.Sequential(copy.deepcopy(ours.net)), ours.images
    )  # no FCN any more, so the peer's loss
    torch.manual_seed(0)
    value = step(ours, targets)()
    torch.manual_seed(0)
    assert float(step(theirs, targets)()) == pytest.approx(float(value), rel=1e-5)
