"""Where curves go: metrics.csv always, and what was asked for beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger

from fcnseg.config import LoggerConfig, TrainConfig
from fcnseg.data.datamodule import SegmentationData
from fcnseg.journal import Journal, Times
from fcnseg.resumption import Checkpoints
from fcnseg.revision import code_changes
from fcnseg.task import SegmentationTask
from fcnseg.tracking.gallery import Gallery, legend
from fcnseg.tracking.monitor import Monitor, Stopwatch
from fcnseg.tracking.tensorboard_tracker import TensorboardTracker
from fcnseg.tracking.tracker import PICTURES, Ending, Tracker, trackers
from fcnseg.tracking.wandb_tracker import WandbTracker
from fcnseg.visualize import predicted

LOGGERS = ("csv", "wandb", "tensorboard")
"""What logger.name may say, one of them or a list."""

ARTIFACTS = ("last", "best", None)
"""What logger.artifact may say."""


def names(chosen: LoggerConfig) -> list[Any]:
    """Returns logger.name as a list."""
    return list(chosen.name) if isinstance(chosen.name, list | tuple) else [chosen.name]


def build_loggers(
    chosen: LoggerConfig, folder: Path, checkpoints: Checkpoints, labels: Mapping[str, Any]
) -> list[Logger]:
    """Builds metrics.csv with its times, and what was asked for beside them.

    Args:
        chosen: the configuration.
        folder: the run folder.
        checkpoints: knows the run's time.
        labels: group, job_type and tags of the run.
    """
    loggers: list[Logger] = [Journal(folder / "metrics.csv"), Times(folder / "times.csv", checkpoints.seconds)]
    watched = [name for name in dict.fromkeys(names(chosen)) if name != "csv"]
    return [*loggers, *(_tracker(name, chosen, folder, labels) for name in watched)]


def _tracker(name: str, chosen: LoggerConfig, folder: Path, labels: Mapping[str, Any]) -> Tracker:
    if name == "tensorboard":
        return TensorboardTracker(folder)
    return WandbTracker(
        folder,
        project=chosen.project,
        offline=chosen.offline,
        artifact=chosen.artifact,
        **labels,
    )


def watchers(loggers: Sequence[Logger], stopwatch: Stopwatch) -> list[Callback]:
    """Returns the callbacks that tell trackers more than Lightning does; none where nobody looks.

    The monitor comes last: a validation ends for its clock when the pictures are made.
    """
    return [Gallery(), Monitor(stopwatch)] if trackers(loggers) else []


def start_trackers(loggers: Sequence[Logger], config: TrainConfig, origin: Mapping[str, Any]) -> None:
    """Tells the trackers what is trained, and where it comes from.

    Args:
        loggers: the run's.
        config: resolved.
        origin: what results.json says of where the run comes from; what the configuration names too stays its own.
    """
    if not (found := trackers(loggers)):
        return
    facts = {**origin, **asdict(config)}
    changes = code_changes()
    for tracker in found:
        tracker.start(facts, changes)


def end_trackers(
    loggers: Sequence[Logger], content: Mapping[str, Any], task: SegmentationTask, data: SegmentationData, folder: Path
) -> None:
    """Tells the trackers how a run ended.

    Args:
        loggers: the run's.
        content: of results.json.
        task: with the last weights.
        data: whose validation images are shown.
        folder: the run's.
    """
    if not (found := trackers(loggers)):
        return

    def tell() -> None:
        ending = Ending(content, predicted(task.model, data.val, PICTURES), legend(data), folder)
        for tracker in found:
            tracker.end(ending)

    found[0].attempt(tell)
