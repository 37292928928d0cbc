"""The workspace and the report of an experiment, as W&B would store them."""

import pytest

from fcnseg.reports import dashboards
from fcnseg.reports.experiment import read_experiment
from fcnseg.tracking import wandb_tracker
from fcnseg.tracking.ledger import STEP_KEY


def walk(tree):
    """Every mapping in a specification."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from walk(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from walk(value)


@pytest.fixture(scope="module")
def experiment():
    return read_experiment("t2_skips")


@pytest.fixture(scope="module")
def workspace(experiment):
    return dashboards.specification(dashboards.workspace(experiment, "small", "me", "fcnseg"))


@pytest.fixture(scope="module")
def report(experiment):
    return dashboards.specification(dashboards.report(experiment, "small", "me", "fcnseg", saved=False))


def test_the_runs_are_those_of_the_sweep_by_row(workspace, report):
    for content in (workspace, report):
        (filters,) = {str(each["filters"]) for each in walk(content) if "filterFormat" in each}
        assert "{'section': 'run', 'name': 'group'}" in filters
        assert "'t2_skips/small'" in filters
        groupings = [each["grouping"] for each in walk(content) if "grouping" in each]
        assert groupings
        assert all(grouping == [{"section": "run", "name": "jobType"}] for grouping in groupings)


def test_every_curve_that_a_run_logs_has_a_panel(workspace):
    shown = {name for each in walk(workspace) for name in each.get("metrics", []) if isinstance(name, str)}
    assert {f"val/{score}" for score in ("mean_iu", "pixel_acc", "mean_acc", "fw_iu")} <= shown
    assert {"train/loss", "speed/images_per_s", "speed/data_wait", "memory/peak_gib"} <= shown
    regexes = {each["metricRegex"] for each in walk(workspace) if "metricRegex" in each}
    assert regexes == {"lr-.*", "val/iu/.*"}
    assert ["val/images"] in [each["mediaKeys"] for each in walk(workspace) if "mediaKeys" in each]
    axes = {each["xAxis"] for each in walk(workspace) if each.get("metrics") and "xAxis" in each}
    assert axes == {STEP_KEY}


def test_the_best_of_a_curve_goes_by_the_name_that_the_summary_has(workspace, report):
    names = [f"val/{score}.max" for score in ("pixel_acc", "mean_acc", "mean_iu", "fw_iu")]
    assert [wandb_tracker.SUMMARIES[name.removesuffix(".max")] for name in names] == ["max"] * 4
    assert all(name in str(report) for name in names)
    assert all(f"summary:{name}" in str(workspace) for name in names)


def test_the_report_says_what_the_paper_found(report, experiment):
    assert report["displayName"] == "Table 2, skips (small)"
    text = str(report)
    assert experiment.claim in text
    assert "| 8s | 90.3 | 75.9 | 62.7 | 83.2 |" in text
    assert "python -m fcnseg.train -cn t2_skips scale=small logger=wandb" in text


def test_every_experiment_that_is_trained_has_both():
    for name in ("t1_backbones", "t2_skips", "padding"):
        told = read_experiment(name)
        assert dashboards.specification(dashboards.workspace(told, "full", "me", "p"))["project"] == "p"
        assert dashboards.specification(dashboards.report(told, "full", "me", "p", saved=False))["spec"]["blocks"]
