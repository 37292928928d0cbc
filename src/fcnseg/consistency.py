"""Refuses configurations that cannot work, before data, weights or devices are touched."""

import math
from pathlib import Path
from typing import Any

import torch

from fcnseg.backbones import backbone_class
from fcnseg.backbones.pretrained import comes_from_caffe
from fcnseg.balance import BALANCED
from fcnseg.build import (
    OPTIMIZERS,
    bare_net,
    optimizer_groups,
    scale_range,
    stated_normalization,
)
from fcnseg.config import DataConfig, TrainConfig
from fcnseg.data.datamodule import BATCHINGS
from fcnseg.data.leaks import COMPARISONS, OVERLAPS
from fcnseg.data.transforms import AUGMENTS, transforms
from fcnseg.fcn import FCN
from fcnseg.guard import CHOICES as ON_NONFINITE
from fcnseg.hardware import ACCELERATORS, PRECISIONS
from fcnseg.lineage import coarser_stride
from fcnseg.loggers import ARTIFACTS, LOGGERS, names
from fcnseg.losses import REDUCTIONS
from fcnseg.optim import TRAINED, schedule_factor
from fcnseg.recipe import learning_rate
from fcnseg.weights.released import RELEASED

LARGEST_SUMMED_LR = 1e-7
"""A loss summed over 100,000 pixels diverges above; the papers use 1e-10 and less."""


def check(config: TrainConfig, stage_missing: bool = False) -> None:
    """Refuses combinations that cannot work, before data, weights or devices are touched.

    Args:
        config: resolved.
        stage_missing: whether the coarser net that it starts from may still have to be found.

    Raises:
        ValueError: names the keys and what to do.
    """
    _check_choices(config)
    _check_numbers(config)
    _check_loss(config)
    _check_batches(config)
    _check_channels(config)
    _check_weights(config)
    with torch.device("meta"):
        net = bare_net(config, num_classes=2)
    optimizer_groups(config, net)
    _check_padding(net, config)
    if not stage_missing:
        _check_stage(net, config)


def _check_choices(config: TrainConfig) -> None:
    for key, value, choices in (
        ("optimizer.name", config.optimizer.name, OPTIMIZERS),
        *(("logger.name", name, LOGGERS) for name in names(config.logger)),
        ("logger.artifact", config.logger.artifact, ARTIFACTS),
        ("trainer.precision", config.trainer.precision, PRECISIONS),
        ("trainer.accelerator", config.trainer.accelerator, ACCELERATORS),
        ("trainer.on_nonfinite", config.trainer.on_nonfinite, ON_NONFINITE),
        ("data.batching", config.data.batching, BATCHINGS),
        ("data.overlap", config.data.overlap, OVERLAPS),
        ("data.overlap_by", config.data.overlap_by, COMPARISONS),
        ("data.augment", config.data.augment, AUGMENTS),
        ("model.train", config.model.train, TRAINED),
        ("loss.reduction", config.loss.reduction, REDUCTIONS),
    ):
        if value not in choices:
            known = ", ".join("null" if each is None else str(each) for each in choices)
            raise ValueError(f"{key} must be one of {known}, not {value!r}")


def _check_numbers(config: TrainConfig) -> None:
    trainer, data, optimizer = config.trainer, config.data, config.optimizer
    for key, value, least in (
        ("trainer.max_steps", trainer.max_steps, 1),
        ("trainer.val_every", trainer.val_every, 1),
        ("trainer.accumulate", trainer.accumulate, 1),
        ("trainer.num_nodes", trainer.num_nodes, 1),
        ("trainer.log_every", trainer.log_every, 1),
        ("trainer.limit_val_batches", trainer.limit_val_batches, 1),
        ("trainer.save_steps", trainer.save_steps, 1),
        ("trainer.save_minutes", trainer.save_minutes, 0),
        ("trainer.clip", trainer.clip, 0),
        ("data.batch_size", data.batch_size, 1),
        ("data.workers", data.workers, 0),
        ("data.jitter", data.jitter, 0),
        ("optimizer.lr", optimizer.lr, 0),
        ("optimizer.momentum", optimizer.momentum, 0),
        ("optimizer.weight_decay", optimizer.weight_decay, 0),
        ("optimizer.warmup", optimizer.warmup, 0),
        ("seed", config.seed, 0),
    ):
        if value is not None and value < least:
            raise ValueError(f"{key} must be at least {least}, not {value}")
    if optimizer.momentum >= 1:
        raise ValueError(f"optimizer.momentum must be below 1, not {optimizer.momentum}")
    if data.scale is not None and (len(data.scale) != 2 or not data.scale[0] <= data.scale[1] < math.inf):
        raise ValueError(f"data.scale must be a range such as [0.7,1.5], not {data.scale}")
    transforms(image_side=data.image_side, scale=scale_range(data), crop=data.crop)
    schedule_factor(optimizer.schedule, trainer.max_steps, optimizer.warmup)


