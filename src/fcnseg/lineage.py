"""Which finished run a finer net starts from.

Paper: Sec. 4.2
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from fcnseg.build import bare_net, build_data
from fcnseg.config import TrainConfig
from fcnseg.disk import read_json
from fcnseg.fcn import FCN
from fcnseg.recipe import departures
from fcnseg.results import STAGES_OWN, fingerprints, run_of, stage_hash

PLACES = ((Path("runs"), "*"), (Path("multirun"), "*/*/*"))
"""Where runs are looked for, besides the neighbours of the run's own folder: single ones, and the jobs of sweeps."""


def coarser_stride(config: TrainConfig, net: FCN | None = None) -> int | None:
    """Returns the stride of the net that this one has to start from; None where it starts from the backbone.

    Args:
        config: resolved.
        net: built from it; None builds one without memory.

    Raises:
        ValueError: the net cannot be built.
    """
    if config.model.scales or not config.recipe.staged:
        return None
    if net is None:
        with torch.device("meta"):
            net = bare_net(config, num_classes=2)
    return min((stride for stride in net.strides if stride > net.output_stride), default=None)


def from_stage(config: TrainConfig, folder: Path) -> TrainConfig:
    """Returns the configuration with init_from filled in, where the recipe asks for a coarser net and one is found.

    Args:
        config: resolved.
        folder: the run's; if it holds a run, that one's init_from is taken again.

    Raises:
        ValueError: several runs could be meant, or only such as depart from the recipe in another way.
    """
    if config.init_from is not None or (stride := coarser_stride(config)) is None:
        return config
    with suppress(Exception):  # what is wrong with the folder is said later
        before = OmegaConf.load(folder / "config.yaml")
        return replace(config, init_from=before.init_from)
    found = find_stage(config, stride, ((folder.parent, "*"), *PLACES))
    return config if found is None else replace(config, init_from=str(found))


def find_stage(config: TrainConfig, stride: int, places: Iterable[tuple[Path, str]]) -> Path | None:
    """Returns the finished run of the coarser net, by its hash and the data's fingerprint; of equal ones the latest.

    A run of another length or rate than the recipe's, such as a trial, is taken only if this one departs likewise.

    Args:
        config: the finer net's.
        stride: the coarser net's.
        places: folders, and patterns of the run folders in them.

    Raises:
        ValueError: as from_stage.
    """
    wanted = stage_hash(asdict(config))
    known = {
        path.resolve(): (path, each)
        for place, pattern in places
        for path, each in _finished(place, pattern)
        if each.get("stage_hash") == wanted and each["output_stride"] == stride
    }
    prints = fingerprints(build_data(config)) if known else {}
    fitting = [(path, each) for path, each in known.values() if each["data_fingerprint"] == prints]
    alike = [(path, each) for path, each in fitting if own_departures(each["departures"]) == _own(config)]
    if fitting and len({each["config_hash"] for _, each in alike}) != 1:
        runs = ", ".join(str(path.parent) for path, _ in alike or fitting)
        why = "several finished runs" if alike else "only runs of another length or rate"
        raise ValueError(f"{config.model.name} could start from {why} of fcn{stride}s: name one by init_from= ({runs})")
    return max((path for path, _ in alike), key=lambda path: path.stat().st_mtime).parent if alike else None


def own_departures(keys: Iterable[str]) -> set[str]:
    """Returns the departures from a recipe in which stages of one net may differ."""
    return {key for key in keys if key.partition(".")[2] in STAGES_OWN.get(key.partition(".")[0], ())}


def _own(config: TrainConfig) -> set[str]:
    return own_departures(departures(config))


def _finished(place: Path, pattern: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(place.glob(f"{pattern}/results.json")):
        content = read_json(path)
        if {"output_stride", "data_fingerprint", "departures", "config_hash"} <= set(content):
            yield path, content


def ancestors(init_from: str | None) -> list[dict[str, Any]]:
    """Returns the runs that a run came from, the latest first, as results.json names them.

    Args:
        init_from: a run folder, or a checkpoint in one; what is neither has no known past.
    """
    folder = run_of(Path(init_from or "."))
    content = read_json(folder / "results.json") if init_from else {}
    if "config_hash" not in content:
        return []
    own = {key: content.get(key) for key in ("model", "row", "seed", "config_hash", "commit")}
    return [{"folder": str(folder), **own}, *content.get("lineage", [])]
