"""Curves hold what metrics.csv says, in few enough points."""

import pytest

from fcnseg.reports.collect import Entry
from fcnseg.reports.curves import charts, points, thinned
from fcnseg.reports.summary import summarise


def test_loss_is_drawn_by_steps_and_seconds_and_scores_by_steps(summary):
    found = {(chart.up, chart.across): chart for chart in charts(summary)}
    assert set(found) == {("loss", "iterations"), ("loss", "seconds"), ("mean IU, %", "iterations")}
    loss, scores = found["loss", "iterations"], found["mean IU, %", "iterations"]
    assert [curve.row for curve in loss.curves] == ["32s", "32s", "16s", "16s", "8s", "8s"]
    assert loss.curves[0].points[-1][0] == 400
    assert found["loss", "seconds"].curves[0].points[-1][0] == 0.5 + 10 * 399
    assert 40 < scores.curves[0].points[-1][1] < 50


def test_seconds_are_drawn_only_where_they_are_wanted(experiment, runs):
    from dataclasses import replace

    found = charts(summarise(replace(experiment, against_seconds=False), runs))
    assert {chart.across for chart in found} == {"iterations"}


def test_entries_without_a_time_or_a_value_have_no_point():
    entries = [Entry(10, None, {"train/loss": 2.0}), Entry(20, 5.0, {"train/loss": 1.0}), Entry(20, 5.0, {"lr": 1.0})]
    assert points(entries, "train/loss", by_time=True) == [(5.0, 1.0)]
    assert points(entries, "train/loss", by_time=False, factor=100) == [(10.0, 200.0), (20.0, 100.0)]


def test_long_curves_are_averaged_and_end_where_they_ended():
    whole = [(float(step), float(step % 2)) for step in range(1000)]
    found = thinned(whole, 200)
    assert len(found) == 200
    assert found[-1][0] == 999
    assert sum(y for _, y in found) / 200 == pytest.approx(0.5)
    assert thinned(whole[:10]) == whole[:10]
