"""Reads what W&B records of a run: a log in LevelDB's format, with a record of W&B's in each entry."""

import json

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32768, 7
FIRST, MIDDLE = 2, 3
"""Kinds of parts after which an entry goes on."""


def records(path):
    """Returns W&B's records in their order; those of a process that was killed end where its file does."""
    data, at, found, entry = path.read_bytes(), HEADER, [], b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:  # no header fits before the block's end
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        entry += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind not in (FIRST, MIDDLE):
            found.append(Record.FromString(entry))
            entry = b""
    return found


def recorded(folder):
    """Returns the runs that were recorded in a run folder, one for each process, the oldest first."""
    return [Recorded(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


class Recorded:
    """One run as it would be sent to W&B."""

    def __init__(self, path):
        self.files, self.records = path.parent / "files", records(path)
        self.run = self._all("run")[0]
        updates = [*self.run.config.update, *(each for record in self._all("config") for each in record.update)]
        self.config = {each.key or ".".join(each.nested_key): json.loads(each.value_json) for each in updates}
        self.history = [
            {each.key or ".".join(each.nested_key): json.loads(each.value_json) for each in entry.item}
            for entry in self._all("history")
        ]
        self.metrics = {each.name or each.glob_name: each for each in self._all("metric")}
        self.artifacts = self._all("artifact")
        exits = self._all("exit")
        self.exit_code = exits[-1].exit_code if exits else None

    def _all(self, kind):
        return [getattr(each, kind) for each in self.records if each.WhichOneof("record_type") == kind]

    def curve(self, name):
        """Returns [(step, value)] of a metric."""
        return [(entry["trainer/global_step"], entry[name]) for entry in self.history if name in entry]
