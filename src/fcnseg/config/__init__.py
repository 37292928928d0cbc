"""Every knob once: its type, its unit, and where the paper speaks of it. Groups in conf/ choose values.

A value written ``${recipe.settings...}`` is pinned by the recipe; the command line wins over it, and results say so.
"""

from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from fcnseg.config.images import DataConfig, SuitedConfig
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

__all__ = [
    "CONF_DIR",
    "EXPERIMENTS_DIR",
    "BackboneConfig",
    "DataConfig",
    "EvaluateConfig",
    "EvaluationTrainerConfig",
    "ExperimentConfig",
    "LoggerConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "RecipeConfig",
    "SuitedConfig",
    "TrainConfig",
    "TrainerConfig",
    "register",
]

PACKAGE = Path(__file__).resolve().parents[1]


def _folder(name: str) -> Path:  # inside an installed package, else in the repository around the source
    return next((path for path in (PACKAGE / name, PACKAGE.parents[1] / name) if path.is_dir()), PACKAGE / name)


CONF_DIR = _folder("conf")
"""The primaries train.yaml and evaluate.yaml, and the groups."""
EXPERIMENTS_DIR = _folder("experiments")
"""One primary per table or figure of the paper."""


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
