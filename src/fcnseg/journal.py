"""metrics.csv: every entry once and in order, also when a run goes on after a kill."""

import csv
import io
import os
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from fcnseg.disk import write_durably, writing


class Journal(Logger):
    """Writes one line an entry, and columns in alphabetical order.

    Attributes:
        path: the file.
        entries: lines that were logged so far, those of the run it goes on from included.
    """

    def __init__(self, path: Path) -> None:
        """Starts a new file with the first entry that is saved."""
        super().__init__()
        self.path, self.entries = path, 0
        self._columns: list[str] = []
        self._unsaved: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def version(self) -> str:
        """Nothing: a run folder holds one such file."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Does nothing; config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Takes an entry."""
        self._unsaved.append({"step": step, **metrics})
        self.entries += 1

    @rank_zero_only
    def save(self) -> None:
        """Appends what came since the last time; a new column makes it write the file anew.

        Raises:
            ValueError: the disk is full, or refuses otherwise.
        """
        if not self._unsaved:
            return
        columns = sorted({*self._columns, *(key for entry in self._unsaved for key in entry)})
        if columns != self._columns:
            self._rewrite(columns, [*self._saved(), *self._unsaved])
        else:
            with writing(self.path):
                self._append(_lines(columns, self._unsaved).encode())
        self._unsaved = []

    @rank_zero_only
    def sync(self) -> None:
        """Makes what was saved survive a loss of power.

        Raises:
            ValueError: the disk refuses.
        """
        if self.path.is_file():
            with writing(self.path), self.path.open("rb") as file:
                os.fsync(file.fileno())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Saves what is left."""
        self.save()

    @rank_zero_only
    def keep(self, entries: int) -> None:
        """Goes on with an existing file after its first entries; those that came later are made again.

        Raises:
            ValueError: the file holds fewer.
        """
        with self.path.open(newline="") if self.path.is_file() else io.StringIO() as file:
            reader = csv.DictReader(file)
            saved, columns = list(reader), list(reader.fieldnames or [])
        if len(saved) < entries:
            raise ValueError(
                f"{self.path} holds {len(saved)} entries, and the checkpoint was written after {entries}: restore the "
                "file, or start anew with hydra.run.dir=DIR"
            )
        self.entries = entries
        if columns:
            self._rewrite(columns, saved[:entries])

    def _append(self, lines: bytes) -> None:
        before = self.path.stat().st_size
        try:
            with self.path.open("ab") as file:
                file.write(lines)
        except OSError:
            os.truncate(self.path, before)  # no half a line
            raise

    def _saved(self) -> list[dict[str, Any]]:
        if not self._columns:
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def _rewrite(self, columns: list[str], entries: Sequence[dict[str, Any]]) -> None:
        header = _lines(columns, [{column: column for column in columns}])
        content = (header + _lines(columns, entries)).encode()
        write_durably(self.path, lambda file: file.write(content))
        self._columns = columns


class Times(Journal):
    """times.csv: when each entry of metrics.csv was made, line for line.

    A file of its own, because times are not repeated when a run goes on after a kill, and metrics.csv is to the last
    bit.
    """

    def __init__(self, path: Path, seconds: Callable[[], float]) -> None:
        """Takes the clock: ``seconds`` returns how long the run has taken so far."""
        super().__init__(path)
        self.seconds = seconds

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Takes the time of an entry."""
        super().log_metrics({"seconds": round(self.seconds(), 3)}, step)

    @rank_zero_only
    def keep(self, entries: int) -> None:
        """Goes on as a journal does, but no time that is missing is worth refusing a run: its line stays empty."""
        try:
            super().keep(entries)
        except ValueError:
            self.path.unlink(missing_ok=True)
            self._rewrite(["seconds", "step"], [{}] * entries)
            self.entries = entries


def _lines(columns: Sequence[str], entries: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns).writerows(entries)
    return text.getvalue()
