"""From Hydra's list of overrides to a finished sweep: what the launcher plug-ins call."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from rich.console import Console
from rich.markup import escape

from fcnseg.secrets import masked
from fcnseg.sweeps.backend import Backend
from fcnseg.sweeps.command import command
from fcnseg.sweeps.job import Job, State
from fcnseg.sweeps.plan import Compose, planned
from fcnseg.sweeps.sweep import Sweep, returned
from fcnseg.sweeps.table import Display, summary, table


def launch(
    swept: Sequence[Sequence[str]],
    compose: Compose,
    hydra: Any,
    make_backend: Callable[[], Backend],
    *,
    first: int = 0,
    fail_fast: bool = False,
    dry_run: bool = False,
) -> list[JobReturn]:
    """Carries out a sweep.

    Args:
        swept: the overrides of each job.
        compose: composes the whole configuration of one job.
        hydra: the sweep's own hydra node.
        make_backend: builds what carries the jobs out.
        first: the number of the first job.
        fail_fast: whether the first failure stops the others.
        dry_run: list what would run, and run nothing.

    Returns:
        What Hydra's sweepers expect of each job.

    Raises:
        SystemExit: with status 1 at a wrong configuration, 130 or 143 after a signal, 0 after a dry run.
    """
    console, errors = Console(highlight=False), Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        if str(hydra.job.name) != "train":
            raise ValueError("this is a configuration of another command: run it with python -m fcnseg.train")
        jobs, backend = planned(swept, compose, first), make_backend()
    except (ValueError, OSError) as error:
        errors.print("[bold red]error:[/]", escape(masked(str(error), os.environ)))
        raise SystemExit(1) from error
    with Display(console) as display:
        sweep = Sweep(jobs, backend, lambda job: command(job, hydra), fail_fast=fail_fast, show=display.show)
        if dry_run:
            return _listed(sweep, console)
        sweep.run()
    summary(jobs, console)
    if jobs and jobs[0].config.experiment.rows:
        console.print(f"beside the paper: python -m fcnseg.report {hydra.job.config_name}", soft_wrap=True)
    if sweep.signal:
        raise SystemExit(sweep.status())
    return [_returned(job, str(hydra.sweeper._target_)) for job in jobs]


def _listed(sweep: Sweep, console: Console) -> list[JobReturn]:
    sweep.look()
    for job in sweep.jobs:
        if job.state is State.WAITING and job.is_begun():
            job.note = f"goes on from its last checkpoint; it had reached step {job.progress()[0]}"
    console.print(table(sweep.jobs))
    for job in sweep.jobs:
        console.print(f"{job.number}  {job.folder}  {job.note}", soft_wrap=True, markup=False)
    raise SystemExit(0)


def _returned(job: Job, sweeper: str) -> JobReturn:
    """Tells the sweeper of a job; Hydra's own sweeper ends with a failed one's exception, so that it is a quiet one."""
    done = job.state in (State.FINISHED, State.SUBMITTED)
    quiet = sweeper.startswith("hydra._internal.")
    failure: BaseException = SystemExit(1) if quiet else RuntimeError(f"{job.name}: {job.state}: {job.note}")
    found = JobReturn(
        overrides=list(job.overrides),
        working_dir=str(job.folder),
        task_name="train",
        status=JobStatus.COMPLETED if done else JobStatus.FAILED,
    )
    found.return_value = returned(job) if done else failure
    return found
