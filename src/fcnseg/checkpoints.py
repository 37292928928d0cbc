"""Files of checkpoints: written whole or not at all, and read with care."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from fcnseg.disk import sync_folder, write_durably
from fcnseg.weights.files import check_sums, read_checkpoint

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
"""What checkpoints/ holds: the two that were written last, and the one of the best validation."""


class WholeFiles(TorchCheckpointIO):
    """Writes checkpoints that are complete or not there; the last one becomes the previous one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Raises:
            ValueError: the disk is full or refuses otherwise; the checkpoints from before are untouched.
        """
        path = Path(path)
        if path.name == LAST and path.is_file():
            keep_as_previous(path)
        write_durably(path, lambda file: _save(checkpoint, file))


def keep_as_previous(last: Path) -> None:
    """Gives the last checkpoint a second name, under which it stays when its successor takes the first."""
    previous, second = last.with_name(PREVIOUS), last.with_name(f".{PREVIOUS}.unfinished")
    second.unlink(missing_ok=True)
    try:
        os.link(last, second)
        second.replace(previous)
        second.unlink(missing_ok=True)  # two names of one file, as a kill may leave them, are not renamed
    except OSError:  # a file system without hard links
        last.replace(previous)
    sync_folder(last.parent)


class _Watched:
    """A file for torch.save, which replaces an error of the disk by one that does not say what happened."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return int(self._file.write(data))
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _save(checkpoint: dict[str, Any], file: Any) -> None:
    watched = _Watched(file)
    try:
        torch.save(checkpoint, watched)  # type: ignore[arg-type]
    except RuntimeError as error:
        raise watched.error or error from error


def read_last(folder: Path, warn: Callable[[str], None]) -> dict[str, Any] | None:
    """Reads the newest checkpoint of a run that is whole.

    Args:
        folder: the run's.
        warn: told of a checkpoint that is damaged.

    Returns:
        Its content; None if there is no checkpoint.

    Raises:
        ValueError: there are checkpoints, and none is whole.
    """
    said = ""
    for name in (LAST, PREVIOUS):
        path = folder / "checkpoints" / name
        if not path.is_file():
            continue
        try:
            return read_whole(path)
        except ValueError as error:
            said = f"{error}"
            warn(f"{said}; going on from the checkpoint before it, if there is one")
    if said:
        raise ValueError(
            f"{folder} holds no checkpoint that is whole, so this run cannot be continued ({said}): restore one, or "
            "start anew with hydra.run.dir=DIR"
        )
    return None


def read_whole(path: Path) -> dict[str, Any]:
    """Reads a checkpoint of a run after comparing every byte with the sums in the file.

    Raises:
        ValueError: it is cut off, changed, or not of a training.
    """
    check_sums(path)
    content = read_checkpoint(path)
    if "progress" not in content:
        raise ValueError(f"{path} was not written by a training that can be continued")
    return content
