"""The table's numbers: means, deviations and differences; nothing is made up where there is nothing."""

import statistics

import pytest

from fcnseg.reports.collect import collect
from fcnseg.reports.summary import summarise
from fcnseg.reports.table import Measure, duration, lines, ours, plain, signed
from sweeps import PAPER, write_job


@pytest.fixture
def table(experiment, runs):
    return {line.row: line for line in lines(experiment, collect(runs / "small", experiment))}


def test_rows_stand_in_the_tables_order_with_all_that_is_missing(table):
    assert list(table) == list(PAPER)
    assert table["fixed"].missing == ("not run",)
    assert table["16s"].missing == ()
    assert table["8s"].missing == ("seed 1: failed at step 120 of 400",)
    assert table["8s"].errors == ("8s, seed 1: ValueError: out of memory",)


def test_ours_is_the_mean_over_seeds_in_percent(table):
    measure = table["16s"].measures["mean_iu"]
    assert measure.mean == pytest.approx(49.5)
    assert measure.deviation == pytest.approx(statistics.stdev([49, 50]))
    assert measure.difference == pytest.approx(49.5 - 62.4)
    assert table["8s"].measures["mean_iu"].deviation is None
    assert table["16s"].best.mean == pytest.approx(50.5)


def test_a_row_without_runs_has_the_papers_numbers_alone(table):
    measure = table["fixed"].measures["mean_iu"]
    assert (measure.paper, measure.mean, measure.deviation, measure.difference) == (45.4, None, None, None)
    assert not table["fixed"].has_runs


def test_facts_say_what_it_takes_to_judge(table):
    facts = table["16s"].facts
    assert facts == {
        **{"net": "fcn16s, squeezenet32", "weights": "weights.pt", "data": "voc2012"},
        **{
            "trained on": "700",
            "scored on": "300",
            "seeds": "0, 1",
            "steps": "400",
            "recipe": "modern",
            "changed": "-",
        },
        **{"commit": "0123456", "device": "cpu", "time a run": "1 h 6 min"},
    }


def test_weights_are_a_files_or_another_rows(experiment, tmp_path):
    write_job(tmp_path / "a", "32s")
    write_job(tmp_path / "b", "16s", lineage=[{"row": "32s", "model": "fcn32s"}, {"row": "older"}])
    write_job(tmp_path / "c", "8s", lineage=[{"row": None, "model": "fcn16s"}])
    facts = {line.row: line.facts for line in lines(experiment, collect(tmp_path, experiment)) if line.has_runs}
    assert [facts[row]["weights"] for row in ("32s", "16s", "8s")] == ["weights.pt", "of 32s", "of fcn16s"]


def test_rows_that_no_one_named_come_last(experiment, runs):
    write_job(runs / "small" / "x", "64s", 0, 0.3)
    table = lines(experiment, collect(runs / "small", experiment))
    assert table[-1].row == "64s"
    assert table[-1].measures["mean_iu"].paper is None
    assert table[-1].measures["mean_iu"].mean == pytest.approx(30)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "high", True])
def test_scores_that_are_no_numbers_do_not_count(experiment, tmp_path, value):
    folder = tmp_path / "runs" / "small"
    write_job(folder / "a", "8s", 0, 0.4)
    write_job(folder / "b", "8s", 1, 0.5, fw_iu=value, best=None, seconds=value, num_images=None)
    line = {line.row: line for line in summarise(experiment, tmp_path / "runs").lines}["8s"]
    assert line.measures["fw_iu"].values == pytest.approx((60.0,))
    assert line.measures["mean_iu"].mean == pytest.approx(45)
    assert line.best.values == pytest.approx((41.0,))


def test_a_dirty_commit_and_departures_are_told(experiment, tmp_path):
    write_job(tmp_path / "r" / "a", "8s", 0, 0.4, dirty=True, departures=["data.crop"], recipe="modern+modified")
    (line,) = [each for each in summarise(experiment, tmp_path / "r").lines if each.has_runs]
    assert line.facts["commit"] == "0123456 with changes"
    assert (line.facts["recipe"], line.facts["changed"]) == ("modern+modified", "data.crop")


def test_numbers_as_text():
    assert [plain(value) for value in (None, 62.66, 0.0, 12345.6)] == ["-", "62.7", "0.0", "12,346"]
    assert [signed(value) for value in (None, 0.04, -0.04, 1.26, -12.3)] == ["-", "0.0", "0.0", "+1.3", "-12.3"]
    assert ours(Measure(1.0, (2.0, 4.0))) == "3.0 ± 1.4"
    assert ours(Measure(1.0, (2.0,))) == "2.0"
    assert ours(Measure(1.0, ())) == "-"


@pytest.mark.parametrize(
    ("seconds", "said"), [(3.24, "3.2 s"), (59.7, "1 min 0 s"), (61, "1 min 1 s"), (7300, "2 h 1 min")]
)
def test_durations_have_two_units_at_most(seconds, said):
    assert duration(seconds) == said
