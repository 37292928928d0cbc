"""From a data configuration to opened images: the module of fcnseg.data that it names, and its keys."""

import importlib
import inspect
import os
import pkgutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import fcnseg.data
from fcnseg.config import DataConfig
from fcnseg.data.dataset import ImageFiles, Source
from fcnseg.data.decoded import Decoded
from fcnseg.data.faults import Fault, Report
from fcnseg.disk import nearest


def open_source(data: DataConfig, part: str) -> Source:
    """Opens the training or the validation images.

    Args:
        data: says which set.
        part: "train" or "val".

    Raises:
        FileNotFoundError: the set is not where data.root says.
        ValueError: a key that this set needs is missing, or one is set that it does not know.
    """
    opener = find_opener(data.format)
    return opener(**_arguments(data, part, opener))


def keep_decoded(source: Source, data: DataConfig) -> None:
    """Has a source keep its images decoded in data.decoded.

    Raises:
        ValueError: its images come from no files, or there is no such folder and none can be made.
    """
    folder = Path(str(data.decoded))
    if not isinstance(source, ImageFiles):
        raise ValueError(f"data.decoded={data.decoded} has no meaning for data={data.name}: leave it out")
    try:
        there = nearest(folder)
    except OSError as error:
        raise ValueError(f"data.decoded={data.decoded} cannot be looked at ({error}): name another folder") from error
    if not there.is_dir():
        raise ValueError(f"data.decoded={data.decoded}: {there} is no folder; name one that takes decoded images")
    # A folder that exists may be read-only: others have filled it.
    if there != folder.absolute() and not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"data.decoded={data.decoded}: {there} cannot be written to; name another folder")
    source.decoded = Decoded(folder)


def survey_source(data: DataConfig, part: str, report: Report) -> Source | None:
    """Returns the images that a part of a data set names, whether they are sound or not.

    Args:
        data: says which set.
        part: "train" or "val".
        report: takes what is wrong with the lists, or keeps the part from being opened at all, which gives None.

    Raises:
        ValueError: as open_source, of keys.
    """
    opener = find_opener(data.format)
    surveyor = getattr(inspect.getmodule(opener), "survey_split", None)
    given = _arguments(data, part, opener)
    try:
        if surveyor is None:
            return opener(**given)
        known = inspect.signature(surveyor).parameters
        found: Source = surveyor(**{key: value for key, value in given.items() if key in known}, report=report)
        return found
    except (ValueError, OSError) as error:
        report(Fault("split", Path(data.root or ""), str(error)))
        return None


def _arguments(data: DataConfig, part: str, opener: Callable[..., Source]) -> dict[str, Any]:
    known = inspect.signature(opener).parameters
    count = data.train_count if part == "train" else data.val_count
    splits = {"part": part, "train_split": data.train_split, "val_split": data.val_split}
    if "part" not in known:  # where the two parts have nothing to do with each other
        splits = {"split": splits[f"{part}_split"]}
    keys = [field.name for field in fields(data) if field.metadata.get("of_set")]
    offered = {key: getattr(data, key) for key in keys} | splits | {"count": count}
    for key, value in offered.items():
        name = f"data.{part}_{key}" if key in ("count", "split") else f"data.{key}"
        if value is None and key in known and known[key].default is inspect.Parameter.empty:
            raise ValueError(f"data={data.name} needs {name}: set it")
        if value is not None and key not in known:
            raise ValueError(f"{name}={value} has no meaning for data={data.name}: leave it out")
    return {key: value for key, value in offered.items() if value is not None}


def find_opener(name: str) -> Callable[..., Source]:
    """Returns the function open_split of a module of fcnseg.data, looked up in that folder alone.

    Raises:
        ValueError: there is no such module, or it opens no data set.
    """
    modules = [module.name for module in pkgutil.iter_modules(fcnseg.data.__path__)]
    opener = getattr(importlib.import_module(f"fcnseg.data.{name}"), "open_split", None) if name in modules else None
    if opener is None:
        raise ValueError(f"data.format={name} is no module of fcnseg.data that opens a data set")
    found: Callable[..., Source] = opener
    return found