def _check_loss(config: TrainConfig) -> None:
    weights, keep, rate = config.loss.class_weights, config.loss.keep, learning_rate(config)
    if not 0 < keep <= 1:
        raise ValueError(f"loss.keep is the probability of a patch, above 0 and at most 1, not {keep}")
    if weights not in (None, BALANCED) and not _are_weights(weights):
        raise ValueError(
            f"loss.class_weights must be null, {BALANCED}, or a list of one number a class, none of them negative and "
            f"some above zero, not {weights!r}"
        )
    if config.loss.reduction == "sum" and config.optimizer.name == "sgd" and rate > LARGEST_SUMMED_LR:
        raise ValueError(
            f"loss.reduction=sum adds up every pixel, so optimizer.lr={rate:g} would diverge: take at most "
            f"{LARGEST_SUMMED_LR:g} (the papers take 1e-10), or loss.reduction=mean"
        )


def _are_weights(chosen: Any) -> bool:
    """Says whether these are numbers that a loss can be weighted with."""
    if not isinstance(chosen, list) or not all(type(each) in (int, float) for each in chosen):
        return False
    return all(math.isfinite(each) and each >= 0 for each in chosen) and any(chosen)


def _check_weights(config: TrainConfig) -> None:
    backbone, said = config.backbone, stated_normalization(config)
    if backbone.weights != "imagenet" or said is None or config.init_from is not None:
        return
    caffe = comes_from_caffe(backbone_class(backbone.name), said)
    if caffe and said.order == "rgb":
        raise ValueError(
            f"the ImageNet weights of {backbone.name} are Caffe's, trained on BGR in 0..255: leave "
            "backbone.normalization out, or set it to caffe"
        )
    if said.order == "bgr" and not caffe:
        raise ValueError(
            f"the ImageNet weights of {backbone.name} are torchvision's, trained on RGB in 0..1; "
            f"backbone.normalization=caffe, which recipe={config.recipe.name} asks for, is not theirs: give a file of "
            "weights converted from Caffe, or take backbone.normalization=torchvision, a departure that results record"
        )


def _check_batches(config: TrainConfig) -> None:
    data, recipe = config.data, config.recipe
    if data.batching == "crop" and data.crop is None:
        raise ValueError("data.batching=crop needs data.crop, the side of the crops in pixels; or data.batching=whole")
    if data.batching != "crop" and (data.crop or data.scale):
        raise ValueError(
            f"data.crop and data.scale belong to data.batching=crop, not {data.batching}: set them to null"
        )
    if data.batching == "pad" and data.jitter:
        raise ValueError(
            "data.jitter changes contrast around an image's mean, which data.batching=pad would mix with the pad: set "
            "data.jitter=0, or take data.batching=crop or groups"
        )
    if data.batching == "pad" and recipe.settings["data"]["batching"] == "whole":
        raise ValueError(
            f"data.batching=pad changes the logits near the pad, which recipe={recipe.name} does not allow: take "
            "data.batching=whole with trainer.accumulate, or data.batching=groups"
        )


