"""What a sweep consists of: its jobs, their folders, and which of them start from which."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf, open_dict

from fcnseg.build import build_data
from fcnseg.config import TrainConfig, resolved
from fcnseg.config.rows import key_of, with_row
from fcnseg.consistency import check, check_files
from fcnseg.lineage import coarser_stride, from_stage
from fcnseg.results import config_hash, fingerprints, stage_hash
from fcnseg.secrets import check_secrets
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
        ValueError: an unknown row or scale, a key that nothing reads, one taken away, or a secret.
    """
    common = set.intersection(*(set(overrides) for overrides in swept)) if len(swept) > 1 else set()
    jobs = [_job(number, tuple(overrides), compose, common) for number, overrides in enumerate(swept, first)]
    for job in jobs:
        _trying(job, lambda job: _connect(job, jobs))
    coarse_first = sorted(jobs, key=lambda each: -each.config.model.output_stride)
    for job in coarse_first:
        start = job.after.config_hash if job.after is not None else None
        job.config_hash = config_hash(asdict(job.config), start)
    _name_folders(jobs)
    for job in coarse_first:
        if job.after is not None:
            job.config.init_from = str(job.after.folder)
            job.added.append(f"init_from={quoted(job.after.folder)}")
        if job.state is State.WAITING:
            _trying(job, _check)
    return jobs


def _job(number: int, overrides: tuple[str, ...], compose: Compose, common: set[str]) -> Job:
    if gone := [each for each in overrides if each.startswith("~")]:
        raise ValueError(f"{gone[0].partition('=')[0]} takes a key away, which a sweep cannot: set the key instead")
    composed = compose(list(overrides))
    composed.hydra.job.num, composed.hydra.job.id = number, str(number)
    subdir = str(composed.hydra.sweep.subdir)
    own = [each for each in overrides if each not in common or key_of(each) in ALWAYS_NAMED]
    # What tells the jobs apart is name enough, unless the user wants another.
    name = ",".join(own) if subdir == composed.hydra.job.override_dirname else subdir
    folder = Path(str(composed.hydra.sweep.dir))
    config = with_row(composed, overrides, compose)
    with open_dict(config):
        del config["hydra"]
    check_secrets(cast(dict[str, Any], OmegaConf.to_container(config)), os.environ)
    job = Job(number, name, overrides, folder, resolved(config, TrainConfig), "")
    _label(job, "/".join(folder.parts[-2:]))
    return job


def _label(job: Job, group: str) -> None:
    """Tells loggers which runs belong together, and keeps the bar of progress out of the console's file."""
    given = {key_of(override) for override in job.overrides}
    if "logger.group" not in given:
        job.config.logger.group = group
        job.added.append(f"logger.group={quoted(group)}")
    if "trainer.progress" not in given:
        job.config.trainer.progress = False
        job.added.append("trainer.progress=false")


def _trying(job: Job, step: Callable[[Job], None]) -> None:
    """Refuses the job alone if a step of its planning fails."""
    try:
        step(job)
    except (ValueError, OSError) as error:
        job.state, job.note = State.REFUSED, str(error)


def _connect(job: Job, jobs: Sequence[Job]) -> None:
    """Finds what the job starts from: a job of the sweep, or else a finished run.

    Raises:
        FileNotFoundError, ValueError: the net cannot be built, or several could be meant.
    """
    check(job.config, stage_missing=True)
    if job.config.init_from is not None or (stride := coarser_stride(job.config)) is None:
        return
    wanted = stage_hash(asdict(job.config))
    stages = [
        other
        for other in jobs
        if other.config.model.output_stride == stride and stage_hash(asdict(other.config)) == wanted
    ]
    alike = [other for other in stages if _shared(other) == _shared(job)] or stages
    if len(alike) > 1:
        numbers = ", ".join(str(other.number) for other in alike)
        raise ValueError(f"it could start from each of the jobs {numbers}: name one of them by init_from=")
    if alike:
        job.after = alike[0]
        return
    job.config = from_stage(job.config, job.folder / "none")
    if job.config.init_from is not None:
        job.added.append(f"init_from={quoted(job.config.init_from)}")


def _shared(job: Job) -> set[str]:
    """Returns the overrides that a stage has in common with the one before it."""
    return {each for each in job.overrides if key_of(each) not in ("model", "row")}


def _check(job: Job) -> None:
    check(job.config)
    if job.after is None:
        check_files(job.config)


def _name_folders(jobs: Sequence[Job]) -> None:
    """Names the folders; a job keeps the one that it had in a sweep of another width."""
    hashes = [job.config_hash for job in jobs]
    seen: dict[Path, Job] = {}
    for job in jobs:
        parent, ending = job.folder, f"_{job.config_hash[:8]}"
        short = re.sub(r"[^\w.,=+-]+", "_", job.name)[:LONGEST_NAME] or "job"
        there = sorted(path for path in parent.glob(f"*{ending}") if path.is_dir())
        job.folder = parent / f"{short}{ending}"
        if len(there) == 1 and hashes.count(job.config_hash) == 1:
            job.folder = there[0]
        if (other := seen.setdefault(job.folder, job)) is not job:
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
                self._known[key] = fingerprints(build_data(job.config))
            except (ValueError, OSError):
                self._known[key] = None
        now = self._known[key]
        return now is not None and results.get("data_fingerprint") != now
