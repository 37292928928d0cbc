"""Inference is timed for ours, the same without the window, and the peers, after they were seen to agree."""

import json

import pytest
import torch

from fcnseg.benchmarks import infer, machine
from fcnseg.benchmarks.infer import measure
from fcnseg.benchmarks.nets import Setting


def test_everyone_is_timed_and_ours_does_less_for_the_same_logits(peers, narrow_vgg, monkeypatch):
    monkeypatch.setitem(infer.SAME, "fp32", float("inf"))  # the made-up torchfcn is another net
    found = measure(Setting(size=(40, 24), peers=peers), "fp32", 2)
    rows = {row["what"]: row for row in found["rows"]}
    assert list(rows) == [
        *("ours", "ours, plain", "torchfcn", "torchfcn, channels_last"),
        *("torchvision fcn_resnet50", "ours again"),
    ]
    assert 0 < rows["ours"]["GFLOP"] < rows["ours, plain"]["GFLOP"]
    assert rows["ours"]["GFLOP"] == rows["ours again"]["GFLOP"]
    assert found["differences"]["ours, plain"] <= 5e-5
    assert found["differences"]["torchfcn"] > 0.01
    assert {len(seconds) for seconds in found["seconds"].values()} == {2}
    json.dumps(found)


def test_among_nets_in_bfloat16_torchfcn_is_timed_in_float32_too(peers, narrow_vgg, monkeypatch):
    monkeypatch.setitem(infer.SAME, "bf16", float("inf"))
    monkeypatch.setattr(
        machine, "product_gflops", lambda dtype, device: {torch.float32: 10, torch.bfloat16: 1000}[dtype]
    )
    passes = []
    monkeypatch.setattr(infer, "_pass", lambda each: passes.append(each) or (lambda: each.net.eval()(each.images)))
    found = measure(Setting(size=(40, 24), peers=peers), "bf16", 1)
    assert [next(each.net.parameters()).dtype for each in passes[:-1]] == [torch.bfloat16] * 5
    assert (passes[-1].label, passes[-1].images.dtype) == ("torchfcn", torch.float32)
    assert passes[-1].net.score_fr.weight.dtype == torch.float32
    *_, ours, _, theirs, again = found["rows"]
    assert (theirs["what"], again["what"]) == ("torchfcn, fp32", "ours again")
    assert theirs["of peak"] == pytest.approx(theirs["GFLOP/s"] / 10)
    assert ours["of peak"] == pytest.approx(ours["GFLOP/s"] / 1000)
    assert again["of peak"] == pytest.approx(again["GFLOP/s"] / 1000)
    assert found["peak GFLOP/s"] == 1000


def test_nets_that_compute_something_else_are_not_compared(peers, narrow_vgg):
    with pytest.raises(ValueError, match=r"torchfcn and ours differ by .* of the largest logit"):
        measure(Setting(size=(40, 24), peers=peers), "fp32", 1)


def test_ours_stands_alone_where_there_is_no_peer(narrow_vgg):
    found = measure(Setting("fcn16s", size=(40, 24), batch=2), "bf16", 1)
    assert [row["what"] for row in found["rows"]][:2] == ["ours", "ours, plain"]
    assert "fcn16s, vgg16, 40x24, batch 2, bf16, 1 rounds" in found["title"]
    assert any("make bench" in note for note in found["notes"])
