"""Benchmarks on the terminal and on disk."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fcnseg.benchmarks.tables import FAILED, PART, QUARTILES
from fcnseg.revision import code_version

FOLDER = Path("experiments/results/benchmarks")
"""Where records go, seen from the repository."""

SCHEMA_VERSION = 1
"""Raised when a field of a record changes its meaning."""


def recorded(
    command: str, found: Mapping[str, Any], machine: Mapping[str, Any], before: Any, after: Any
) -> dict[str, Any]:
    """Returns a measurement together with what it takes to judge and to repeat it.

    Args:
        command: the command line.
        found: what a benchmark returned.
        machine: what it ran on.
        before: load averages before it.
        after: likewise.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **code_version(),
        "machine": dict(machine),
        "load": {"before": before, "after": after},
        **found,
    }


def append(folder: Path, name: str, record: Mapping[str, Any]) -> Path:
    """Adds a record as one line to FOLDER/NAME.jsonl, which nothing ever overwrites, and returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(_plain(record), allow_nan=False) + "\n")
    return path


def _plain(value: Any) -> Any:
    """Returns what JSON can say: of numbers that are none, null."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show(record: Mapping[str, Any], console: Console) -> None:
    """Prints a record as a table for each of its parts, with the machine and its load below."""
    console.print(f"[bold]{record['title']}", soft_wrap=True)
    for part, group in groupby(record["rows"], key=lambda row: row.get(PART, "")):
        found = list(group)
        console.print(_table(part, [row for row in found if FAILED not in row]))
        for row in found:
            if FAILED in row:
                console.print(f"{row['what']}: {row[FAILED]}", soft_wrap=True, markup=False)
    machine, load = record["machine"], record["load"]
    where = machine.get("gpu", machine["processor"])
    console.print(
        f"{where}, {machine['threads']} of {machine['cores']} cores, {' '.join(machine['flags'])}, torch "
        f"{machine['torch']}; load {load['before'][0]} before, {load['after'][0]} after",
        soft_wrap=True,
    )
    if "peak GFLOP/s" in record:
        console.print(f"peak of a matrix product: {record['peak GFLOP/s']:.0f} GFLOP/s", soft_wrap=True)
    for note in record.get("notes", []):
        console.print(note, soft_wrap=True)


def _table(part: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=part or None, title_justify="left")
    named = dict.fromkeys(column for row in rows for column in row)
    columns = [column for column in named if column != PART and not column.endswith(QUARTILES)]
    for column in columns:
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in rows:
        table.add_row(*(_cell(column, row) for column in columns))
    return table


def _cell(column: str, row: Mapping[str, Any]) -> str:
    around = row.get(column + QUARTILES)
    scatter = f" ({_text(column, around[0])}-{_text(column, around[1])})" if around else ""
    return _text(column, row.get(column)) + scatter


def _text(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column.startswith("of "):
        return f"{100 * value:.0f} %"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
