"""A record is kept beside those before it, and its table can be read."""

import json

from rich.console import Console

from fcnseg.benchmarks import records

MACHINE = {"processor": "Fast One", "threads": 2, "cores": 4, "flags": ["avx2"], "torch": "2.15"}
FOUND = {
    "title": "Inference: fcn8s",
    "rows": [
        {"what": "ours", "ms": 12.3456, "ms quartiles": [12.0, 13.0], "of peak": 0.5, "part": "one"},
        {"what": "theirs", "ms": 20.0, "part": "one"},
        {"what": "theirs, compiled", "failed": "out [of] memory", "part": "two"},
    ],
    "notes": ["a note"],
    "peak GFLOP/s": 74.2,
}


def record():
    return records.recorded("python -m fcnseg.benchmark infer", FOUND, MACHINE, [0.1, 0, 0], [0.2, 0, 0])


def test_nothing_is_overwritten(tmp_path):
    for _ in range(2):
        path = records.append(tmp_path / "new" / "folder", "infer", record())
    assert path == tmp_path / "new" / "folder" / "infer.jsonl"
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(kept) == 2
    assert kept[0]["command"] == "python -m fcnseg.benchmark infer"
    assert kept[0]["load"] == {"before": [0.1, 0, 0], "after": [0.2, 0, 0]}
    assert kept[0]["machine"] == MACHINE
    assert kept[0]["rows"] == FOUND["rows"]
    assert {"date", "commit", "dirty", "schema_version"} <= set(kept[0])


def test_the_table_shows_numbers_their_scatter_and_what_failed(capsys):
    records.show(record(), Console(highlight=False, width=120))
    printed = capsys.readouterr().out
    for said in (
        "Inference: fcn8s",
        "12.35 (12-13)",
        " 50 % ",
        "Fast One, 2 of 4 cores, avx2, torch 2.15; load 0.1 before, 0.2 after",
        "peak of a matrix product: 74 GFLOP/s",
        "theirs, compiled: out [of] memory",
        "a note",
    ):
        assert said in printed
    assert "quartiles" not in printed


def test_numbers_that_are_none_become_null(tmp_path):
    path = records.append(tmp_path, "infer", {"rows": [{"GFLOP": float("nan"), "ms": 2.5}], "pair": (float("inf"), 1)})
    assert json.loads(path.read_text()) == {"rows": [{"GFLOP": None, "ms": 2.5}], "pair": [None, 1]}
