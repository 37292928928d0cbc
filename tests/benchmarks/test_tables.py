"""Rows say times, ratios and rates; arithmetic is counted."""

import pytest
import torch

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
