"""Every way has its row, and one that fails does not stop the others; seen here without a GPU."""

import pytest
import torch

from fcnseg.benchmarks.gpu import WAYS, measure
from fcnseg.benchmarks.nets import Setting

PHASES = ["training, autocast", "inference, bf16", "inference, fp32"]


@pytest.mark.slow
def test_every_way_has_its_row_in_every_phase(peers, narrow_vgg, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda run: run)
    found = measure(Setting(size=(40, 24), peers=peers), 1, 1000)
    for phase in PHASES:
        rows = {row["what"]: row for row in found["rows"] if row["part"] == phase}
        assert sorted(rows) == sorted([*WAYS, "ours again"])
        assert rows["ours, compiled"]["GFLOP"] == rows["ours"]["GFLOP"] < rows["ours, plain"]["GFLOP"]
        assert all(row["images/s"] > 0 and row["to begin, s"] > 0 for row in rows.values())
    assert set(found["peaks GFLOP/s"]) == {"fp32", "bf16"}


@pytest.mark.slow
def test_one_that_fails_says_so_and_the_others_go_on(narrow_vgg, monkeypatch):
    def broken(run):
        raise RuntimeError("no compiler here\nand much more")

    monkeypatch.setattr(torch, "compile", broken)
    found = measure(Setting(size=(40, 24)), 1, 1000)
    failed = [row for row in found["rows"] if "failed" in row]
    assert [row["what"] for row in failed] == ["ours, compiled", "ours, plain, compiled"] * 3
    assert failed[0]["failed"] == "RuntimeError: no compiler here"
    assert len(found["rows"]) == 3 * 6


def test_nothing_begins_after_the_limit(narrow_vgg):
    found = measure(Setting(size=(40, 24)), 1, 0)
    assert {row["failed"] for row in found["rows"]} == {"left out: --limit"}
