"""What was freed goes back before a pass through large maps, where it is worth it, and nowhere else."""

import ctypes
import mmap
from unittest import mock

import pytest
import torch

from fcnseg.backbones import heap
from fcnseg.backbones.heap import Trimmer, resident_bytes, trim

LARGE = torch.zeros(1, 3, 300, 300)


@pytest.fixture
def calls(monkeypatch):
    found = []
    monkeypatch.setattr(heap, "_malloc_trim", lambda: found.append)
    return found


@pytest.fixture
def grown(monkeypatch):
    """Lets the process have as many bytes as one says."""
    monkeypatch.setattr(heap, "resident_bytes", lambda: grow.bytes)

    def grow(bytes):
        grow.bytes = bytes

    return grow


def test_every_training_pass_through_large_maps_is_worth_it(calls):
    trimmer = Trimmer()
    trimmer.before(LARGE)
    trimmer.before(LARGE)
    assert calls == [0, 0]


def test_without_gradients_it_is_once_the_process_has_grown(calls, grown):
    trimmer, most = Trimmer(), heap.MOST_KEPT * LARGE.nbytes
    with torch.inference_mode():
        for bytes, times in ((1000, 0), (1000 + most, 0), (1001 + most, 1), (1001 + 2 * most, 1), (1002 + 2 * most, 2)):
            grown(bytes)
            trimmer.before(LARGE)
            assert len(calls) == times


def test_a_training_in_between_begins_anew(calls, grown):
    trimmer = Trimmer()
    for bytes, gradients in ((0, False), (0, True), (10**12, False)):
        grown(bytes)
        with torch.set_grad_enabled(gradients):
            trimmer.before(LARGE)
    assert calls == [0]


@pytest.mark.parametrize("inputs", [torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 300, 300, device="meta")])
def test_small_ones_and_other_devices_are_not(inputs, calls):
    Trimmer().before(inputs)
    assert calls == []


def test_the_process_has_memory():
    before = resident_bytes()
    assert before > 2**26
    with mmap.mmap(-1, 2**27) as kept:  # pages of its own: an allocation might take what was freed before
        kept.write(b"\1" * 2**27)
        assert resident_bytes() > before + 2**26


def test_without_glibc_and_proc_nothing_happens(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    monkeypatch.setattr(heap.Path, "read_text", mock.Mock(side_effect=FileNotFoundError))
    heap._malloc_trim.cache_clear()
    trim()
    assert resident_bytes() == 0
    monkeypatch.undo()
    heap._malloc_trim.cache_clear()
    trim()
