"""The command: three files from a sweep's folder, and clear words where there is none."""

import os
from unittest import mock

import pytest

from fcnseg.config import ExperimentConfig
from fcnseg.report import main
from runs import SMALL, composed, train
from sweeps import TITLE, write_experiment, write_sweep


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path / "t2.yaml")
    return write_sweep(tmp_path / "multirun" / "t2")


def test_a_report_is_written_beside_the_runs(sweep, capsys):
    main(["t2.yaml"])
    printed = capsys.readouterr().out
    assert "| 16s | 90.0 | 79.5 ± 0.7 | -10.5 |" in printed
    assert sorted(path.name for path in (sweep / "report").iterdir()) == ["report.html", "report.md", "report.tex"]
    assert "data:image/jpeg" in (sweep / "report" / "report.html").read_text()
    main(["t2.yaml"])  # once more: the report itself is no run


def test_places_photographs_and_the_verdict_can_be_chosen(sweep, tmp_path, capsys):
    elsewhere = sweep.rename(tmp_path / "elsewhere")
    words = ["--runs", str(elsewhere), "--scale", "small", "--out", "out", "--no-photographs", "--verdict", "It holds."]
    main(["t2.yaml", *words])
    html = (tmp_path / "out" / "report.html").read_text()
    assert "data:image/jpeg" not in html
    assert '<p class="verdict">It holds.</p>' in html
    assert "**It holds.**" in (tmp_path / "out" / "report.md").read_text()
    assert not (elsewhere / "report").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "there is no experiment nothing: give a YAML file, or one of"),
        (["t2.yaml", "--runs", "nowhere"], "make them with `python -m fcnseg.train -cn t2`"),
        (["t2.yaml", "--scale", "full"], "no runs of --scale full, only of small"),
        (["t1_backbones"], "there are no runs of t1_backbones in multirun/t1_backbones"),
        (["bound_by_stride"], "make them with `python -m fcnseg.bound -cn bound_by_stride`"),
    ],
)
def test_what_cannot_be_is_said(sweep, words, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 1
    assert said in capsys.readouterr().err


def test_a_real_training_can_be_reported(tmp_path, capsys):
    """What made-up sweeps assume of run folders is what training leaves."""
    path = write_experiment(tmp_path / "t2.yaml", rows=["8s"], paper={"8s": {"mean_iu": 62.7}}, figure="curves")
    config = composed(*SMALL)
    config.row, config.experiment = "8s", ExperimentConfig(TITLE, {"8s": ["model=fcn8s"]})
    (tmp_path / "runs" / "job").mkdir(parents=True)
    with mock.patch.dict(os.environ):
        content = train.train(config, tmp_path / "runs" / "job")
    main([str(path), "--runs", str(tmp_path / "runs")])
    assert f"| 8s | 62.7 | {100 * content['mean_iu']:.1f} |" in capsys.readouterr().out
    html = (tmp_path / "runs" / "report" / "report.html").read_text()
    for drawn in ("Training loss over iterations", "Training loss against time over seconds", "Validation mean IU"):
        assert drawn in html
    assert html.count("<img ") == 5 * 3
    assert "striped disc" in html
    assert "background:rgb(128, 0, 0)" in html  # VOC's colour of the first class
