"""Chance: a function of its key, evenly spread, the same on every machine."""

import numpy as np
import pytest

from fcnseg.data.chance import RANGE, LossChance, below, between, numbers
from fcnseg.data.dataset import Draw


def test_numbers_are_those_of_their_key_alone():
    assert numbers(1, 2, 3) == numbers(1, 2, 3)
    keys = [(1, 2, 3), (3, 2, 1), (1, 23), (12, 3), (1, 2, -3), (1, 2, 3, 0)]
    found = [number for key in keys for number in numbers(*key)]
    assert len(found) == len(set(found)) == 8 * len(keys)


def test_numbers_are_the_same_on_every_machine():
    assert numbers(0)[0] == 13878215301362151913


def test_the_ends_of_a_range_are_reached_and_not_passed():
    assert (below(0, 7), below(RANGE - 1, 7)) == (0, 6)
    assert between(0, -2.0, 3.0) == -2
    assert between(RANGE - 1, -2.0, 3.0) == pytest.approx(3)


def test_every_place_in_a_range_is_as_likely():
    counts = np.bincount([below(number, 10) for key in range(500) for number in numbers(7, key)])
    assert len(counts) == 10
    assert ((counts - 400) ** 2 / 400).sum() < 27.9  # 0.1 % with 9 degrees of freedom


def test_the_losss_number_is_that_of_seed_and_draw_alone():
    draws = [Draw(index, epoch, turn) for index in range(3) for epoch in range(3) for turn in range(3)]
    found = [LossChance(seed)(draw) for seed in (0, 1) for draw in draws]
    assert found == [LossChance(seed)(draw) for seed in (0, 1) for draw in draws]
    assert len(set(found)) == 54
    assert 0 <= min(found) < 2**61 < max(found) < 2**63  # torch has signed numbers alone
