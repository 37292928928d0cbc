"""Run folders: one process at a time, never two runs in one, and where a killed run goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf

from fcnseg.checkpoints import read_last
from fcnseg.config import TrainConfig
from fcnseg.disk import held, write_durably
from fcnseg.results import differences


def is_first_process() -> bool:
    """Says whether this is the process that writes and speaks, before any process group exists."""
    return bool(getattr(rank_zero_only, "rank", 0) == 0)


@contextmanager
def claimed(folder: Path, config: TrainConfig, warn: Callable[[str], None]) -> Iterator[dict[str, Any] | None]:
    """Takes a run folder for this process, if it is free, or holds an unfinished run of the same configuration.

    Yields:
        The checkpoint to go on from; None to begin.

    Raises:
        FileExistsError: the folder holds a finished run or another one, or another process works in it.
        ValueError: the folder's checkpoints are all damaged.
    """
    refusal = f"another process works in {folder}: wait for its end, or choose another folder with hydra.run.dir=DIR"
    with held(folder / ".lock", refusal) if is_first_process() else nullcontext():
        refuse_other(folder, config)  # all processes, or those that do not would wait for the first one
        yield read_last(folder, warn if is_first_process() else lambda _: None)


def refuse_other(folder: Path, config: TrainConfig) -> None:
    """Refuses a folder that holds a finished run, or an unfinished one of another configuration.

    Raises:
        FileExistsError: names the folder and what to do.
    """
    another = "choose another folder with hydra.run.dir=DIR, or move it away"
    if (folder / "results.json").exists():
        raise FileExistsError(f"{folder} already holds a finished run: {another}")
    if not (folder / "config.yaml").exists():
        if (folder / "checkpoints").exists():
            raise FileExistsError(f"{folder} already holds checkpoints, but no config.yaml: {another}")
        return
    try:
        before = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"), resolve=True)
        changed = differences(before, asdict(config))  # type: ignore[arg-type]
    except Exception as error:  # a broken YAML, or one that is no configuration of this version
        raise FileExistsError(f"{folder} already holds a run whose config.yaml cannot be read: {another}") from error
    if changed:
        raise FileExistsError(
            f"{folder} already holds an unfinished run of another configuration ({'; '.join(changed)}): give the same "
            f"keys to continue it, or {another}"
        )


def check_identity(earlier: dict[str, Any] | None, now: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Returns what a run is known by, after comparing it with the run that it goes on from.

    Raises:
        ValueError: the data have changed since.
    """
    if earlier is not None and (before := earlier["progress"]["identity"]) != now:
        raise ValueError(
            f"the data are not those that {folder} began with ({before} then, {now} now): put them back to continue, "
            "or start anew with hydra.run.dir=DIR"
        )
    return now


def write_config(folder: Path, config: TrainConfig) -> None:
    """Writes config.yaml, which says every value that is used.

    Raises:
        ValueError: the disk is full, or refuses otherwise.
    """
    text = OmegaConf.to_yaml(OmegaConf.structured(config))
    write_durably(folder / "config.yaml", lambda file: file.write(text.encode()))
