"""One job of a sweep: what it trains, where, after which other, and how far it is."""

import csv
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Optional

from fcnseg.config import TrainConfig
from fcnseg.disk import read_json, write_durably
from fcnseg.revision import code_version

CONSOLE = "console.log"
"""What a job prints goes there, in its folder."""

RECORD = "job.json"
"""What its launcher knows of it, likewise."""


class State(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    ELSEWHERE = "running elsewhere"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    REFUSED = "refused"
    BLOCKED = "blocked"
    SUBMITTED = "submitted"


ENDED = (State.FINISHED, State.INTERRUPTED, State.FAILED, State.REFUSED, State.BLOCKED, State.SUBMITTED)
"""States from which a job goes nowhere in this sweep; one that is submitted does so without it."""


@dataclass
class Job:
    """One training of a sweep.

    Attributes:
        number: counted from 0, in the sweeper's order.
        name: the overrides in short.
        overrides: those of the command line.
        folder: the run folder.
        config: what they mean.
        config_hash: of that.
        added: further overrides, which the launcher gives.
        after: the job of the coarser net that this one starts from, if it is one of the sweep.
        state: where it stands.
        note: why it stands there.
        devices: GPUs that it has, as CUDA_VISIBLE_DEVICES names them.
        started: when this launcher started it, in seconds since 1970.
        first_step: step from which it was continued.
        cluster_id: of the scheduler, where one runs it.
    """

    number: int
    name: str
    overrides: tuple[str, ...]
    folder: Path
    config: TrainConfig
    config_hash: str
    added: list[str] = field(default_factory=list)
    after: Optional["Job"] = None
    state: State = State.WAITING
    note: str = ""
    devices: tuple[str, ...] = ()
    started: float | None = None
    first_step: int = 0
    cluster_id: str | None = None

    def results(self) -> dict[str, Any] | None:
        """Returns what the finished run has found; None before that."""
        return read_json(self.folder / "results.json") or None

    def is_begun(self) -> bool:
        """Says whether there is a checkpoint to go on from."""
        return any((self.folder / "checkpoints").glob("*.ckpt"))

    def progress(self) -> tuple[int, float | None]:
        """Returns how many steps were done by metrics.csv, and the last mean IU, as a fraction."""
        step, score = 0, None
        with suppress(OSError, ValueError, KeyError), (self.folder / "metrics.csv").open(newline="") as file:
            for line in csv.DictReader(file):
                step = max(step, int(line["step"] or -1) + 1)
                score = float(value) if (value := line.get("val/mean_iu")) else score
        return step, score

    def last_words(self, lines: int = 1) -> str:
        """Returns the last lines that the job has printed."""
        with suppress(OSError):
            with (self.folder / CONSOLE).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - 8192))
                said = file.read().decode(errors="replace").splitlines()
            return "\n".join([line.rstrip() for line in said if line.strip()][-lines:])
        return ""

    def set(self, state: State, note: str = "", **more: Any) -> None:
        """Changes the state and writes it down."""
        self.state, self.note = state, note
        self.write(**more)

    def write(self, **more: Any) -> None:
        """Writes job.json.

        Args:
            more: further entries.
        """
        recalled = self.recall()
        content = recalled | {
            "state": str(self.state),
            "error": self.note or None,
            "row": self.config.row,
            "scale": self.config.scale,
            "seed": self.config.seed,
            "overrides": list(self.overrides),
            "added": self.added,
            "config_hash": self.config_hash,
            "starts_from": self.config.init_from,
            "devices": list(self.devices),
            "started": self.started,
            "updated": time.time(),
            "cluster_id": self.cluster_id or recalled.get("cluster_id"),
            **code_version(),
            **more,
        }
        text = json.dumps(content, indent=1) + "\n"
        write_durably(self.folder / RECORD, lambda file: file.write(text.encode()), shared=True)

    def recall(self) -> dict[str, Any]:
        """Returns what a launcher wrote of this job before; empty for a new one."""
        return read_json(self.folder / RECORD)
