"""What a run leaves behind: results.json, and where it came from."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fcnseg.config import TrainConfig
from fcnseg.data.datamodule import SegmentationData
from fcnseg.data.dataset import ImageFiles, Source
from fcnseg.disk import read_json, write_durably
from fcnseg.metrics import Scores
from fcnseg.recipe import departures, recipe_label
from fcnseg.revision import code_version
from fcnseg.task import Validation

SCHEMA_VERSION = 1
"""Raised when a field of results.json changes its meaning."""

FOUR_SCORES = {"pixel_acc": "pixel acc.", "mean_acc": "mean acc.", "mean_iu": "mean IU", "fw_iu": "f.w. IU"}
"""Fields of results.json and the paper's names for them."""

NOT_HASHED = {
    "backbone": {"padding_mode", "checkpointing"},
    "recipe": {"source", "lr", "steps"},
    "data": {"root", "images", "masks", "sbd_root", "cache", "decoded", "workers"},
    "trainer": {
        *("accelerator", "devices", "num_nodes", "progress", "log_every", "save_steps", "save_minutes", "on_nonfinite")
    },
    "logger": None,
    "experiment": None,
    "small": None,
}
"""Parts of the configuration that do not change what is computed."""

STAGES_OWN = {
    "model": {"name", "output_stride", "scales"},
    "optimizer": {"lr"},
    "trainer": {"max_steps", "val_every", "limit_val_batches", "compile"},
}
"""Parts of the configuration in which a net and the coarser one that it starts from may differ."""


def score_fields(scores: Scores, classes: tuple[str, ...]) -> dict[str, Any]:
    """Returns the scores under their public names; classes that do not occur are null."""
    names = [*classes, *(f"class {index}" for index in range(len(classes), len(scores.per_class_iu)))]
    fields: dict[str, Any] = {
        key: _number(getattr(scores, key)) for key in ("pixel_acc", "mean_acc", "mean_iu", "fw_iu")
    }
    fields["per_class_iu"] = {name: _number(iu) for name, iu in zip(names, scores.per_class_iu, strict=True)}
    return fields


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def validation_fields(validation: Validation, classes: tuple[str, ...]) -> dict[str, Any]:
    """Returns what results.json says of a validation."""
    return score_fields(validation.scores, classes) | {
        "confusion_matrix": validation.confusion,
        "num_images": validation.num_images,
        "val_loss": _number(validation.loss),
        "steps": validation.step,
    }


def config_hash(config: Mapping[str, Any], start: str | None = None) -> str:
    """Hashes a resolved configuration without places, devices, workers and loggers.

    Args:
        config: plain containers. Of a weights file only the name counts.
        start: what hashed is to say of init_from, where its run has not ended yet.
    """
    kept = hashed(config) | ({} if start is None else {"init_from": start})
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:16]


def stage_hash(config: Mapping[str, Any]) -> str:
    """Hashes what the stages of one net have in common: backbone, data, recipe and seed, but neither stride nor length.

    Args:
        config: resolved, as plain containers.

    Paper: Sec. 4.2
    """
    kept = {key: value for key, value in hashed(config).items() if key not in ("row", "init_from")}
    for part, own in STAGES_OWN.items():
        kept[part] = {key: value for key, value in kept[part].items() if key not in own}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:16]


def hashed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what changes the results of a resolved configuration, as config_hash sees it."""
    kept: dict[str, Any] = {}
    for key, value in config.items():
        without = NOT_HASHED.get(key, set())
        if without is not None:
            kept[key] = {k: v for k, v in value.items() if k not in without} if isinstance(value, Mapping) else value
    kept["backbone"]["weights"] = Path(kept["backbone"]["weights"] or "none").name
    kept["init_from"] = start_of(kept["init_from"])
    return kept


def start_of(init_from: str | None) -> str | None:
    """Says what a net starts from, wherever that lies: the configuration's hash of a finished run, else a name."""
    if init_from is None:
        return None
    found = read_json(run_of(Path(init_from)) / "results.json")
    return str(found.get("config_hash") or Path(init_from).name)


def run_of(path: Path) -> Path:
    """Returns the run folder that a path names: itself, or that of a checkpoint in it."""
    return path if path.is_dir() else path.parent.parent


def labels(config: TrainConfig) -> dict[str, Any]:
    """Says what a run is where many are: its sweep, its row or else its net, and as tags table, net and recipe."""
    chosen = config.logger
    tags = [config.experiment.title, config.model.name, config.backbone.name, config.recipe.name]
    return {
        "group": chosen.group,
        "job_type": chosen.job_type or config.row or f"{config.model.name}_{config.backbone.name}",
        "tags": list(chosen.tags) or [tag for tag in tags if tag],
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Says in which keys two resolved configurations differ that change the results."""
    first, second = (dict(_flat(hashed(config))) for config in (before, now))
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return [f"{key}={first.get(key)} then, {second.get(key)} now" for key in keys]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def provenance(data: SegmentationData, device: str) -> dict[str, Any]:
    """Returns how many images there are, their fingerprints, and what the run computes on."""
    return {
        "split_counts": {name: len(source) for name, source in _sources(data).items()},
        **split_remarks(data),
        "data_fingerprint": fingerprints(data),
        "device": device,
    }


def fingerprints(data: SegmentationData) -> dict[str, str]:
    """Returns the fingerprints of the training images, if there are such, and of those that are validated on."""
    return {name: source.fingerprint() for name, source in _sources(data).items()}


def _sources(data: SegmentationData) -> dict[str, Source]:
    return {"train": data.train.source, "val": data.val.source} if data.train else {"val": data.val.source}


def split_remarks(data: SegmentationData) -> dict[str, dict[str, int]]:
    """Returns what else is to be said of the number of images, such as {"split_missing": {"val": 507}}.

    missing: named by a split that data.partial allowed not to be there in whole; removed, overlap: training images that
    are validation images too, and were taken out of training, or not.
    """
    said: dict[str, dict[str, int]] = {}
    for part, dataset in (("train", data.train), ("val", data.val)):
        if dataset is not None and isinstance(dataset.source, ImageFiles):
            for remark, count in dataset.source.remarks.items():
                said.setdefault(f"split_{remark}", {})[part] = count
    return said


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a file that is either complete or not there."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_durably(path, lambda file: file.write(text.encode()))


def identity(config: TrainConfig, weights_from: str) -> dict[str, Any]:
    """Returns the fields that say which run this was."""
    return {
        "schema_version": SCHEMA_VERSION,
        "recipe": recipe_label(config),
        "departures": departures(config),
        "experiment": config.experiment.title,
        "row": config.row,
        "scale": config.scale,
        "model": config.model.name,
        "backbone": config.backbone.name,
        "output_stride": config.model.output_stride,
        "data": config.data.name,
        "seed": config.seed,
        "weights_from": weights_from,
        "config_hash": config_hash(asdict(config)),
        "stage_hash": stage_hash(asdict(config)),
        **labels(config),
        **code_version(),
    }
