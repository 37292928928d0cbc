"""Where curves go: metrics.csv always, and what was asked for beside it."""

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger

from fcnseg.config import LoggerConfig
from fcnseg.journal import Journal, Times
from fcnseg.resumption import Checkpoints

LOGGERS = ("csv", "wandb")
"""What logger.name may say."""


def build_loggers(chosen: LoggerConfig, folder: Path, checkpoints: Checkpoints) -> list[Logger]:
    """Builds metrics.csv with its times, and what was asked for beside them.

    Args:
        chosen: the configuration.
        folder: the run folder.
        checkpoints: knows the run's time, and the checkpoint that it goes on from; its W&B run is continued.
    """
    loggers: list[Logger] = [Journal(folder / "metrics.csv"), Times(folder / "times.csv", checkpoints.seconds)]
    if chosen.name == "wandb":
        loggers.append(_wandb(chosen, folder, checkpoints.earlier))
    return loggers


def _wandb(chosen: LoggerConfig, folder: Path, earlier: dict[str, Any] | None) -> WandbLogger:
    version = earlier["progress"]["versions"].get(WandbLogger.__name__) if earlier else None
    more: dict[str, Any] = {"version": version, "resume": "allow"} if version else {}
    more |= {"group": chosen.group, "job_type": chosen.job_type, "tags": list(chosen.tags)}
    return WandbLogger(folder.name, folder, project=chosen.project, offline=chosen.offline, **more)
