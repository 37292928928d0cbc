"""One pass and its crops are compared where both give the same outputs."""

import pytest
import torch

from fcnseg.benchmarks.convolutionalization import measure, ways
from fcnseg.classifier import Classifier


@pytest.mark.slow
def test_four_ways_are_timed(monkeypatch, narrow):
    monkeypatch.setattr(
        "fcnseg.benchmarks.convolutionalization.create_classifier", lambda name: Classifier(narrow(name)(0))
    )
    found = measure("caffenet", 1, "cpu")
    assert found["title"] == "caffenet, 500x500 against 100 crops of 227x227, 1 rounds"
    assert [row["what"] for row in found["rows"]] == [
        *("the whole image at once", "one crop", "the crops one by one", "the crops as one batch"),
        "the whole image at once again",
    ]
    assert found["rows"][0]["times the whole image at once"] == 1


def test_all_ways_give_as_many_outputs(narrow):
    net = Classifier(narrow("caffenet")(0)).eval()
    run = ways(net, torch.zeros(1, 3, 500, 500, dtype=torch.uint8), torch.zeros(2, 3, 227, 227, dtype=torch.uint8))
    with torch.inference_mode():
        assert run["the whole image at once"]().shape == (1, 1000, 10, 10)
        assert run["the crops as one batch"]().shape == (2, 1000, 1, 1)
        assert len(run["the crops one by one"]()) == 2
        assert run["one crop"]().shape == (1, 1000, 1, 1)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="so they cannot be compared: take caffenet"):
        measure("bvlc_googlenet", 1, "cpu")
