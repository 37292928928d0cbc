"""What goes wrong in a run, said in plain words, with what is left and what to do."""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from fcnseg.checkpoints import LAST, PREVIOUS
from fcnseg.config import TrainConfig
from fcnseg.interruption import INTERRUPTED, Stop, starts_others
from fcnseg.resumption import Checkpoints

SHARED_MEMORY = Path("/dev/shm")
"""Where loader workers leave their batches for the training process."""

ENDED_WORKER = re.compile(r"DataLoader worker .* is killed by signal: (Terminated|Interrupt|User defined signal 1)")
"""What torch says of a loader worker that was asked to end."""


ENDED_PROCESS = re.compile(r"by peer|Connection (closed|reset|refused)|Broken pipe|NCCL\b|\bGloo\b|\bgloo/transport/")
"""What the others say of a process that is gone."""


class RunError(ValueError):
    """A run failed; says why, and what is left of it."""


class Witness(Callback):
    """Remembers how large the latest batch was.

    Attributes:
        shape: of its images, [n, c, h, w]; empty before the first.
        validating: whether it was one to validate.
    """

    def __init__(self) -> None:
        """Saw nothing yet."""
        self.shape: tuple[int, ...] = ()
        self.validating = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_index: int) -> None:
        """Looks at a training batch."""
        self.shape, self.validating = tuple(batch.images.shape), False

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_index: int, dataloader_idx: int = 0
    ) -> None:
        """Looks at a validation image."""
        self.shape, self.validating = tuple(batch.images.shape), True


@contextmanager
def explained(
    folder: Path, config: TrainConfig, trainer: Trainer, witness: Witness, checkpoints: Checkpoints
) -> Iterator[None]:
    """Puts a failing training into words.

    Args:
        folder: the run's.
        config: named in remedies.
        trainer: what fails; the processes that it started end with it.
        witness: saw the batch at which it failed.
        checkpoints: wrote what is left, and knows whether the run was asked to end.

    Raises:
        RunError: what the error means and what is left; errors that nobody foresaw stay as they are.
        Stop: the run was asked to end.
    """
    launcher = trainer.strategy.launcher
    if (
        isinstance(launcher, _SubprocessScriptLauncher)
        and not launcher.cluster_environment.creates_processes_externally
    ):
        starts_others()
    try:
        yield
    except Exception as error:
        if isinstance(error, Stop):
            raise
        if isinstance(launcher, _SubprocessScriptLauncher):
            launcher.kill(SIGKILL)  # they wait for this process, some of them for ever
        asked = checkpoints.interruption.signal
        if asked and ENDED_WORKER.search(str(error)):  # one that had not yet begun to ignore the signal
            raise Stop(INTERRUPTED[Signals(asked)], checkpoints.step) from error
        if (said := words(error, config, witness, trainer.world_size)) is None:
            raise
        raise RunError(f"{said}. {left(folder)}") from error


def words(error: Exception, config: TrainConfig, witness: Witness, world_size: int = 1) -> str | None:
    """Says what an error means and what to do about it; None for one that nobody foresaw."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError):
        return out_of_memory(text, config, witness)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({error}): make room"
    if "Bus error" in text or "shared memory(shm)" in text:
        return shared_memory_too_small(config)
    if found := re.search(r"DataLoader worker \(pid\(?s?\)? ?([\d, ]+)\)", text):
        return (
            f"a loader worker (process {found[1]}) was killed, most likely because memory ran out: set "
            f"data.workers={config.data.workers // 2}, or give the job more memory"
        )
    if world_size > 1 and not isinstance(error, ValueError) and ENDED_PROCESS.search(text):
        return "another process of this run has ended; if it said why, that stands above"
    if isinstance(error, ValueError | OSError):  # a loader worker sends its traceback along, and the message follows it
        return text.rpartition(f"\n{type(error).__name__}: ")[2].strip().rstrip(".")
    return None


def out_of_memory(text: str, config: TrainConfig, witness: Witness) -> str:
    """Says how much a GPU would have needed, for what, and three ways to need less."""
    images, _, height, width = witness.shape or (config.data.batch_size, 3, 0, 0)
    asked = re.search(r"allocate ([\d.]+ \w+)", text)
    used = f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB" if torch.cuda.is_available() else "what it had"
    ways = [] if config.trainer.precision == "bf16-mixed" else ["trainer.precision=bf16-mixed"]
    if not witness.validating:
        ways += ways_to_train_smaller(config, images)
    ways += [f"data.image_side={max(height, width) * 3 // 4}"] if witness.shape else []
    ways += ["backbone.padding=same"] if config.backbone.padding != "same" else []
    ways += [] if witness.validating else ["model.train=head"]
    return (
        f"the GPU's memory is too small to {'validate' if witness.validating else 'train on'} {images} images of "
        f"{width}x{height} at once: beside {used} in use, {asked[1] if asked else 'more'} was asked for. Any of these "
        f"needs less, and makes another run, which wants a new folder: {', or '.join(ways[:3])}"
    )


def ways_to_train_smaller(config: TrainConfig, images: int) -> list[str]:
    """Names overrides that make a batch smaller."""
    half = -(-config.data.batch_size // 2)
    ways = [f"data.batch_size={half} trainer.accumulate={2 * config.trainer.accumulate}"] if images > 1 else []
    return [*ways, f"data.crop={config.data.crop * 3 // 4}"] if config.data.crop else ways


def shared_memory_too_small(config: TrainConfig) -> str:
    """Says how much room there is for what loader workers hand over."""
    room = f"{shutil.disk_usage(SHARED_MEMORY).total / 2**20:.0f} MiB" if SHARED_MEMORY.is_dir() else "nothing"
    return (
        f"the loader workers found too little shared memory ({SHARED_MEMORY} holds {room}): set data.workers=0, or "
        "give the container more (docker run --shm-size=8g)"
    )


def left(folder: Path) -> str:
    """Says which checkpoint is there to go on from."""
    for name in (LAST, PREVIOUS):
        path = folder / "checkpoints" / name
        if path.is_file():
            return f"The last checkpoint, {path}, is whole; the same command goes on from there"
    return "There is no checkpoint yet; the same command starts again"
