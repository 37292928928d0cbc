"""Peaks are what was held at most, above what was there, measured in a process that did nothing else."""

import mmap
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from fcnseg.benchmarks import memory
from fcnseg.benchmarks.memory import INFERENCE, LOSS, MIB, TRAINING, in_child, measure, method, peak
from fcnseg.benchmarks.nets import Setting

linux = pytest.mark.skipif(method("cpu") != "VmHWM", reason="needs Linux, and a peak that can be set back")


@linux
@pytest.mark.parametrize("size", [64, 128])
def test_what_is_held_for_a_moment_counts(size, monkeypatch):
    def hold():  # pages of its own: what other tests freed in this process may serve a tensor
        with mmap.mmap(-1, size * MIB) as block:
            for page in range(0, len(block), mmap.PAGESIZE):
                block[page] = 1

    monkeypatch.setattr(memory, "_prepared", lambda *_: hold)
    held = peak("ours", INFERENCE, Setting()) / MIB
    assert size - 4 <= held < size + 40  # the kernel counts pages of each thread in batches


@linux
def test_what_was_held_before_does_not(monkeypatch):
    def prepared(*_):
        torch.ones(300 * MIB, dtype=torch.uint8)
        return lambda: None

    monkeypatch.setattr(memory, "_prepared", prepared)
    assert peak("ours", INFERENCE, Setting()) / MIB < 100


@pytest.mark.parametrize("what", [INFERENCE, TRAINING])
def test_a_net_runs_at_full_size(what, monkeypatch):
    setting = Setting(backbone="squeezenet", size=(48, 40))
    run = memory._prepared("ours", what, setting)
    result = run()
    assert result.shape == (1, 21, 40, 48) if what == INFERENCE else result.ndim == 0


@pytest.mark.slow
def test_each_is_measured_in_a_process_of_its_own():
    setting = Setting(size=(250, 250))
    assert in_child(peak, "dense kernel and loss as torchfcn's", LOSS, setting) > 0


def test_a_process_that_is_killed_has_its_row(peers, monkeypatch):
    def child(_, label, what, setting):
        if label == "torchfcn" and what == TRAINING:
            raise BrokenProcessPool
        return (20 if label == "ours" else 30) * MIB

    monkeypatch.setattr(memory, "in_child", child)
    found = measure(Setting(size=(40, 24), peers=peers))
    rows = {(row["part"], row["what"]): row for row in found["rows"]}
    assert len(rows) == 2 * 4 + 3
    assert rows[INFERENCE, "torchfcn"] == {"what": "torchfcn", "part": INFERENCE, "MiB": 30, "times ours": 1.5}
    assert "killed" in rows[TRAINING, "torchfcn"]["failed"]
    assert rows[TRAINING, "ours again"]["times ours"] == 1
    assert found["method"] == method("cpu")
