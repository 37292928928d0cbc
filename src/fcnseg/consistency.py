"""Refuses configurations that cannot work, before data, weights or devices are touched."""

import torch

from fcnseg.build import bare_net, optimizer_groups
from fcnseg.config import TrainConfig
from fcnseg.fcn import FCN
from fcnseg.losses import PixelCrossEntropy
from fcnseg.optim import schedule_factor
from fcnseg.recipe import learning_rate
from fcnseg.weights.normalization import stated

OPTIMIZERS = ("sgd", "adamw")
"""What optimizer.name may say."""

LARGEST_SUMMED_LR = 1e-7
"""A loss summed over 100,000 pixels diverges above; the papers use 1e-10 and less."""


def check(config: TrainConfig) -> None:
    """Refuses combinations that cannot work, before data, weights or devices are touched.

    Raises:
        ValueError: names the keys and what to do.
    """
    if config.optimizer.name not in OPTIMIZERS:
        raise ValueError(f"optimizer.name must be one of {', '.join(OPTIMIZERS)}, not {config.optimizer.name!r}")
    trainer, rate = config.trainer, learning_rate(config)
    if min(trainer.max_steps, trainer.val_every, trainer.accumulate, trainer.log_every) < 1:
        raise ValueError("trainer.max_steps, val_every, accumulate and log_every must be at least 1")
    if config.loss.reduction == "sum" and config.optimizer.name == "sgd" and rate > LARGEST_SUMMED_LR:
        raise ValueError(
            f"loss.reduction=sum adds up every pixel, so optimizer.lr={rate:g} would diverge: take at most "
            f"{LARGEST_SUMMED_LR:g} (the papers take 1e-10), or loss.reduction=mean"
        )
    stated(config.backbone.normalization, config.backbone.mean, config.backbone.std)
    schedule_factor(config.optimizer.schedule, trainer.max_steps)
    PixelCrossEntropy(config.loss.reduction)
    _check_batches(config)
    with torch.device("meta"):
        net = bare_net(config, num_classes=2)
    optimizer_groups(config, net)
    _check_padding(net, config)
    _check_stage(net, config)


def _check_batches(config: TrainConfig) -> None:
    data, recipe = config.data, config.recipe
    if data.batching == "crop" and data.crop is None:
        raise ValueError("data.batching=crop needs data.crop, the side of the crops in pixels; or data.batching=whole")
    if data.batching != "crop" and (data.crop or data.scale):
        raise ValueError(
            f"data.crop and data.scale belong to data.batching=crop, not {data.batching}: set them to null"
        )
    if data.batching == "whole" and data.batch_size != 1 and config.trainer.devices in (1, "auto"):
        raise ValueError(
            f"data.batching=whole passes one image at a time, not data.batch_size={data.batch_size}: set "
            f"data.batch_size=1 trainer.accumulate={data.batch_size}, or data.batching=groups"
        )
    if data.batching == "pad" and recipe.settings.get("data", {}).get("batching") == "whole":
        raise ValueError(
            f"data.batching=pad changes the logits near the pad, which recipe={recipe.name} does not allow: take "
            "data.batching=whole with trainer.accumulate, or data.batching=groups"
        )


def _check_padding(net: FCN, config: TrainConfig) -> None:
    for side in (1, 33, 500):
        try:
            net(torch.zeros(1, 3, side, side, device="meta"))
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"backbone.padding={config.backbone.padding} is too small for {config.backbone.name} on images of "
                f"{side}x{side}: leave it out, or take backbone.padding=same"
            ) from error


def _check_stage(net: FCN, config: TrainConfig) -> None:
    coarser = [stride for stride in net.strides if stride > net.output_stride]
    if config.init_from or config.model.scales or not config.recipe.staged or not coarser:
        return
    first = (
        f"model=fcn{coarser[-1]}s backbone={config.backbone.name} recipe={config.recipe.name} data={config.data.name}"
    )
    raise ValueError(
        f"under recipe={config.recipe.name} a {config.model.name} starts from a finished fcn{coarser[-1]}s. First run\n"
        f"  python -m fcnseg.train {first}\n"
        "then add init_from=RUN_FOLDER to this command (or train all streams together: recipe=modern)"
    )
