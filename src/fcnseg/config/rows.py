"""Rows of a table and its small form: names that stand for overrides."""

from collections.abc import Callable, Sequence
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

SCALES = ("full", "small")
"""What scale may say."""


def composed_anew(config: Any) -> Any:
    """Applies row= and scale= to the configuration that the running command has composed.

    Raises:
        ValueError: as with_row.
    """
    hydra = HydraConfig.get()
    name, others = str(hydra.job.config_name), [str(each) for each in hydra.overrides.hydra]
    overrides = [str(each) for each in hydra.overrides.task]
    return with_row(config, overrides, lambda chosen: compose(name, overrides=[*others, *chosen]))


def with_row(config: Any, overrides: Sequence[str], recompose: Callable[[list[str]], Any]) -> Any:
    """Composes once more with what row= and scale= stand for; a configuration without them stays as it is.

    Args:
        config: as composed.
        overrides: those of the command line, which win.
        recompose: composes with other overrides.

    Raises:
        ValueError: an unknown row or scale, or one whose overrides do not compose.
    """
    if "row" not in config or not (meant := stands_for(config, overrides)):  # another command's has none
        return config
    try:
        return recompose([*meant, *overrides])
    except HydraException as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"row={config.row} scale={config.scale} stands for {' '.join(meant)}, but: {said}") from error


def stands_for(config: Any, overrides: Sequence[str]) -> list[str]:
    """Returns the overrides that row= and scale= of a configuration stand for.

    Args:
        config: as composed.
        overrides: those of the command line; keys that they set are left out.

    Raises:
        ValueError: an unknown row or scale, or an override that cannot be read.
    """
    row, scale, experiment = config.row, config.scale, config.experiment
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, not {scale!r}")
    if row is not None and row not in experiment.rows:
        raise ValueError(f"row={row} is no row of this experiment; there are: {', '.join(experiment.rows) or 'none'}")
    small = scale == "small"
    lists = [
        *([config.small, experiment.small] if small else []),
        *([experiment.rows[row]] if row is not None else []),
        *([experiment.small_rows.get(row, [])] if small and row is not None else []),
    ]
    found: dict[str, str] = {}
    for override in (each for part in lists for each in part):
        found.pop(key := key_of(override), None)
        found[key] = override
    given = {key_of(override) for override in overrides}
    return [override for key, override in found.items() if key not in given]


def key_of(override: str) -> str:
    """Returns the key that an override sets.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return str(OverridesParser.create().parse_override(override).get_key_element()).lstrip("+~")
    except HydraException as error:
        raise ValueError(f"{override!r} is no override: write KEY=VALUE") from error


def register_resolver() -> None:
    """Lets a sweep name all rows of its experiment, ``row: ${names:${experiment.rows}}``, and a run its folder."""
    OmegaConf.register_new_resolver("names", _names, replace=True)
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)


def run_name(primary: str, row: str | None, scale: str, parts: str) -> str:
    """Returns what a run's folder is called after the time.

    Rows and scales come into the configuration when the folder has its name, so it bears theirs.

    Args:
        primary: name of the configuration.
        row: of an experiment.
        scale: full or small.
        parts: model, backbone and data as composed.
    """
    applied = [str(row)] if row is not None else []
    applied += [scale] if scale != "full" else []
    return "_".join([primary, *applied]) if applied else parts


def _names(rows: Any) -> str:
    return ",".join(rows)
