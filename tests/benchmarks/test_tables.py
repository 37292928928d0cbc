"""Rows say times, ratios and rates; arithmetic is counted."""

import pytest
import torch

from fcnseg.backbones import convolution
from fcnseg.backbones.dense import DenseConv2d
from fcnseg.benchmarks.tables import controlled, difference, gflop, rows
from fcnseg.timing import Times


def test_a_row_holds_times_ratios_and_rates():
    times = Times({"ours": [1.0, 2.0, 3.0], "theirs": [2.0, 8.0, 6.0], "ours again": [1.0, 2.0, 3.0]})
    ours, theirs, again = rows(times, {"ours": 10.0}, peak=20.0)
    assert ours == {
        "what": "ours",
        "ms": 2000.0,
        "ms quartiles": [1500.0, 2500.0],
        "times ours": 1.0,
        "times ours quartiles": [1.0, 1.0],
        "GFLOP": 10.0,
        "GFLOP/s": 5.0,
        "of peak": 0.25,
    }
    assert (theirs["times ours"], theirs["times ours quartiles"]) == (2.0, [2.0, 3.0])
    assert "GFLOP" not in theirs
    assert again["GFLOP/s"] == 5


def test_the_control_is_the_first_way_once_more():
    def one():
        """Any way."""

    assert controlled({"a": one, "b": print}) == {"a": one, "b": print, "a again": one}


def test_a_multiplication_and_an_addition_are_two_operations():
    left, right = torch.zeros(10, 20), torch.zeros(20, 30)
    runs = []
    assert gflop(lambda: runs.append(left @ right)) == pytest.approx(2 * 10 * 20 * 30 / 1e9)
    assert len(runs) == 2


def test_a_difference_is_a_fraction_of_the_largest():
    assert difference(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 4.0])) == 0.25


@pytest.mark.parametrize("winograd", [True, False])
def test_arithmetic_is_that_of_direct_sums_whatever_computes_it(winograd, monkeypatch):
    monkeypatch.setattr(convolution, "NARROW", torch.backends.nnpack.is_available())
    layers = torch.nn.Sequential(convolution.Convolution(16, 24, 3, padding=1), DenseConv2d(24, 5, 7))
    images = torch.zeros(2, 16, 12, 10)
    with torch.backends.nnpack.flags(enabled=winograd), torch.no_grad():
        found = gflop(lambda: layers(images))
    assert found == pytest.approx(2 * 2 * (12 * 10 * 24 * 16 * 9 + 6 * 4 * 5 * 24 * 49) / 1e9)
