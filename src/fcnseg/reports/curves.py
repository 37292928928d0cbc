"""Learning curves: what metrics.csv says, as points."""

from collections.abc import Sequence
from dataclasses import dataclass

from fcnseg.reports.collect import Entry, Job, read_entries
from fcnseg.reports.summary import Summary

MOST_POINTS = 200
"""Points of a curve; neighbours are averaged where there are more."""

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """One run's line in a chart.

    Attributes:
        row: of the table, which gives the line its colour.
        points: (x, y).
    """

    row: str
    points: Points


@dataclass(frozen=True)
class Chart:
    """What a chart of curves shows.

    Attributes:
        title: of the chart.
        across: what is on the horizontal axis.
        up: what is on the vertical one.
        curves: its lines.
    """

    title: str
    across: str
    up: str
    curves: tuple[Curve, ...]


def charts(summary: Summary) -> list[Chart]:
    """Returns the charts of a report that have points: loss and mean IU by steps, and the loss by seconds if wanted."""
    runs = [(job, read_entries(job.folder)) for job in _in_order(summary)]
    timed = summary.experiment.against_seconds
    wanted = [
        ("Training loss", "train/loss", "loss", False, 1.0),
        *([("Training loss against time", "train/loss", "loss", True, 1.0)] if timed else []),
        ("Validation mean IU", "val/mean_iu", "mean IU, %", False, 100.0),
    ]
    found = [
        Chart(
            title,
            "seconds" if by_time else "iterations",
            up,
            tuple(Curve(job.row, drawn) for job, e in runs if (drawn := points(e, field, by_time, factor))),
        )
        for title, field, up, by_time, factor in wanted
    ]
    return [chart for chart in found if chart.curves]


def _in_order(summary: Summary) -> list[Job]:
    return [job for line in summary.lines for job in summary.jobs if job.row == line.row]


def points(entries: Sequence[Entry], field: str, by_time: bool, factor: float = 1.0) -> Points:
    """Returns the points of one column of metrics.csv; entries whose time is not known have none against time."""
    kept: Points = []
    for entry in entries:
        across = entry.seconds if by_time else float(entry.step)
        if field in entry.values and across is not None:
            kept.append((across, factor * entry.values[field]))
    return thinned(kept)


def thinned(whole: Points, most: int = MOST_POINTS) -> Points:
    """Averages neighbours until few enough points are left; the last one ends where the last one was."""
    group = -(-len(whole) // most)
    if group <= 1:
        return whole
    parts = [whole[start : start + group] for start in range(0, len(whole), group)]
    return [(part[-1][0], sum(y for _, y in part) / len(part)) for part in parts]
