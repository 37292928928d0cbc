"""Run folders as a sweep leaves them: finished jobs with their results, and what the others had reached."""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fcnseg.disk import CLAIM, is_held
from fcnseg.reports.experiment import Experiment

MARKS = ("results.json", "job.json", "config.yaml")
"""Files by which a folder is known as a job's."""


@dataclass(frozen=True)
class Job:
    """One run of one row.

    Attributes:
        folder: the run's.
        row: of the table.
        seed: of the run; None where nothing says it.
        results: what results.json holds; empty until the run is finished.
        experiment: the title of the table that it belongs to; None where nothing says it.
        scale: full or small; None likewise.
        overrides: those of the sweep's command line, the job's own row and seed among them.
        state: what is said of it, such as "failed at step 20 of 400".
        error: why it failed, or what was left out for it, on one line; empty if there is nothing to say.
    """

    folder: Path
    row: str
    seed: int | None
    results: Mapping[str, Any]
    state: str = "finished"
    error: str = ""
    experiment: str | None = None
    scale: str | None = None
    overrides: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether there are results."""
        return bool(self.results)


@dataclass(frozen=True)
class Entry:
    """A line of metrics.csv.

    Attributes:
        step: the optimiser steps that were done.
        seconds: since the run began; None where times.csv does not say.
        values: {column: value} of the columns that are filled.
    """

    step: int
    seconds: float | None
    values: Mapping[str, float]


def find_runs(runs: Path, scale: str | None) -> Path:
    """Returns the folder whose jobs a report is about: that of a scale, if there are such.

    Args:
        runs: a sweep's folder, which holds full/, small/ or jobs.
        scale: "full" or "small"; None takes the one that was worked on last.

    Raises:
        FileNotFoundError: there are no runs of that scale.
    """
    there = [folder for name in ("full", "small") if (folder := runs / name).is_dir() and any(_job_folders(folder))]
    if scale is None:
        return max(there, key=_latest, default=runs)
    if runs / scale in there:
        return runs / scale
    if there:
        raise FileNotFoundError(f"{runs} holds no runs of --scale {scale}, only of {', '.join(p.name for p in there)}")
    return runs


def _latest(folder: Path) -> float:
    return max(path.stat().st_mtime for job in _job_folders(folder) for path in job.iterdir())


def _job_folders(root: Path) -> Iterator[Path]:
    """Yields every folder that holds one of MARKS; W&B's own folders and those inside a job are none."""
    for place, folders, files in os.walk(root):
        if set(MARKS) & set(files):
            folders.clear()
            yield Path(place)
        folders[:] = sorted(folder for folder in folders if folder != "wandb")


def collect(runs: Path, experiment: Experiment, scale: str | None = None) -> list[Job]:
    """Reads every job of an experiment; of a row and seed that ran twice alike, the later one.

    Args:
        runs: the folder of a scale.
        experiment: of which jobs are wanted; those of others are passed over.
        scale: likewise; None takes both.

    Raises:
        FileNotFoundError: there are none; says what makes them.
    """
    found = [read_job(folder) for folder in _job_folders(runs)] if runs.is_dir() else []
    kept = [job for job in found if job is not None and _belongs(job, experiment, scale)]
    if not kept:
        of_scale = f" of scale={scale}" if scale else ""
        raise FileNotFoundError(
            f"there are no runs of {experiment.name}{of_scale} in {runs}: make them with `{experiment.command}`, or "
            "name their folder with --runs"
        )
    return _latest_of_each(kept)


def _belongs(job: Job, experiment: Experiment, scale: str | None) -> bool:
    of_scale = scale is None or job.scale in (None, scale)
    return of_scale and job.experiment in (None, experiment.title) and job.row != ""


