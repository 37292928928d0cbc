"""The table: what the paper says of each row, what our runs give over their seeds, and what is missing."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcnseg.reports.collect import Job
from fcnseg.reports.experiment import SCORES, Experiment


@dataclass(frozen=True)
class Measure:
    """One number of the paper and ours, scores in percent.

    Attributes:
        paper: the paper's; None where it gives none.
        values: ours, one a seed.
    """

    paper: float | None
    values: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """The mean over seeds."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation over seeds, of which it takes two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.mean is None or self.paper is None else self.mean - self.paper


@dataclass(frozen=True)
class Line:
    """One row of the table.

    Attributes:
        row: its name.
        measures: {field: numbers} of the table's columns.
        best: mean IU of the best checkpoints, chosen on the same images.
        facts: {what: value}, what it takes to judge the numbers.
        missing: what is not there, such as "seed 1: failed at step 20 of 400".
        errors: why, such as "8s, seed 1: out of memory".
    """

    row: str
    measures: dict[str, Measure]
    best: Measure
    facts: dict[str, str]
    missing: tuple[str, ...]
    errors: tuple[str, ...]

    @property
    def has_runs(self) -> bool:
        """Whether a run is finished."""
        return any(self.facts[name] != "-" for name in FACTS)


FACTS = (
    *("net", "weights", "data", "trained on", "scored on", "seeds", "steps", "recipe", "changed", "commit", "device"),
    "time a run",
)
"""What the second table says of each row."""


def lines(experiment: Experiment, jobs: Sequence[Job]) -> list[Line]:
    """Returns the table's rows in its order; rows of the paper or of the runs that it does not name come last."""
    names = dict.fromkeys([*experiment.rows, *experiment.paper, *(job.row for job in jobs)])
    return [_line(experiment, name, [job for job in jobs if job.row == name]) for name in names]


def shared_facts(lines: Sequence[Line]) -> dict[str, str]:
    """Returns the facts that hold of every row alike, where there are several; what differs goes into a table."""
    known = [line.facts for line in lines if line.has_runs]
    if len(known) < 2:
        return {}
    alike = {name: known[0][name] for name in FACTS if len({facts[name] for facts in known}) == 1}
    return {name: said for name, said in alike.items() if said != "-"}


def label(field: str) -> str:
    """Returns a column's heading."""
    return SCORES.get(field, field.replace("_", " "))


def _line(experiment: Experiment, row: str, jobs: Sequence[Job]) -> Line:
    done = [job for job in jobs if job.finished]
    numbers = experiment.paper.get(row, {})
    return Line(
        row=row,
        measures={
            field: Measure(finite(numbers.get(field)), _values(field, [job.results for job in done]))
            for field in experiment.columns
        },
        best=Measure(None, _values("mean_iu", [job.results.get("best") or {} for job in done])),
        facts=_facts(done),
        missing=_missing(jobs, row in experiment.rows),
        errors=tuple(f"{row}{_seed(job, ', ')}: {job.error}" for job in jobs if job.error),
    )


def _missing(jobs: Sequence[Job], is_ours: bool) -> tuple[str, ...]:
    if not jobs:
        return ("not run" if is_ours else "no row of this project",)
    return tuple(_seed(job, "", ": ") + job.state for job in jobs if not job.finished)


def _seed(job: Job, before: str, after: str = "") -> str:
    return "" if job.seed is None else f"{before}seed {job.seed}{after}"


def _values(field: str, results: Iterable[Any]) -> tuple[float, ...]:
    factor = 100.0 if field in SCORES else 1.0
    found = [finite(each.get(field)) for each in results]
    return tuple(factor * value for value in found if value is not None)


def finite(value: Any) -> float | None:
    """Returns what is a number and not NaN or infinite; None for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _facts(done: Sequence[Job]) -> dict[str, str]:
    if not done:
        return dict.fromkeys(FACTS, "-")
    results = [job.results for job in done]
    seconds = [value for each in results if (value := finite(each.get("seconds"))) is not None]
    values: dict[str, Iterable[str]] = {
        "net": [_joined(each, "model", "backbone") for each in results],
        "weights": [_start(each) for each in results],
        "data": [str(each.get("data") or "-") for each in results],
        "trained on": [_count((each.get("split_counts") or {}).get("train")) for each in results],
        "scored on": [_count(each.get("num_images")) for each in results],
        "seeds": ["-" if job.seed is None else str(job.seed) for job in done],
        "steps": [_count(each.get("steps")) for each in results],
        "recipe": [str(each.get("recipe") or "-") for each in results],
        "changed": [key for each in results for key in each.get("departures") or []] or ["-"],
        "commit": [_commit(each) for each in results],
        "device": [str(each.get("device") or "-") for each in results],
        "time a run": [duration(statistics.fmean(seconds)) if seconds else "-"],
    }
    return {name: ", ".join(dict.fromkeys(said)) for name, said in values.items()}


def _start(results: Any) -> str:
    """Names the row or net that a run went on from, or else the file of its weights."""
    if lineage := results.get("lineage"):
        return f"of {lineage[0].get('row') or lineage[0].get('model') or 'another run'}"
    return Path(str(results.get("weights_from") or "-")).name


def _joined(results: Any, *keys: str) -> str:
    return ", ".join(str(results[key]) for key in keys if results.get(key)) or "-"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"


def _commit(results: Any) -> str:
    commit = results.get("commit")
    return f"{str(commit)[:7]}{' with changes' if results.get('dirty') else ''}" if commit else "-"


def duration(seconds: float) -> str:
    """Says how long something took, in two units at most."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


# ---- numbers as text


def plain(value: float | None) -> str:
    """Writes a number of the paper, or one of ours alone."""
    if value is None:
        return "-"
    return f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def ours(measure: Measure, sign: str = " ± ") -> str:
    """Writes our mean, and the standard deviation where there are several seeds."""
    scatter = measure.deviation
    return plain(measure.mean) + ("" if scatter is None else f"{sign}{scatter:.1f}")


def signed(value: float | None, minus: str = "-") -> str:
    """Writes a difference; a zero after rounding has no sign."""
    if value is None:
        return "-"
    rounded = round(value, 1)
    return f"{rounded:+.1f}".replace("-", minus) if rounded else "0.0"
