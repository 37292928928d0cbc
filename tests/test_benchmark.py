"""The command runs the claim that is named, prints its table and keeps its record."""

import importlib
import inspect
import json
from dataclasses import fields

import pytest
import torch

from fcnseg.benchmark import CLAIMS, OPTIONS, main, parser
from fcnseg.benchmarks.nets import Setting


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_has_a_module_that_takes_its_options(name):
    module, claim = importlib.import_module(f"fcnseg.benchmarks.{name}"), CLAIMS[name]
    arguments = [*(["setting"] if claim.setting else []), *(key.replace("-", "_") for key in claim.options)]
    assert sorted(inspect.signature(module.measure).parameters) == sorted(arguments)
    assert set(claim.setting) <= {field.name for field in fields(Setting)}


def written(key, value):
    if isinstance(value, tuple):
        return ("x" if key == "size" else ",").join(map(str, value))
    return str(value)


@pytest.mark.parametrize("name", CLAIMS)
def test_defaults_are_what_one_would_type(name):
    chosen = vars(parser().parse_args([name]))
    for key, default in {**CLAIMS[name].setting, **CLAIMS[name].options}.items():
        assert chosen[key.replace("-", "_")] == default
        assert default is None or OPTIONS[key].read(written(key, default)) == default


def test_a_claim_is_measured_shown_and_kept(tmp_path, capsys):
    before = torch.get_num_threads()
    main(["loss", "--size", "40x24", "--repeat", "1", "--threads", "1", "--out", str(tmp_path / "records")])
    printed = capsys.readouterr().out
    assert "Upsampling and loss" in printed
    assert "ours again" in printed
    assert f"appended to {tmp_path / 'records' / 'loss.jsonl'}" in printed
    (line,) = (tmp_path / "records" / "loss.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["command"].startswith("python -m fcnseg.benchmark loss --size 40x24 --repeat 1")
    assert record["machine"]["threads"] == 1
    assert [row["what"] for row in record["rows"]][-1] == "ours again"
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["convolutionalization", "--repeat", "0"], 2, "--repeat"),
        (["infer", "--size", "500"], 2, "--size"),
        (["infer", "--precision", "fp8"], 2, "invalid choice: 'fp8'"),
        (["train", "--device", "cuda"], 1, "no CUDA GPU here"),
        (["train", "--device", "banana"], 1, "--device banana is no device"),
        (["infer", "--peers", "nowhere"], 1, "there is no torchfcn/models/fcn8s.py in it"),
        (["infer", "--backbone", "vgg17"], 1, "vgg17"),
    ],
)
def test_what_cannot_be_is_said(words, status, said, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == status
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