def _latest_of_each(jobs: Sequence[Job]) -> list[Job]:
    """Keeps one run of each row and seed: the latest finished one, else the latest; and says what it left out."""
    in_time = sorted(jobs, key=lambda job: (job.finished, (job.folder / _mark(job)).stat().st_mtime))
    latest = {(job.row, job.seed): job for job in in_time}
    for job in in_time:
        kept = latest[job.row, job.seed]
        if job.finished and job.results.get("config_hash") != kept.results.get("config_hash"):
            text = f"another configuration of the same row and seed, {job.folder.name}, is left out for a later one"
            latest[job.row, job.seed] = replace(kept, error=text)
    return sorted(latest.values(), key=lambda job: (job.row, -1 if job.seed is None else job.seed))


def _mark(job: Job) -> str:
    return next(name for name in MARKS if (job.folder / name).is_file())


def read_job(folder: Path) -> Job | None:
    """Reads a run folder; None if nothing says which row it is."""
    results, damage = _json(folder / "results.json")
    note, _ = _json(folder / "job.json")
    config = _config(folder / "config.yaml")
    known: dict[str, Any] = {}
    for source in (config, note, results):
        known |= {key: source[key] for key in ("row", "seed", "scale") if source.get(key) is not None}
    if "row" not in known:
        return None
    state, error = ("finished", "") if results else ("failed", damage) if damage else _state(folder, note, config)
    seed, table = known.get("seed"), config.get("experiment")
    title = results.get("experiment", table.get("title") if isinstance(table, dict) else None)
    row, seed = str(known["row"]), seed if isinstance(seed, int) else None
    said = note.get("overrides")
    overrides = tuple(map(str, said)) if isinstance(said, list) else ()
    return Job(folder, row, seed, results, state, error, title, known.get("scale"), overrides)


def _json(path: Path) -> tuple[dict[str, Any], str]:
    """Returns what a file holds, and what is wrong with it; nothing of either if it is not there."""
    if not path.is_file():
        return {}, ""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return {}, f"{path.name} cannot be read ({error})"
    return (content, "") if isinstance(content, dict) else ({}, f"{path.name} holds no results")


def _config(path: Path) -> dict[str, Any]:
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False) if path.is_file() else {}
    except Exception:  # half a file, or another program's: the job is then known by its other files
        return {}
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def _state(folder: Path, note: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, str]:
    """Says what became of a run without results, and why."""
    state = str(note.get("state") or "")
    error = str(note.get("error") or "").strip() or _last_error(folder)
    trainer = config.get("trainer") or {}
    steps = read_entries(folder)
    reached = f" at step {steps[-1].step:,} of {trainer.get('max_steps', '?')}" if steps else ""
    if state in ("failed", "refused", "blocked") or (not state and error):
        return f"{state or 'failed'}{reached}", (error or "-").splitlines()[-1]
    if state == "running" and not note.get("cluster_id") and not is_held(folder / CLAIM):
        state = ""  # whoever ran it was killed
    return f"{state or 'not finished'}{reached}", ""


def _last_error(folder: Path) -> str:
    """Returns the last line of a console that ended in an error, else nothing."""
    console = folder / "console.log"
    if not console.is_file():
        return ""
    lines = [line.strip() for line in console.read_text(encoding="utf-8", errors="replace").splitlines()[-40:]]
    wrong = [line for line in lines if "error" in line.lower() or line.startswith("Traceback")]
    return next((line for line in reversed(lines) if line), "") if wrong else ""


def read_entries(folder: Path) -> list[Entry]:
    """Reads metrics.csv, and the times that stand beside it line for line; what a kill cut off is passed over."""
    rows, times = _table(folder / "metrics.csv"), _table(folder / "times.csv")
    entries = []
    for number, row in enumerate(rows):
        values = {key: value for key, text in row.items() if (value := _number(text)) is not None}
        if (step := values.pop("step", None)) is not None:
            seconds = _number(times[number].get("seconds")) if number < len(times) else None
            entries.append(Entry(int(step) + 1, seconds, values))
    return entries


def _table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(line for line in file if "\0" not in line)
        width = len(reader.fieldnames or [])
        return [row for row in reader if None not in row and sum(value is not None for value in row.values()) == width]


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
