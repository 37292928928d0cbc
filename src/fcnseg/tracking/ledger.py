"""What a tracker has been told of a run so far, also by processes that were killed."""

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

STEP_KEY = "trainer/global_step"
"""Curves are drawn against it."""


class Ledger:
    """Remembers in a file of the run folder which values were sent, so that none is sent twice.

    A run that goes on after a kill makes the entries after its checkpoint again, and they are the same to the last bit.

    Attributes:
        path: the file.
        id: of the run at the service; made once for a run folder, and kept in the file.
        entries: how many were sent.
        sent: {name: step of its last value}.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file, if there is one that can be read."""
        self.path = path
        known = _read(path)
        self.id = str(known.get("id") or uuid.uuid4().hex[:12])
        self.entries = int(known.get("entries", 0))
        self.sent: dict[str, int] = dict(known.get("sent", {}))

    def lacks(self, name: str, step: int | None) -> bool:
        """Says whether a value of this name was not sent at this step yet."""
        return step is None or step > self.sent.get(name, -1)

    def fresh(self, values: Mapping[str, Any], step: int | None) -> dict[str, Any]:
        """Returns those values that were not sent at this step yet."""
        return {name: value for name, value in values.items() if self.lacks(name, step)}

    def note(self, values: Mapping[str, Any], step: int | None) -> None:
        """Takes down that these were sent.

        Raises:
            OSError: the disk is full, or refuses otherwise.
        """
        self.entries += 1
        if step is not None:
            self.sent.update(dict.fromkeys(values, step))
        self.save()

    def save(self) -> None:
        """Writes the file whole. A loss of power may cost its last lines, and then values are sent twice.

        Raises:
            OSError: the disk is full, or refuses otherwise.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f".{self.path.name}.unfinished")
        unfinished.write_text(json.dumps({"id": self.id, "entries": self.entries, "sent": self.sent}))
        unfinished.replace(self.path)


def ledger_path(folder: Path, tracker: str) -> Path:
    """Returns where a run folder keeps the ledger of a tracker."""
    return folder / "tracking" / f"{tracker}.json"


def known_id(folder: Path, tracker: str) -> str | None:
    """Returns under which id a tracker knows the run of another folder; None if it does not."""
    return _read(ledger_path(folder, tracker)).get("id")


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        content = json.loads(path.read_text())
        return content if isinstance(content, dict) else {}
    return {}
