"""Times are medians over rounds in which every candidate has its turn."""

import pytest

from fcnseg.timing import checked_device, medians


def test_every_way_runs_once_more_than_it_counts():
    runs = []
    times = medians({"a": lambda: runs.append("a"), "b": lambda: runs.append("b")}, 3)
    assert runs == ["a", "b"] * 4
    assert all(seconds >= 0 for seconds in times.values())


def test_a_device_that_is_not_here_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert checked_device("cpu") == "cpu"
    for name, said in (("cuda:1", "--device cuda:1: there is no CUDA GPU here"), ("banana", "banana is no device")):
        with pytest.raises(ValueError, match=said):
            checked_device(name)
