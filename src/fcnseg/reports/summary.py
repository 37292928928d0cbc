"""All that a report says, before it is written in some form: table, remarks, classes and confusions."""

import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcnseg.reports.collect import Job, collect, find_runs
from fcnseg.reports.experiment import Experiment
from fcnseg.reports.table import Line, finite, lines

Matrix = NDArray[np.float64]


LEFT_OUT = (
    *("row=", "seed=", "hydra.", "hydra/", "logger", "trainer.progress="),
    *("data.workers=", "data.cache=", "data.decoded="),
)
"""What overrides begin with that change no result, or belong to a job."""


@dataclass(frozen=True)
class Summary:
    """What a report is about.

    Attributes:
        experiment: the table or figure.
        scale: name of the runs' folder, full or small as a rule.
        jobs: every run, finished or not.
        lines: the table's rows.
        remarks: what limits the numbers.
        verdict: whether they bear the paper's claim out, in the author's words; empty if not said.
    """

    experiment: Experiment
    scale: str
    jobs: tuple[Job, ...]
    lines: tuple[Line, ...]
    remarks: tuple[str, ...]
    verdict: str = ""

    @property
    def command(self) -> str:
        """The command that made the runs, with what all of them were told; places on disk are the user's own."""
        told = [dict.fromkeys(job.overrides) for job in self.jobs if job.overrides] or [{}]
        common = [each for each in told[0] if all(each in other for other in told)]
        words = [_without_place(each) for each in common if not each.startswith(LEFT_OUT)]
        return " ".join([self.experiment.command, *words])

    def done(self, row: str) -> list[Job]:
        """Returns the finished runs of a row."""
        return [job for job in self.jobs if job.row == row and job.finished]

    @property
    def rows(self) -> list[str]:
        """Rows with a finished run, in the table's order."""
        return [line.row for line in self.lines if self.done(line.row)]


def _without_place(override: str) -> str:
    key, _, value = override.partition("=")
    return f"{key}=..." if "/" in value else shlex.quote(override)


def summarise(experiment: Experiment, runs: Path, scale: str | None = None, verdict: str = "") -> Summary:
    """Reads a sweep's folder.

    Args:
        experiment: whose runs.
        runs: the sweep's folder.
        scale: "full" or "small"; None takes the one that was worked on last.
        verdict: shown on top.

    Raises:
        FileNotFoundError: there are no runs.
    """
    folder = find_runs(runs, scale)
    jobs = collect(folder, experiment, scale)
    table = lines(experiment, jobs)
    scales = {str(job.results["scale"]) for job in jobs if job.results.get("scale")}
    name = scales.pop() if len(scales) == 1 else folder.name
    return Summary(experiment, name, tuple(jobs), tuple(table), tuple(remarks(table, jobs)), verdict)


def remarks(table: Sequence[Line], jobs: Sequence[Job]) -> list[str]:
    """Says what a reader must know before comparing the numbers."""
    done = [job.results for job in jobs if job.finished]
    said = ["Scores are in percent; the difference is ours minus the paper's."]
    if any(line.best.values for line in table):
        said.append(
            "Ours are those of the last weights. The best checkpoint is chosen on the very images that are scored, "
            "so its mean IU is too high."
        )
    if any(each.get("scale") == "small" for each in done):
        said.append("These runs are of the small form: compare the order of rows, not the numbers, with the paper's.")
    seeded = any(job.seed is not None for job in jobs)
    if done and seeded and all(len(line.facts["seeds"].split(", ")) < 2 for line in table):
        said.append("One seed a row: what chance makes of a difference is not known.")
    for field, what in (("num_images", "numbers of validation images"), ("data_fingerprint", "validation images")):
        if len({str(_validated(each.get(field))) for each in done}) > 1:
            said.append(f"Rows were scored on different {what}: they do not compare.")
            break
    if len({each.get("commit") for each in done}) > 1 or any(each.get("dirty") for each in done):
        said.append("Runs are of several states of the source, or of one with changes that no commit holds.")
    return said + [error for line in table for error in line.errors]


def _validated(value: Any) -> Any:
    return value.get("val") if isinstance(value, Mapping) else value


# ---- classes


def per_class(summary: Summary) -> tuple[list[str], dict[str, list[float | None]]]:
    """Returns the names of the classes, and {row: IU of each in percent}, means over seeds."""
    finished = [job for row in summary.rows for job in summary.done(row)]
    names = list(dict.fromkeys(name for job in finished for name in job.results.get("per_class_iu") or {}))
    found = {row: [_class_iu(summary.done(row), name) for name in names] for row in summary.rows}
    return names, found


def _class_iu(jobs: Sequence[Job], name: str) -> float | None:
    found = [finite((job.results.get("per_class_iu") or {}).get(name)) for job in jobs]
    values = [value for value in found if value is not None]
    return 100 * statistics.fmean(values) if values else None


def confusion(summary: Summary, row: str) -> tuple[list[str], Matrix] | None:
    """Returns the classes and [k, k] shares of each true class's pixels, summed over seeds; None where none were kept.

    Rows of classes that do not occur are zero.
    """
    kept = [job.results for job in summary.done(row) if job.results.get("confusion_matrix")]
    matrices = [np.array(each["confusion_matrix"], np.float64) for each in kept]
    if not matrices or any(each.shape != matrices[0].shape for each in matrices):
        return None
    counts = np.sum(matrices, axis=0)
    names = [*(kept[0].get("per_class_iu") or {})]
    names += [f"class {label}" for label in range(len(names), len(counts))]
    return names[: len(counts)], counts / np.maximum(counts.sum(1, keepdims=True), 1)


def worst_confusions(names: Sequence[str], shares: Matrix, count: int = 5) -> list[str]:
    """Names the largest shares off the diagonal."""
    off = shares - np.diag(np.diag(shares))
    places = np.argsort(-off, axis=None, kind="stable")[:count]
    pairs = [divmod(int(place), len(shares)) for place in places]
    return [f"{names[i]} taken for {names[j]}, {off[i, j]:.0%}" for i, j in pairs if off[i, j] >= 0.005]
