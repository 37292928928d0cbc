"""Every knob once: its type, its unit, and where the paper speaks of it. Groups in conf/ choose values.

A value written ``${recipe.settings...}`` is pinned by the recipe; the command line wins over it, and results say so.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import II, MISSING

PACKAGE = Path(__file__).resolve().parent


def _folder(name: str) -> Path:  # inside an installed package, else in the repository around the source
    return next((path for path in (PACKAGE / name, PACKAGE.parents[1] / name) if path.is_dir()), PACKAGE / name)


CONF_DIR = _folder("conf")
"""The primaries train.yaml and evaluate.yaml, and the groups."""
EXPERIMENTS_DIR = _folder("experiments")
"""One primary per table or figure of the paper."""


def pinned(key: str) -> Any:
    """Marks a value that the recipe decides, under the same name below recipe.settings."""
    return II(f"recipe.settings.{key}")


def of_set() -> Any:
    """Marks a key that some data sets need and others do not know: an argument of their open_split."""
    return field(default=None, metadata={"of_set": True})


@dataclass
class ModelConfig:
    """The net on top of the backbone."""

    name: str = MISSING
    """Named in results and run folders."""
    output_stride: int = MISSING
    """Stride of the finest map that is scored: 32, 16 or 8. Paper: Sec. 4.2."""
    num_classes: int | None = None
    """Classes including background; null takes the data set's."""
    scales: list[float] = field(default_factory=list)
    """Factors on the skips before their score layers, coarsest skip first, for training all streams at once."""
    learn_intermediate: bool = pinned("model.learn_intermediate")
    """Learn the upsampling between skips; CVPR did, the release does not. Paper: Sec. 4.3."""
    learn_final: bool = False
    """Learn the last upsampling too."""
    train: str = "all"
    """all, or head: score layers alone, the paper's fixed. Paper: Sec. 4.3."""


@dataclass
class BackboneConfig:
    """The classifier turned fully convolutional."""

    name: str = MISSING
    """A module of fcnseg.backbones."""
    weights: str | None = "none"
    """none, imagenet (torchvision's download), or a file."""
    normalization: str | None = pinned("backbone.normalization")
    """caffe or torchvision: how the weights' images were prepared; null takes what belongs to the weights."""
    mean: list[float] | None = None
    """Red, green, blue; on 0..255 for caffe, on 0..1 for torchvision."""
    std: list[float] | None = None
    """Likewise."""
    padding: Any = None
    """Pixels of zeros around the image, or same; null takes the backbone's own (100 for VGG 16, as published)."""
    dropout: float = 0.5
    """Fraction of single elements dropped. Paper: Sec. 4.3."""


@dataclass
class SuitedConfig:
    """What recipe=modern takes for a data set: sizes that fit its images."""

    max_steps: int = MISSING
    """Optimiser steps."""
    val_every: int = MISSING
    """Steps between validations."""
    batch_size: int = MISSING
    """Crops per step."""
    crop: int = MISSING
    """Side of the crops, pixels."""
    lr: float = MISSING
    """Learning rate of weights."""
    head_lr_factor: float = 1.0
    """Learning rate of score layers over that of the rest."""


@dataclass
class DataConfig:
    """The images, and how they become batches."""

    name: str = MISSING
    """Named in results and run folders."""
    format: str = MISSING
    """A module of fcnseg.data with a function open_split."""
    root: str | None = of_set()
    """Folder on disk."""
    year: str | None = of_set()
    """VOC's year."""
    height: int | None = of_set()
    """Of drawn images, pixels."""
    width: int | None = of_set()
    """Of drawn images, pixels."""
    seed: int | None = of_set()
    """Of drawn images."""
    train_count: int | None = None
    """Number of drawn training images."""
    val_count: int | None = None
    """Number of drawn validation images."""
    train_split: str = "train"
    """List of training images."""
    val_split: str = "val"
    """List of validation images."""
    image_side: int | None = None
    """Resize the longer side to this many pixels, for training and validation; null keeps images as they are."""
    batching: str = pinned("data.batching")
    """crop, whole (one image a process), groups (of equal size) or pad (a deviation: other logits near the pad)."""
    batch_size: int = pinned("data.batch_size")
    """Images per forward pass over all processes; one step takes trainer.accumulate of them. Paper: Sec. 4.3."""
    replacement: bool = pinned("data.replacement")
    """Draw training images independently, as the release, or each once an epoch."""
    crop: int | None = pinned("data.crop")
    """Side of random crops, pixels."""
    scale: list[float] | None = pinned("data.scale")
    """Range of random scaling."""
    flip: bool = pinned("data.flip")
    """Mirror half of the training images. Paper: Sec. 4.3."""
    jitter: float = pinned("data.jitter")
    """Random brightness, contrast and saturation, 0..1."""
    workers: int = 2
    """Loader processes per training process."""
    suited: SuitedConfig = field(default_factory=SuitedConfig)
    """Sizes for recipe=modern."""


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
    bias_rule: str = "all"
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
    accelerator: str = "auto"
    """auto (a CUDA GPU if there is one, else cpu), cpu or gpu."""
    devices: Any = 1
    """Number of processes, a list of GPUs, or auto for all of them."""
    log_every: int = 10
    """Steps between entries of the training loss."""
    progress: bool = True
    """Show a progress bar."""


@dataclass
class EvaluationTrainerConfig:
    """What evaluation runs on."""

    accelerator: str = "auto"
    """auto, cpu or gpu."""
    devices: Any = 1
    """Number of processes, or a list of GPUs."""
    precision: str | None = None
    """null takes the training's."""
    limit_val_batches: int | None = None
    """Score this many images per process only."""
    progress: bool = True
    """Show a progress bar."""


@dataclass
class LoggerConfig:
    """Where curves go, besides metrics.csv, which is always written."""

    name: str = "csv"
    """csv, or wandb."""
    project: str = "fcnseg"
    """W&B project."""
    offline: bool = False
    """W&B without an account or a network."""


@dataclass
class ExperimentConfig:
    """A table or figure of the paper, when the primary is one."""

    title: str | None = None
    """Named in results."""
    rows: dict[str, list[str]] = field(default_factory=dict)
    """{row: overrides}."""
    paper: dict[str, Any] = field(default_factory=dict)
    """The paper's numbers."""
    source: str | None = None
    """Where in the paper."""
    cost: str | None = None
    """What it takes to run."""


@dataclass
class TrainConfig:
    """Root of train.yaml and of every experiment."""

    model: ModelConfig = field(default_factory=ModelConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: DataConfig = field(default_factory=DataConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    row: str | None = None
    """Row of the experiment that this run is."""
    seed: int = 0
    """Of everything random."""
    init_from: str | None = None
    """Run folder or checkpoint of the coarser net. Paper: Sec. 4.2."""


@dataclass
class EvaluateConfig:
    """Root of evaluate.yaml."""

    checkpoint: str = MISSING
    """A checkpoint that training wrote, or a run folder (then its last)."""
    data: DataConfig = field(default_factory=DataConfig)
    """Other data than the training's, wholly (data=...) or in part (data.root=...)."""
    trainer: EvaluationTrainerConfig = field(default_factory=EvaluationTrainerConfig)


def register() -> None:
    """Makes the schemas known to Hydra under the names that the primaries extend."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)
