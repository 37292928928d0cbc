"""The command: three files from a sweep's folder, and clear words where there is none."""

import pytest

from fcnseg.report import main
from sweeps import write_experiment, write_sweep


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
        (["t2.yaml", "--runs", "nowhere"], "make them with `python -m fcnseg.train -m -cn t2`"),
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
