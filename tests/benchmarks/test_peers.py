"""The peer is found where it lies, its models run without its package, and its loss is the sum over valid pixels."""

import sys

import pytest
import torch
from torch.nn import functional

from fcnseg.benchmarks.peers import (
    PACKAGE,
    TorchvisionFCN,
    summed_cross_entropy,
    torchfcn_folder,
    torchfcn_net,
)


def test_the_models_run_without_their_package_and_its_imports(peers):
    before = set(sys.modules)
    net = torchfcn_net("fcn8s", peers)
    assert type(net).__name__ == "FCN8s"
    assert net(torch.zeros(1, 3, 5, 7)).shape == (1, 21, 5, 7)
    assert "fcn" not in set(sys.modules) - before
    assert PACKAGE not in sys.modules


def test_each_folder_has_its_own_models(peers, tmp_path):
    first = torchfcn_net("fcn32s", peers)
    file = tmp_path / "other" / "torchfcn-1.9.7" / "torchfcn" / "models"
    file.mkdir(parents=True)
    (file / "fcn8s.py").write_text("")
    (file / "fcn32s.py").write_text("import torch\nclass FCN32s(torch.nn.Identity): pass")
    assert isinstance(torchfcn_net("fcn32s", tmp_path / "other"), torch.nn.Identity)
    assert not isinstance(first, torch.nn.Identity)


def test_an_installed_one_is_found_without_being_run(peers, monkeypatch):
    assert torchfcn_folder() is None
    monkeypatch.syspath_prepend(peers)
    assert torchfcn_folder() == peers / "torchfcn" / "models"


def test_what_is_not_here_is_said(tmp_path, peers):
    with pytest.raises(FileNotFoundError, match="make bench"):
        torchfcn_net("fcn8s")
    with pytest.raises(FileNotFoundError, match=r"there is no torchfcn/models/fcn8s\.py in it"):
        torchfcn_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="torchfcn has no fcn4s; it has fcn32s"):
        torchfcn_net("fcn4s", peers)


def test_torchvisions_net_gives_logits():
    assert TorchvisionFCN(5).eval()(torch.zeros(1, 3, 33, 40)).shape == (1, 5, 33, 40)


def test_the_loss_is_the_sum_over_valid_pixels():
    logits = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets = torch.arange(60).view(2, 5, 6) % 5 - 1
    theirs = summed_cross_entropy(logits, targets)
    (gradient,) = torch.autograd.grad(theirs, logits)
    expected = functional.cross_entropy(logits, targets, ignore_index=-1, reduction="sum")
    torch.testing.assert_close(theirs, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, logits)[0])
