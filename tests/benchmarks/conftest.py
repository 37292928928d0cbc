"""Small nets for benchmarks: a torchfcn of two layers, and a VGG 16 with a fraction of its channels."""

import pytest
from torch import nn

from fake_torchfcn import write_torchfcn


@pytest.fixture
def peers(tmp_path):
    """The folder of a made-up torchfcn."""
    return write_torchfcn(tmp_path / "peers")


@pytest.fixture
def narrow_vgg(monkeypatch, narrow):
    """Makes every backbone that is built by name a narrow one, and what is measured beside it small too."""
    monkeypatch.setattr("fcnseg.backbones.backbone_class", narrow)
    monkeypatch.setattr("fcnseg.benchmarks.nets.TorchvisionFCN", lambda classes: nn.Conv2d(3, classes, 3, padding=1))
    monkeypatch.setattr("fcnseg.benchmarks.machine.SIDES", (16,))
