"""What was freed goes back before a pass through large maps, and nowhere else."""

import ctypes

import pytest
import torch

from fcnseg.backbones import heap
from fcnseg.backbones.heap import trim, trim_before


@pytest.fixture
def calls(monkeypatch):
    found = []
    monkeypatch.setattr(heap, "_malloc_trim", lambda: found.append)
    return found


def test_a_pass_through_large_maps_is_worth_it(calls):
    trim_before(torch.zeros(1, 3, 300, 300))
    assert calls == [0]


def test_a_pass_without_gradients_is_not(calls):
    with torch.inference_mode():
        trim_before(torch.zeros(1, 3, 300, 300))
    assert calls == []


@pytest.mark.parametrize("inputs", [torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 300, 300, device="meta")])
def test_small_ones_and_other_devices_are_not(inputs, calls):
    trim_before(inputs)
    assert calls == []


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    heap._malloc_trim.cache_clear()
    trim()
    monkeypatch.undo()
    heap._malloc_trim.cache_clear()
    trim()
