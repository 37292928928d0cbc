"""What a run says on the terminal: at its start, at each validation, at its end, and when it is refused."""

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fcnseg.checkpoints import BEST
from fcnseg.config import TrainConfig
from fcnseg.data.datamodule import SegmentationData
from fcnseg.guard import NonFiniteError
from fcnseg.interruption import Stop, was_started
from fcnseg.progress import device_name
from fcnseg.recipe import departures, recipe_label
from fcnseg.results import FOUR_SCORES, split_remarks
from fcnseg.secrets import check_secrets, masked
from fcnseg.task import SegmentationTask
from fcnseg.tracking import wandb_service
from fcnseg.tracking.tracker import trackers

REMARKS = {
    "split_missing": "that a list names and that are not on disk",
    "split_removed": "taken out of training because validation has them",
    "split_overlap": "of validation that are trained on",
}
"""What results.split_remarks tells, in words."""


@contextmanager
def reported(folder: Path, config: Any = None) -> Iterator[None]:
    """Turns what the user can mend into one message and exit status 1; HYDRA_FULL_ERROR=1 shows where it came from.

    Args:
        folder: the run's; removed again if the run was refused before anything was in it.
        config: as composed; it is refused if it asks for a secret, before a message about its value can show that.
    """
    try:
        if config is not None:
            check_secrets(cast(dict[str, Any], OmegaConf.to_container(config)), os.environ)
        yield
    except Stop as stop:
        _say("[bold yellow]stopped:[/]", str(stop), stop)
        # A status other than 0 would have the trainer kill the first process, which may still have things to finish.
        _leave(0 if was_started() else stop.status)
    except (ValueError, OSError, MisconfigurationException) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        with suppress(OSError):
            folder.rmdir()
        # A loader worker sends its traceback along; the message is what follows it.
        _say("[bold red]error:[/]", str(error).rpartition(f"\n{type(error).__name__}: ")[2].strip(), error)
        if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
            raise  # the sweep goes on
        _leave(1)
    except Exception:
        if not _is_one_of_several():
            raise
        traceback.print_exc()
        _leave(1)
    finally:
        wandb_service.close(_status())


def names_folder() -> bool:
    """Says whether the run folder was given, by the command line or by a sweep, and not named after the time."""
    hydra = HydraConfig.get()
    return hydra.mode == RunMode.MULTIRUN or any(each.startswith("hydra.run.dir=") for each in hydra.overrides.hydra)


def _say(title: str, text: str, error: Exception) -> None:
    """Prints a last word; what all processes find alike is said by the first one only."""
    alike = isinstance(error, Stop | FileExistsError) or isinstance(error.__cause__, NonFiniteError)
    if not alike or getattr(rank_zero_only, "rank", 0) == 0:
        Console(stderr=True, soft_wrap=True, highlight=False).print(title, escape(masked(text, os.environ)))


def _is_one_of_several() -> bool:
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _leave(status: int) -> NoReturn:
    """Ends the process, at once where others run beside it: one that waits for them in vain would hang."""
    if _is_one_of_several():
        wandb_service.close(status)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _status() -> int:
    """Returns the exit status of the process if what is under way ends it."""
    error = sys.exc_info()[1]
    if error is None:
        return 0
    return error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1


def quiet_lightning() -> None:
    """Silences what Lightning says of hardware and of itself; warnings that users can act on stay."""
    for part in ("pytorch", "fabric"):
        logging.getLogger(f"lightning.{part}").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*Experiment logs directory .* exists and is not empty")
    warnings.filterwarnings("ignore", "The `srun` command is available")  # nodes.check_start refuses what would hang
    warnings.filterwarnings("ignore", ".*is smaller than the logging interval")  # entries count steps over all epochs
    warnings.filterwarnings("ignore", ".*recommended to use .*sync_dist")  # scores and losses sum up all processes
    warnings.filterwarnings("ignore", ".*does not have many workers which may be a bottleneck")
    warnings.filterwarnings("ignore", r"torch\.distributed\.nn\.functional\.all_gather is deprecated")
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec.* is deprecated")


def announce(
    config: TrainConfig, data: SegmentationData, task: SegmentationTask, folder: Path, trainer: Trainer, start: int = 0
) -> None:
    """Says what is trained on what, by which recipe, on which device, where, and from which step on."""
    description = task.model.describe()
    images = f"{len(data.train.source) if data.train else 0} training and {len(data.val.source)} validation images"
    changed = departures(config)
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)  # what is printed are users' names
    console.print(
        Text(config.model.name, style="bold")
        + f" on {config.backbone.name}: {description.parameters:,} parameters, receptive field "
        f"{description.receptive_field}, weights {task.record['weights_from']}"
    )
    console.print(f"data {config.data.name}: {images}, {len(data.val.source.classes)} classes")
    for said in said_of_splits(split_remarks(data)):
        console.print(said)
    console.print(
        f"recipe {recipe_label(config)}: {config.trainer.max_steps} steps; changed: {', '.join(changed) or 'nothing'}"
    )
    processes = f", {trainer.world_size} processes" if trainer.world_size > 1 else ""
    curves = ["metrics.csv", *(tracker.label for tracker in trackers(trainer.loggers))]
    console.print(
        f"device {device_name(trainer.strategy.root_device)}{processes}, precision {trainer.precision}; curves go to "
        f"{' and '.join(curves)}"
    )
    console.print(f"run folder {folder}" + (f", continued from step {start}" if start else ""))


def said_of_splits(remarks: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Puts what results.split_remarks tells into words; nothing of what occurs in no split."""
    return [
        f"images {REMARKS.get(remark, remark)}: {', '.join(f'{part} {count:,}' for part, count in counts.items())}"
        for remark, counts in remarks.items()
        if any(counts.values())
    ]


def score_table(content: Mapping[str, Any], weights: str = "last") -> Table:
    """Lays the four scores out as a table in percent."""
    table = Table(
        title=Text(f"{content['model']}, {content['backbone']}, {content['num_images']} images of {content['data']}")
    )
    table.add_column("weights")
    for label in FOUR_SCORES.values():
        table.add_column(label, justify="right")
    for label, scores in ((weights, content), ("best", content.get("best"))):
        if scores:
            values = [scores[key] for key in FOUR_SCORES]
            cells = ["-" if value is None else f"{100 * value:.1f}" for value in values]
            table.add_row(f"{label} (step {scores['steps']})", *cells)
    return table


def show_scores(content: Mapping[str, Any], folder: Path, picture: Path | None = None, weights: str = "last") -> None:
    """Prints the scores, the run folder and what to do next."""
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    console.print(score_table(content, weights))
    console.print(f"run folder    {folder}")
    if picture is None:
        return
    best = folder / "checkpoints" / BEST
    console.print(f"best weights  {best} (step {content['best']['steps']})")
    console.print(f"predictions   {picture}")
    console.print(f"evaluate it   python -m fcnseg.evaluate checkpoint={folder}")
    console.print(f"the best      python -m fcnseg.evaluate checkpoint={best}")
    console.print(f"predict       python -m fcnseg.predict checkpoint={folder} input=IMAGES output=FOLDER")
    if (folder / "tensorboard").is_dir():
        console.print(f"look at it    tensorboard --logdir {folder}")
    for record in sorted((folder / "wandb").glob("offline-run-*")):
        console.print(f"send to W&B   wandb sync --append {record}")
