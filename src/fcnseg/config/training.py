"""Knobs of a training: recipe, loss, optimiser, trainer, loggers, and the table it belongs to."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from fcnseg.config.marks import pinned


@dataclass
class RecipeConfig:
    """A protocol: values that only make sense together."""

    name: str = MISSING
    """Named in results."""
    source: str = MISSING
    """Where the values come from."""
    staged: bool = False
    """Whether skips are added to a finished coarser net. Paper: Sec. 4.2."""
    lr: dict[str, Any] = field(default_factory=dict)
    """{backbone or default: {model or any: learning rate}}."""
    steps: dict[str, int] = field(default_factory=dict)
    """{model: optimiser steps}, where they differ."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What the recipe pins, as a tree like this one."""


@dataclass
class LossConfig:
    """Per-pixel cross-entropy."""

    reduction: str = pinned("loss.reduction")
    """sum, mean (over the valid pixels of the whole step) or image_mean."""
    keep: float = 1.0
    """Patch sampling: probability with which each cell of the last score map counts in a step of training; for as many
    patches a step, take 1 / keep times trainer.accumulate or data.batch_size. Paper: Sec. 4.3, Fig. 5."""
    class_weights: Any = None
    """null, one weight a class, or balanced: inversely proportional to the class's pixels in the training masks, with a
    mean over all pixels of 1. A mean is divided by the weights' sum. Training only. Paper: Sec. 4.3."""
    balance_sampling: bool = False
    """Keep pixels of frequent classes with a probability inversely proportional to the class's pixels in the training
    masks; those of the rarer half of the classes always. Training only. Paper: Sec. 4.3."""


@dataclass
class OptimizerConfig:
    """The optimiser and its schedule."""

    name: str = MISSING
    """sgd or adamw."""
    lr: float | None = None
    """Of weights; null takes the recipe's table by backbone and stage."""
    momentum: float = pinned("optimizer.momentum")
    """Of sgd; the first beta of adamw."""
    weight_decay: float = pinned("optimizer.weight_decay")
    """Of weights."""
    bias_lr_factor: float = pinned("optimizer.bias_lr_factor")
    """Learning rate of biases over that of weights. Paper: Sec. 4.3."""
    bias_decay: bool = False
    """Whether biases decay."""
    bias_rule: str = pinned("optimizer.bias_rule")
    """all, or score: the two rules above hold for score layers alone, as in the release's AlexNet."""
    head_lr_factor: float = pinned("optimizer.head_lr_factor")
    """Learning rate of score layers over that of the rest."""
    schedule: str = pinned("optimizer.schedule")
    """fixed or poly."""
    warmup: int = pinned("optimizer.warmup")
    """Steps of linear rise."""


@dataclass
class TrainerConfig:
    """How long, on what, and how often things are looked at."""

    max_steps: int = pinned("trainer.max_steps")
    """Optimiser steps."""
    accumulate: int = pinned("trainer.accumulate")
    """Batches per step."""
    val_every: int = pinned("trainer.val_every")
    """Steps between validations; the last weights are always validated."""
    limit_val_batches: int | None = None
    """Validate on this many images per process only."""
    clip: float | None = pinned("trainer.clip")
    """Largest norm of the gradient."""
    precision: str = pinned("trainer.precision")
    """auto (bf16-mixed where the GPU has it, else 32-true), 32-true, 64-true, bf16-mixed, 16-mixed."""
    compile: bool | None = None
    """Compile the training's forward pass for each size of images; null does so on a GPU with data.batching=crop, where
    there is one size."""
    accelerator: str = "auto"
    """auto (a CUDA GPU if there is one, else cpu), cpu or gpu."""
    devices: Any = 1
    """Number of processes on each node, a list of GPUs, or auto for all of them."""
    num_nodes: int = 1
    """Machines that share the training; srun or torchrun starts its processes on all of them."""
    log_every: int = 10
    """Steps between entries of the training loss."""
    save_steps: int | None = None
    """Steps between checkpoints, besides those that each validation writes."""
    save_minutes: float | None = 10.0
    """Minutes between checkpoints, counted from the last one."""
    on_nonfinite: str = "stop"
    """stop, or skip: what happens at a loss or gradient that is infinite or not a number."""
    progress: bool = True
    """Show a progress bar."""


@dataclass
class EvaluationTrainerConfig:
    """What evaluation runs on."""

    accelerator: str = "auto"
    """auto, cpu or gpu."""
    devices: Any = 1
    """Number of processes on each node, or a list of GPUs."""
    num_nodes: int = 1
    """Machines that share the evaluation."""
    precision: str | None = None
    """null takes the training's."""
    limit_val_batches: int | None = None
    """Score this many images per process only."""
    progress: bool = True
    """Show a progress bar."""


@dataclass
class LoggerConfig:
    """Where curves go, besides metrics.csv, which is always written."""

    name: Any = "csv"
    """csv, wandb, tensorboard, or several of them: [wandb,tensorboard]."""
    project: str = "fcnseg"
    """W&B project."""
    offline: bool = False
    """W&B without an account or a network."""
    group: str | None = None
    """Runs that belong together; a sweep sets its own name."""
    job_type: str | None = None
    """What the run is among them; a sweep sets the row."""
    tags: list[str] = field(default_factory=list)
    """Words to search for; none are table, net and recipe, as a sweep sets them."""
    artifact: str | None = "last"
    """The checkpoint that W&B is given at the end: last, best, or null for neither."""


@dataclass
class ExperimentConfig:
    """A table or figure of the paper, when the primary is one."""

    title: str | None = None
    """Named in results."""
    rows: dict[str, list[str]] = field(default_factory=dict)
    """{row: overrides}; row=NAME applies them, and the command line wins over them."""
    small: list[str] = field(default_factory=list)
    """Its own overrides of scale=small, before the row's."""
    small_rows: dict[str, list[str]] = field(default_factory=dict)
    """{row: overrides} of scale=small, after the row's own."""
    paper: dict[str, Any] = field(default_factory=dict)
    """The paper's numbers."""
    source: str | None = None
    """Where in the paper."""
    cost: str | None = None
    """What it takes to run."""
    claim: str | None = None
    """What the paper concludes from it, in one sentence; the report shows it."""
    columns: list[str] = field(default_factory=list)
    """Fields of results.json in the report's table; none are those of the four scores that the paper gives."""
    figure: str | None = None
    """curves: the report draws the loss against seconds too, as Figure 5."""
