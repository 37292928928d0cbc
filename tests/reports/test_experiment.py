"""An experiment is read as it is written, by path or by name."""

import pytest

from fcnseg.config import EXPERIMENTS_DIR
from fcnseg.reports.experiment import read_experiment
from sweeps import PAPER, TITLE, write_experiment


@pytest.mark.parametrize("path", sorted(EXPERIMENTS_DIR.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_can_be_reported(path):
    by_path, by_name = read_experiment(str(path)), read_experiment(path.stem)
    assert by_path == by_name
    assert by_name.title
    assert by_name.rows
    assert set(by_name.paper) <= set(by_name.rows)
    assert by_name.columns


def test_it_holds_what_the_file_says(experiment):
    assert (experiment.name, experiment.title, experiment.claim) == ("t2", TITLE, "Finer is better.")
    assert list(experiment.rows) == list(PAPER)
    assert experiment.paper["8s"]["mean_iu"] == 62.7
    assert experiment.columns == ("pixel_acc", "mean_acc", "mean_iu", "fw_iu")
    assert experiment.against_seconds
    assert experiment.command == "python -m fcnseg.train -cn t2"


def test_columns_are_those_that_the_paper_gives_or_that_are_named(tmp_path):
    given = write_experiment(tmp_path / "a.yaml", paper={"32s": {"mean_iu": 1.0, "forward_ms": 9}})
    named = write_experiment(tmp_path / "b.yaml", columns=["seconds"])
    none = write_experiment(tmp_path / "c.yaml", paper={})
    assert read_experiment(str(given)).columns == ("mean_iu",)
    assert read_experiment(str(named)).columns == ("seconds",)
    assert len(read_experiment(str(none)).columns) == 4


def test_rows_that_look_like_numbers_are_names(tmp_path):
    path = tmp_path / "n.yaml"
    path.write_text("experiment: {title: T, rows: {128: [a=1], 0.5: null}, paper: {128: {mean_iu: 50}}}")
    found = read_experiment(str(path))
    assert found.rows == {"128": ["a=1"], "0.5": []}
    assert found.paper == {"128": {"mean_iu": 50}}


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (None, FileNotFoundError, "there is no experiment .*, or one of .*t1_backbones"),
        ("model: fcn8s", ValueError, "is no experiment: it needs experiment.title"),
        ("- 1", ValueError, "is no experiment"),
        ("a: [", ValueError, "cannot be read as YAML"),
        ("experiment: {title: T, paper: [1]}", ValueError, "experiment.paper must say something of each row"),
        ("experiment: {title: T, paper: {a: 1}}", ValueError, "experiment.paper must say something of each row"),
        ("experiment: {title: T, rows: [a]}", ValueError, "experiment.rows must say something of each row"),
    ],
)
def test_what_is_no_experiment_is_refused(tmp_path, content, error, said):
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=said):
        read_experiment(str(path))
