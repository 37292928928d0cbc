"""What a sweep consists of: its jobs, their folders, and which of them start from which."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import open_dict

from fcnseg.config import TrainConfig, resolved
from fcnseg.config.rows import key_of, with_row
from fcnseg.consistency import check, check_files
from fcnseg.lineage import coarser_stride, fingerprints, from_stage
from fcnseg.results import config_hash, stage_hash
from fcnseg.sweeps.command import quoted
from fcnseg.sweeps.job import Job, State

ALWAYS_NAMED = ("row", "seed")
"""Keys that a job's name holds even if all jobs have the same."""

LONGEST_NAME = 120
"""Characters of a folder's name before its hash; file systems end at 255."""

Compose = Callable[[list[str]], Any]
"""Composes the whole configuration of one job, Hydra's part included."""


def planned(swept: Sequence[Sequence[str]], compose: Compose, first: int = 0) -> list[Job]:
    """Returns the jobs of a sweep, each with its folder, and refused where it cannot work.

    Args:
        swept: the overrides of each job.
        compose: composes.
        first: the number of the first job.

    Raises:
        ValueError: an unknown row or scale, or a key that nothing reads.
    """
    common = set.intersection(*(set(overrides) for overrides in swept)) if len(swept) > 1 else set()
    jobs = [_job(number, tuple(overrides), compose, common) for number, overrides in enumerate(swept, first)]
    for job in jobs:
        _connect(job, jobs)
    for job in sorted(jobs, key=lambda each: -each.config.model.output_stride):
        _settle(job)
    _refuse_doubles(jobs)
    return jobs


def _job(number: int, overrides: tuple[str, ...], compose: Compose, common: set[str]) -> Job:
    composed = compose(list(overrides))
    composed.hydra.job.num, composed.hydra.job.id = number, str(number)
    subdir = str(composed.hydra.sweep.subdir)
    own = [each for each in overrides if each not in common or key_of(each) in ALWAYS_NAMED]
    # What tells the jobs apart is name enough, unless the user wants another.
    name = ",".join(own) if subdir == composed.hydra.job.override_dirname else subdir
    folder = Path(str(composed.hydra.sweep.dir))
    group = "/".join(folder.parts[-2:])
    config = with_row(composed, overrides, compose)
    with open_dict(config):
        del config["hydra"]
    settings = resolved(config, TrainConfig)
    job = Job(number, name, overrides, folder, settings, "")
    _label(job, group)
    return job


def _label(job: Job, group: str) -> None:
    """Tells loggers what belongs together, and keeps the bar of progress out of the console's file."""
    config, given = job.config, {key_of(override) for override in job.overrides}
    kind = config.row or f"{config.model.name}_{config.backbone.name}"
    tags = [config.experiment.title or group, config.model.name, config.backbone.name, config.recipe.name]
    wanted = {
        "logger.group": (group, quoted(group)),
        "logger.job_type": (kind, quoted(kind)),
        "logger.tags": (tags, f"[{','.join(quoted(tag) for tag in tags)}]"),
        "trainer.progress": (False, "false"),
    }
    for key, (value, text) in wanted.items():
        if key not in given:
            part, _, name = key.partition(".")
            setattr(getattr(config, part), name, value)
            job.added.append(f"{key}={text}")


def _connect(job: Job, jobs: Sequence[Job]) -> None:
    """Finds the job of the coarser net, if this one starts from one."""
    try:
        if job.config.init_from is not None or (stride := coarser_stride(job.config)) is None:
            return
    except ValueError as error:
        job.state, job.note = State.REFUSED, str(error)
        return
    wanted = stage_hash(asdict(job.config))
    job.after = next(
        (
            other
            for other in jobs
            if other.config.model.output_stride == stride and stage_hash(asdict(other.config)) == wanted
        ),
        None,
    )


def _settle(job: Job) -> None:
    """Gives the job its folder and says what it starts from; coarser ones are settled before."""
    parent, start = job.folder, job.config.init_from
    if job.after is not None:
        job.config.init_from = str(job.after.folder)
    elif job.state is State.WAITING:
        job.config = from_stage(job.config, parent / "none")
    if job.config.init_from != start:
        job.added.append(f"init_from={quoted(str(job.config.init_from))}")
    job.config_hash = config_hash(asdict(job.config))
    job.folder = parent / _folder_name(parent, job)
    if job.state is State.WAITING:
        _refuse_if_wrong(job)


def _folder_name(parent: Path, job: Job) -> str:
    """Names a job's folder, or finds the one that it had in a sweep of other width."""
    ending = f"_{job.config_hash[:8]}"
    short = re.sub(r"[^\w.,=+-]+", "_", job.name)[:LONGEST_NAME] or "job"
    there = sorted(path.name for path in parent.glob(f"*{ending}") if path.is_dir())
    return there[0] if there and short + ending not in there else short + ending


def _refuse_if_wrong(job: Job) -> None:
    try:
        check(job.config)
        if job.after is None:
            check_files(job.config)
    except (ValueError, OSError) as error:
        job.state, job.note = State.REFUSED, str(error)


def _refuse_doubles(jobs: Sequence[Job]) -> None:
    seen: dict[Path, Job] = {}
    for job in jobs:
        other = seen.setdefault(job.folder, job)
        if other is not job:
            job.state, job.note = State.REFUSED, f"the same training as job {other.number}"


class Fingerprints:
    """Tells whether finished jobs saw the data that are there now; each data set is opened once."""

    def __init__(self) -> None:
        """Knows none yet."""
        self._known: dict[str, dict[str, str] | None] = {}

    def changed(self, job: Job, results: dict[str, Any]) -> bool:
        """Says whether the data have changed since; data that cannot be opened now count as the same."""
        key = repr(job.config.data)
        if key not in self._known:
            try:
                self._known[key] = fingerprints(job.config)
            except (ValueError, OSError):
                self._known[key] = None
        now = self._known[key]
        return now is not None and results.get("data_fingerprint") != now
