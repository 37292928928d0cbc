"""Benchmarks run, compare like with like, and refuse what cannot be."""

import re

import pytest
import torch

from fcnseg.benchmark import main, ways
from fcnseg.classifier import Classifier


def test_convolutionalization_prints_four_ways_and_their_ratios(capsys, monkeypatch, narrow):
    monkeypatch.setattr("fcnseg.classifier.create_classifier", lambda name: Classifier(narrow(name)(0)))
    main(["convolutionalization", "--repeat", "1"])
    printed = capsys.readouterr().out
    assert "caffenet, 500x500 against 100 crops of 227x227" in printed
    rows = re.findall(r"│ (one crop|the [a-z ]+?) +│ +([\d.]+) │ +([\d.]+) │", printed)
    assert [label for label, _, _ in rows] == [
        "one crop",
        "the whole image at once",
        "the crops one by one",
        "the crops as one batch",
    ]
    assert all(float(ms) > 0 for _, ms, _ in rows)
    assert float(rows[1][2]) == 1


def test_all_ways_give_as_many_outputs(narrow):
    net = Classifier(narrow("caffenet")(0)).eval()
    run = ways(net, torch.zeros(1, 3, 500, 500, dtype=torch.uint8), torch.zeros(2, 3, 227, 227, dtype=torch.uint8))
    with torch.inference_mode():
        assert run["the whole image at once"]().shape == (1, 1000, 10, 10)
        assert run["the crops as one batch"]().shape == (2, 1000, 1, 1)
        assert len(run["the crops one by one"]()) == 2
        assert run["one crop"]().shape == (1, 1000, 1, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--repeat", "0"], "--repeat must be at least 1"),
        (["--device", "cuda"], "no CUDA GPU here"),
        (["--device", "banana"], "--device banana is no device"),
        (["--backbone", "bvlc_googlenet"], "so they cannot be compared: take caffenet"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(words, said, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as stopped:
        main(["convolutionalization", *words])
    assert stopped.value.code == 1
    assert said in capsys.readouterr().err
