"""From a checkpoint to the net that it holds, and the configuration that it was trained by."""

from textwrap import shorten
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fcnseg.build import bare_net
from fcnseg.config import TrainConfig
from fcnseg.fcn import FCN
from fcnseg.weights.stages import Stage


def settings_of(stage: Stage, laid_over: dict[str, Any] | None = None) -> TrainConfig:
    """Returns a training's configuration.

    Args:
        stage: its checkpoint.
        laid_over: values that replace the training's.

    Raises:
        ValueError: the checkpoint's configuration is of another version.
    """
    values = laid_over or {}
    try:
        base = OmegaConf.merge(OmegaConf.structured(TrainConfig), stage.record["config"])
        if "classes" in values.get("data", {}):
            base.data.classes = None  # mappings would become one
        settings = OmegaConf.to_object(OmegaConf.merge(base, values))
    except OmegaConfBaseException as error:
        said = shorten(str(error), 300)
        raise ValueError(f"{stage.path} was written by another version of fcnseg: {said}") from error
    assert isinstance(settings, TrainConfig)
    return settings


def trained_net(stage: Stage, config: TrainConfig) -> FCN:
    """Builds the net of a checkpoint with its weights, on the processor, in the precision that is asked for.

    Raises:
        ValueError: the weights do not fit.
    """
    net = bare_net(config, stage.record["num_classes"], stage.normalization)
    net = net.double() if config.trainer.precision == "64-true" else net  # loading would round the weights
    try:
        net.load_state_dict(stage.state)
    except RuntimeError as error:
        said = shorten(str(error), 300)
        raise ValueError(f"{stage.path} does not hold the net that it describes: {said}") from error
    return net
