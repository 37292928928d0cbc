"""The sweep on the terminal: a table that lives, or a line for each change where no terminal is."""

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from fcnseg.sweeps.job import ENDED, Job, State

REFRESH_S = 2.0
"""Seconds between two looks at the curves of the jobs."""

COLOURS = {
    State.QUEUED: "blue",
    State.SUBMITTED: "blue",
    State.RUNNING: "cyan",
    State.ELSEWHERE: "cyan",
    State.FINISHED: "green",
    State.FAILED: "red",
    State.REFUSED: "red",
    State.BLOCKED: "red",
    State.INTERRUPTED: "yellow",
}
"""Of states, on terminals."""


class Display:
    """Shows the jobs while the context is open.

    Attributes:
        console: where they are shown.
    """

    def __init__(self, console: Console) -> None:
        """Chooses a table for terminals and lines for files."""
        self.console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._seen: dict[int, State] = {}
        self._last = float("-inf")

    def __enter__(self) -> "Display":
        """Begins."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves the last table on the terminal."""
        if self._live:
            self._live.stop()

    def show(self, jobs: Sequence[Job]) -> None:
        """Shows what has changed."""
        changed = [job for job in jobs if self._seen.get(job.number) is not job.state]
        self._seen.update({job.number: job.state for job in changed})
        if self._live is None:
            for job in changed:
                note = f": {job.note.splitlines()[0]}" if job.note else ""
                self.console.print(f"job {job.number} {escape(job.name)}: {job.state}{escape(note)}", soft_wrap=True)
        elif changed or time.monotonic() - self._last > REFRESH_S:
            self._last = time.monotonic()
            self._live.update(table(jobs), refresh=True)


def table(jobs: Sequence[Job]) -> Table:
    """Lays the jobs out: where each stands, and how long it will take."""
    shown = Table(title=f"{sum(job.state is State.FINISHED for job in jobs)} of {len(jobs)} jobs finished")
    for label in ("job", "overrides", "state", "step", "mean IU", "time left", "GPU"):
        shown.add_column(label, justify="left" if label in ("overrides", "state") else "right")
    for job in jobs:
        shown.add_row(*cells(job))
    return shown


def cells(job: Job) -> tuple[str, ...]:
    """Returns a job's line of the table."""
    step, score = job.progress() if job.state is not State.REFUSED else (0, None)
    results = job.results() if job.state is State.FINISHED else None
    if results is not None:
        step, score = results["steps"], results["mean_iu"]
    waits = f" for job {job.after.number}" if job.state is State.WAITING and job.after is not None else ""
    colour = COLOURS.get(job.state, "default")
    return (
        str(job.number),
        escape(job.name),
        f"[{colour}]{job.state}[/]{waits}",
        f"{step}/{job.config.trainer.max_steps}",
        "-" if score is None else f"{100 * score:.1f}",
        time_left(job, step),
        ",".join(job.devices) or "-",
    )


def time_left(job: Job, step: int) -> str:
    """Estimates it from the steps that the job has made since it was started."""
    made = step - job.first_step
    if job.state is not State.RUNNING or job.started is None or made <= 0:
        return "-"
    seconds = (time.time() - job.started) / made * (job.config.trainer.max_steps - step)
    return f"{int(seconds // 3600)}:{int(seconds // 60) % 60:02d}:{int(seconds) % 60:02d}"


def summary(jobs: Sequence[Job], console: Console) -> None:
    """Prints what became of the jobs, and of those that failed their last lines."""
    for job in jobs:
        if job.state in ENDED and job.state is not State.FINISHED:
            colour = COLOURS[job.state]
            console.print(f"[{colour}]job {job.number} {job.state}[/] {escape(job.name)}", soft_wrap=True)
            console.print(escape(job.last_words(5) if job.state is State.FAILED else job.note), soft_wrap=True)
            console.print(f"  {job.folder}", soft_wrap=True, highlight=False)
    if not console.is_terminal:  # where the live table stands already
        console.print(table(jobs))
    counts = {state: sum(job.state is state for job in jobs) for state in State}
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    rest = "" if counts[State.FINISHED] == len(jobs) else "; the same command goes on with what is not finished"
    console.print(f"{said}{rest}", soft_wrap=True, highlight=False)