def _check_channels(config: TrainConfig) -> None:
    wanted, given = config.backbone.in_channels, config.data.channels or 3
    if wanted != given:
        own = "give both keys the same number" if config.data.channels else "they are RGB; set backbone.in_channels=3"
        raise ValueError(f"backbone.in_channels={wanted}, but images of data={config.data.name} have {given}: {own}")


def check_files(config: TrainConfig) -> None:
    """Refuses weights and runs that are not there, before data are opened, which may take long.

    Raises:
        FileNotFoundError: names the key and the path.
        ValueError: the run to start from has not ended.
    """
    weights, start = config.backbone.weights, config.init_from
    if start is not None and start not in RELEASED and not Path(start).exists():
        raise FileNotFoundError(f"init_from: there is no checkpoint and no run folder {start}")
    if start is not None and is_unfinished(Path(start)):
        raise ValueError(
            f"init_from={start} is a run that has not ended: let the same command finish it, or name the file that you "
            f"mean, such as init_from={Path(start) / 'checkpoints' / 'last.ckpt'}"
        )
    if start is None and weights not in (None, "none", "imagenet") and not Path(str(weights)).is_file():
        raise FileNotFoundError(f"backbone.weights: there is no weights file {weights}")


def is_unfinished(folder: Path) -> bool:
    """Says whether a folder holds a run without its results."""
    return (folder / "config.yaml").exists() and not (folder / "results.json").exists()


def check_processes(data: DataConfig, processes: int) -> None:
    """Refuses batches that the processes cannot share.

    Raises:
        ValueError: says which batch size or number of devices fits.
    """
    if data.batch_size % processes:
        raise ValueError(
            f"data.batch_size={data.batch_size} is shared by {processes} processes and must be a multiple of that: "
            f"set data.batch_size={-(-data.batch_size // processes) * processes} or fewer trainer.devices"
        )
    if data.batching == "whole" and data.batch_size != processes:
        raise ValueError(
            f"data.batching=whole passes one image a process at a time, not data.batch_size={data.batch_size}: set "
            f"data.batch_size={processes} and trainer.accumulate for more images a step, or data.batching=groups"
        )


def _check_padding(net: FCN, config: TrainConfig) -> None:
    net.eval()  # normalisation over a batch would refuse a map of a single cell
    for side in (1, 33, 500):
        try:
            net(torch.zeros(1, config.backbone.in_channels, side, side, device="meta"))
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"backbone.padding={config.backbone.padding} is too small for {config.backbone.name} on images of "
                f"{side}x{side}: leave it out, or take backbone.padding=same"
            ) from error


def _check_stage(net: FCN, config: TrainConfig) -> None:
    if config.init_from or (stride := coarser_stride(config, net)) is None:
        return
    if config.experiment.rows:
        what = (
            f"Give the same command with row={rows_of(config, stride)}, this experiment's fcn{stride}s, in the same "
            "sweep or before it"
        )
    else:
        what = f"First run\n  python -m fcnseg.train {_command(config, stride)}\nwith your other keys, then this again"
    raise ValueError(
        f"under recipe={config.recipe.name} {config.model.name} starts from a finished fcn{stride}s, and none of the "
        f"same backbone, data, recipe and seed is at hand. {what}; or add init_from=RUN_FOLDER, or train all streams "
        "together: recipe.staged=false"
    )


def rows_of(config: TrainConfig, stride: int) -> str:
    """Returns the rows of the experiment that train the whole net of a stride; its name where they do not say it."""
    named = [
        row
        for row, overrides in config.experiment.rows.items()
        if f"model=fcn{stride}s" in overrides and "model.train=head" not in overrides
    ]
    return ",".join(named) or "NAME"


def _command(config: TrainConfig, stride: int) -> str:
    keys = {
        "model": f"fcn{stride}s",
        "backbone": config.backbone.name,
        "recipe": config.recipe.name,
        "data": config.data.name,
        "data.root": config.data.root,
        "data.sbd_root": config.data.sbd_root,
        "backbone.weights": config.backbone.weights,
        "backbone.padding": config.backbone.padding,
        "seed": config.seed,
    }
    return " ".join(f"{key}={value}" for key, value in keys.items() if value is not None)
