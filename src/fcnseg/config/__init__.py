"""Every knob once: its type, its unit, and where the paper speaks of it. Groups in conf/ choose values.

A value written ``${recipe.settings...}`` is pinned by the recipe; the command line wins over it, and results say so.
"""

from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore

from fcnseg.config.commands import (
    BoundConfig,
    CheckConfig,
    EvaluateConfig,
    PredictConfig,
    ShowConfig,
    TrainConfig,
    resolved,
)
from fcnseg.config.images import DataConfig, SuitedConfig
from fcnseg.config.network import BackboneConfig, ModelConfig
from fcnseg.config.rows import register_resolver
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
    "BoundConfig",
    "CheckConfig",
    "DataConfig",
    "EvaluateConfig",
    "EvaluationTrainerConfig",
    "ExperimentConfig",
    "LoggerConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PredictConfig",
    "RecipeConfig",
    "ShowConfig",
    "SuitedConfig",
    "TrainConfig",
    "TrainerConfig",
    "composed",
    "register",
    "resolved",
]

PACKAGE = Path(__file__).resolve().parents[1]


def _folder(name: str) -> Path:  # inside an installed package, else in the repository around the source
    return next((path for path in (PACKAGE / name, PACKAGE.parents[1] / name) if path.is_dir()), PACKAGE / name)


CONF_DIR = _folder("conf")
"""The primaries, one for each command that Hydra composes, and the groups."""
EXPERIMENTS_DIR = _folder("experiments")
"""One primary per table or figure of the paper."""


def register() -> None:
    """Makes the schemas known to Hydra under the names that the primaries extend, and what sweeps are written with."""
    register_resolver()
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)
    store.store(name="predict_schema", node=PredictConfig)
    store.store(name="check_schema", node=CheckConfig)
    store.store(name="bound_schema", node=BoundConfig)
    store.store(name="show_schema", node=ShowConfig)


def composed(*words: str) -> TrainConfig:
    """Returns what ``python -m fcnseg.train`` would run with these words."""
    register()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return resolved(compose("train", list(words)), TrainConfig)
