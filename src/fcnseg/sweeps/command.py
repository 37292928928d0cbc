"""The command that trains one job of a sweep, and the environment it runs in."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fcnseg.config import CONF_DIR, EXPERIMENTS_DIR, TrainerConfig
from fcnseg.config.rows import key_of
from fcnseg.interruption import LAUNCHER, STARTED_BY
from fcnseg.sweeps.job import Job

NOT_INHERITED = (
    *("LOCAL_RANK", "NODE_RANK", "RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("PL_GLOBAL_SEED", LAUNCHER, STARTED_BY, "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_SWEEP_ID"),
)
"""Variables that would make a job take part in another run."""

SCHEDULERS = ("SLURM_", "PMI_", "PMIX_", "OMPI_")
"""What the names of variables begin with in which a scheduler tells a process of the others."""

LAUNCHERS_OWN = (
    "hydra/launcher",
    "hydra.launcher",
    "hydra/sweeper",
    "hydra.sweeper",
    "hydra.sweep",
    "hydra.mode",
    "hydra.run",
)
"""Overrides of Hydra that are not for the jobs."""


def command(job: Job, hydra: Any) -> list[str]:
    """Returns the words of the command, which no shell must read.

    Args:
        job: what is trained, and where.
        hydra: the sweep's own hydra node.
    """
    return [
        *(sys.executable, "-m", "fcnseg.train"),
        *places(hydra.runtime.config_sources),
        *("--config-name", str(hydra.job.config_name)),
        *(each for each in hydra.overrides.hydra if not key_of(each).startswith(LAUNCHERS_OWN)),
        *job.overrides,
        *job.added,
        "hydra.mode=RUN",
        f"hydra.run.dir={quoted(job.folder)}",
    ]


def places(sources: Sequence[Any]) -> list[str]:
    """Returns the flags that name where the sweep's configuration was found.

    Args:
        sources: Hydra's, each with path and provider.
    """
    flags = []
    for source in sources:
        if source.provider == "command-line":
            flags += ["--config-dir", source.path]
        elif source.provider == "main" and source.path not in (str(CONF_DIR), str(EXPERIMENTS_DIR)):
            flags += ["--config-path", source.path]
    return flags


def quoted(value: str | Path) -> str:
    """Returns a value in the quotes of Hydra's grammar, with nothing in it that is read as an interpolation."""
    # In the grammar, backslashes stand for themselves but before a quote.
    text = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), str(value))
    text = re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + "\\${", text)
    return f"'{text}'"


def environment(
    job: Job, outer: Mapping[str, str], threads: int | None = None, launcher: int | None = None
) -> dict[str, str]:
    """Returns a job's variables: those around the sweep, without what belongs to another run, with its own GPUs.

    Args:
        job: knows its devices.
        outer: the variables around the sweep.
        threads: of a job's arithmetic; None leaves it to the libraries.
        launcher: process with whose end the job ends; None is nobody.
    """
    kept = inherited(outer)
    kept["CUDA_VISIBLE_DEVICES"] = ",".join(job.devices)
    if threads is not None:
        kept.setdefault("OMP_NUM_THREADS", str(threads))
    if launcher is not None:
        kept[LAUNCHER] = str(launcher)
    return kept


def inherited(outer: Mapping[str, str]) -> dict[str, str]:
    """Returns variables without those of another run, or of a job of Slurm around this process."""
    return {
        key: value
        for key, value in outer.items()
        if key not in NOT_INHERITED and (key == "SLURM_CONF" or not key.startswith(SCHEDULERS))
    }


def own_devices(trainer: TrainerConfig) -> Any:
    """Returns how many devices a configuration asks for: a number, or auto and the like."""
    asked = trainer.devices
    return len(asked) if isinstance(asked, Sequence) and not isinstance(asked, str) else asked


def processors() -> int:
    """Returns how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
