"""Roots of the primaries in conf/: what each command can be told."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from omegaconf import MISSING, OmegaConf

from fcnseg.config.images import DataConfig
from fcnseg.config.network import BackboneConfig, ModelConfig
from fcnseg.config.training import (
    EvaluationTrainerConfig,
    ExperimentConfig,
    LoggerConfig,
    LossConfig,
    OptimizerConfig,
    RecipeConfig,
    TrainerConfig,
)

Root = TypeVar("Root")


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
    """Row of the experiment that this run is; its overrides are applied."""
    scale: str = "full"
    """full, or small: in minutes, with a light backbone and small images."""
    small: list[str] = field(default_factory=list)
    """Overrides of scale=small, before those of the experiment."""
    seed: int = 0
    """Of everything random."""
    init_from: str | None = None
    """Run folder or checkpoint of the coarser net; null finds the finished run of the same backbone, data, recipe and
    seed below runs, multirun or the neighbouring folders, where the recipe asks for one. Paper: Sec. 4.2."""


@dataclass
class EvaluateConfig:
    """Root of evaluate.yaml."""

    checkpoint: str = MISSING
    """A checkpoint that training wrote, or a run folder (then its last)."""
    data: DataConfig = field(default_factory=DataConfig)
    """Other data than the training's, wholly (data=...) or in part (data.root=...)."""
    trainer: EvaluationTrainerConfig = field(default_factory=EvaluationTrainerConfig)


@dataclass
class CheckConfig:
    """Root of check.yaml."""

    data: DataConfig = field(default_factory=DataConfig)
    """What is checked, both its training and its validation images; data.workers read at the same time."""
    progress: bool = True
    """Show a progress bar."""


@dataclass
class BoundConfig:
    """Root of bound.yaml, and of the experiment that lays bounds beside the paper's."""

    data: DataConfig = field(default_factory=DataConfig)
    """Whose validation masks are scored."""
    masks: str | None = None
    """A folder of PNGs with VOC's labels, in place of data: no images are needed."""
    factors: list[int] = field(default_factory=lambda: [128, 64, 32, 16, 8, 4])
    """Pixels from cell to cell. Paper: the bound on mean IU by stride."""
    scale: str = "full"
    """full, or small: 50 of the masks, evenly spread."""
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    """The table that the results belong to."""


@dataclass
class ShowConfig(TrainConfig):
    """Root of show.yaml: a training, of which the images are shown that it would see first."""

    n: int = 16
    """Number of images."""
    split: str = "train"
    """train, as augmented in training, or val."""
    side: int = 256
    """Longer side of each picture, pixels."""


def resolved(config: Any, schema: type[Root]) -> Root:
    """Returns a composed configuration as plain dataclasses.

    Args:
        config: a DictConfig, as Hydra composed it.
        schema: one of the roots above.

    Raises:
        ValueError: a value that must be given is not, a key was added that nothing reads (Hydra lets ``+`` do that), or
            the configuration is another command's.
    """
    kind = OmegaConf.get_type(config)
    if kind is not None and not issubclass(kind, schema):
        command = kind.__name__.removesuffix("Config").lower()
        raise ValueError(f"this is a configuration of another command: run it with python -m fcnseg.{command}")
    if added := sorted(_added(config)):
        key, (known, *_) = added[0], [*get_close_matches(added[0], _known(config)), ""]
        raise ValueError(f"there is no key {key}" + (f"; did you mean {known}?" if known else ""))
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise ValueError(f"{missing[0]} must be set")
    settings = OmegaConf.to_object(config)
    assert isinstance(settings, schema)
    return settings


def _nodes(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, set[str]]]:
    """Yields every part that has a schema: what its keys begin with, the part, and its keys by the schema."""
    schema = OmegaConf.get_type(config)
    if not is_dataclass(schema):
        return
    yield prefix, config, {each.name for each in fields(schema)}
    for key in config:
        if OmegaConf.is_config(config._get_node(key)) and not OmegaConf.is_missing(config, key):
            yield from _nodes(config._get_node(key), f"{prefix}{key}.")


def _added(config: Any) -> list[str]:
    return [f"{prefix}{key}" for prefix, node, known in _nodes(config) for key in node if key not in known]


def _known(config: Any) -> list[str]:
    return [f"{prefix}{key}" for prefix, _, known in _nodes(config) for key in known]
