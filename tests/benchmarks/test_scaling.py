"""Every side, batch and stride has its rows, or the reason why it has none."""

import torch

from fcnseg.benchmarks import scaling
from fcnseg.benchmarks.nets import Setting
from fcnseg.benchmarks.scaling import bytes_needed, measure


def test_every_point_is_timed_beside_the_peer(peers, narrow_vgg):
    found = measure(Setting(size=(24, 24), peers=peers), (16, 24), (1, 3), (32, 8), "fp32", 1)
    points = ["side 16", "side 24", "batch 1", "batch 3", "stride 32", "stride 8"]
    assert [row["what"] for row in found["rows"]] == [
        f"{point}: {label}" for point in points for label in ("ours", "torchfcn", "ours again")
    ]
    batch = next(row for row in found["rows"] if row["what"] == "batch 3: ours")
    assert batch["images/s"] == 3000 / batch["ms"]


def test_what_does_not_fit_is_said(monkeypatch):
    room = bytes_needed(Setting("fcn8s", "squeezenet", (64, 64)), torch.float32)
    monkeypatch.setattr(scaling, "free_bytes", lambda device: room)
    found = measure(Setting(backbone="squeezenet", size=(64, 64)), (64, 10_000), (), (), "fp32", 1)
    assert [row["what"] for row in found["rows"]] == ["side 64: ours", "side 64: ours again", "side 10000: ours"]
    assert found["rows"][-1]["failed"].startswith("left out, would need about 99 GiB")
    assert any("make bench" in note for note in found["notes"])


def test_memory_that_runs_out_all_the_same_is_said(monkeypatch, narrow_vgg):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(scaling, "interleaved", full)
    (row,) = measure(Setting(size=(8, 8)), (8,), (), (), "fp32", 1)["rows"]
    assert row == {"what": "side 8: ours", "failed": "CUDA out of memory"}
