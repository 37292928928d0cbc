"""Ours and the dense kernel compute one loss, whose gradient is part of what is timed."""

import pytest
import torch

from fcnseg.benchmarks.loss import AS_TORCHFCN, DENSE, differentiated, measure, steps
from fcnseg.benchmarks.nets import Setting


def test_three_ways_are_timed_and_agree():
    found = measure(Setting(size=(40, 24), batch=2), 1)
    assert [row["what"] for row in found["rows"]] == ["ours", DENSE, AS_TORCHFCN, "ours again"]
    assert set(found["differences"]) == {DENSE, AS_TORCHFCN}
    assert max(found["differences"].values()) < 1e-6


@pytest.mark.parametrize(("model", "backbone"), [("fcn32s", "vgg16"), ("fcn8s", "squeezenet"), ("fcn16s", "caffenet")])
def test_they_agree_for_every_stride_and_kernel(model, backbone):
    values = [float(step()) for step in steps(Setting(model, backbone, (50, 37))).values()]
    assert values == pytest.approx([values[0]] * 3, rel=1e-5)


def test_the_gradient_is_computed():
    seen = []
    scores = torch.ones(2, 3)

    def loss(coarse):
        coarse.register_hook(seen.append)
        return (2 * coarse).sum()

    assert differentiated(scores, loss)() == 12
    assert torch.equal(seen[0], torch.full((2, 3), 2.0))
    assert not scores.requires_grad
