"""Times are medians over rounds in which every candidate has its turn."""

import pytest
import torch

from fcnseg.timing import Times, checked_device, interleaved, medians


def test_every_way_runs_once_more_than_it_counts_and_none_is_always_first():
    runs = []
    times = interleaved({"a": lambda: runs.append("a"), "b": lambda: runs.append("b")}, 3)
    assert "".join(runs) == "ab" + "ab" + "ba" + "ab"
    assert [len(seconds) for seconds in times.rounds.values()] == [3, 3]
    assert all(seconds >= 0 for rounds in times.rounds.values() for seconds in rounds)


def test_medians_need_no_gradients():
    seen = []
    found = medians({"a": lambda: seen.append(torch.is_inference_mode_enabled())}, 2)
    assert seen == [True] * 3
    assert found["a"] >= 0


def test_ratios_are_taken_round_by_round():
    times = Times({"a": [1.0, 10.0, 2.0], "b": [2.0, 30.0, 2.0]})
    assert (times.median("a"), times.median("b")) == (2, 2)
    assert times.ratio("b", "a") == 2
    assert times.ratio_quartiles("b", "a") == (1.5, 2.5)
    assert times.quartiles("a") == (1.5, 6.0)
    assert Times({"a": [3.0]}).quartiles("a") == (3, 3)


def test_a_device_that_is_not_here_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert checked_device("cpu") == "cpu"
    for name, said in (("cuda:1", "--device cuda:1: there is no CUDA GPU here"), ("banana", "banana is no device")):
        with pytest.raises(ValueError, match=said):
            checked_device(name)
