"""From a configuration to objects: the one file that instantiates."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ProgressBar

from fcnseg.backbones import backbone_class
from fcnseg.backbones.dense import laid_out
from fcnseg.backbones.pretrained import load_weights
from fcnseg.balance import class_rates, class_weights
from fcnseg.checkpoints import WholeFiles
from fcnseg.config import DataConfig, TrainConfig, TrainerConfig
from fcnseg.data.chance import LossChance
from fcnseg.data.datamodule import SegmentationData
from fcnseg.data.dataset import SegmentationDataset, Source
from fcnseg.data.jitter import Jitter
from fcnseg.data.leaks import separated
from fcnseg.data.transforms import PAPER_SHIFT, Augmentation, transforms
from fcnseg.fcn import FCN
from fcnseg.guard import Guard
from fcnseg.hardware import accelerator, is_compiled, precision, settled_precision
from fcnseg.loggers import build_loggers, watchers
from fcnseg.losses import PixelCrossEntropy
from fcnseg.optim import parameter_groups, schedule_factor
from fcnseg.recipe import learning_rate
from fcnseg.results import labels
from fcnseg.resumption import Checkpoints
from fcnseg.sources import keep_decoded, open_source
from fcnseg.task import SegmentationTask
from fcnseg.tracking.monitor import Stopwatch
from fcnseg.weights.normalization import Normalization, settled, stated
from fcnseg.weights.stages import published_file, read_stage, start_from_coarser, start_from_published

OPTIMIZERS = ("sgd", "adamw")
"""What optimizer.name may say."""


def bare_net(config: TrainConfig, num_classes: int, normalization: Normalization | None = None) -> FCN:
    """Builds the net with initial weights.

    Raises:
        ValueError: what the backbone or the net refuses.
    """
    model, backbone = config.model, config.backbone
    pretrained = config.init_from is not None or backbone.weights not in (None, "none")
    trunk = backbone_class(backbone.name)(
        backbone.padding,
        normalization,
        backbone.dropout,
        backbone.in_channels,
        backbone.batch_norm or ("frozen" if pretrained else "batch"),
        backbone.padding_mode,
        backbone.checkpointing,
    )
    net = FCN(
        trunk,
        num_classes,
        model.output_stride,
        scales=model.scales,
        learn_intermediate=model.learn_intermediate,
        learn_final=model.learn_final,
        coarsest=model.coarsest,
    )
    on_gpu = accelerator(config.trainer.accelerator) == "gpu"
    return laid_out(net, "cuda" if on_gpu else "cpu")


def stated_normalization(config: TrainConfig) -> Normalization | None:
    """Returns what the configuration says of the weights' preprocessing; None where it is left to the weights."""
    backbone = config.backbone
    return stated(backbone.normalization, backbone.mean, backbone.std, backbone.in_channels)


def build_net(config: TrainConfig, num_classes: int) -> tuple[FCN, str]:
    """Builds the net with the weights it starts from.

    Returns:
        The net, and where its weights came from.

    Raises:
        FileNotFoundError: weights, checkpoint or run that are not there.
        ValueError: weights that do not fit.
    """
    net = bare_net(config, num_classes)
    said = stated_normalization(config)
    if config.init_from is None:
        return net, load_weights(net.backbone, config.backbone.weights, said)
    if (file := published_file(config.init_from)) is not None:
        return _from_published(net, file, said), file.name
    stage = read_stage(Path(config.init_from))
    before = stage.record["config"]["model"]["output_stride"]
    finer = [stride for stride in net.strides if stride < before]
    new = [net.score_name(stride) for stride in finer] + [f"upsample{stride}" for stride in net.strides]
    start_from_coarser(net, stage, new)
    if said is not None and said != stage.normalization:
        raise ValueError(
            f"init_from={stage.path} was trained with {stage.normalization}, but backbone.normalization says {said}: "
            "leave backbone.normalization, mean and std as they were for the coarser net"
        )
    net.backbone.normalize_with(stage.normalization)
    return net, str(stage.path)


def _from_published(net: FCN, file: Path, said: Normalization | None) -> FCN:
    own = start_from_published(net, file, [net.score_name(stride) for stride in net.strides[1:]])
    net.backbone.normalize_with(settled(said, own, f"init_from={file}", own_statistics=True))
    return net


def optimizer_groups(config: TrainConfig, net: FCN) -> list[dict[str, Any]]:
    """Sorts the net's parameters into groups with the rates that the configuration asks for."""
    chosen = config.optimizer
    return parameter_groups(
        net,
        net.score_layers,
        lr=learning_rate(config),
        weight_decay=chosen.weight_decay,
        bias_lr_factor=chosen.bias_lr_factor,
        bias_decay=chosen.bias_decay,
        bias_rule=chosen.bias_rule,
        head_lr_factor=chosen.head_lr_factor,
        train=config.model.train,
    )


def make_optimizer(config: TrainConfig, net: FCN) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Builds optimiser and schedule."""
    groups, chosen = optimizer_groups(config, net), config.optimizer
    optimizer: torch.optim.Optimizer
    # Fused optimisers may unscale gradients by themselves, so under mixed precision Lightning does not clip for them.
    arithmetic = precision(config.trainer.precision, accelerator(config.trainer.accelerator))
    fused = arithmetic != "16-mixed" and (config.trainer.clip is None or "mixed" not in arithmetic)
    if chosen.name == "sgd":
        optimizer = torch.optim.SGD(groups, lr=learning_rate(config), momentum=chosen.momentum, fused=fused)
    else:
        optimizer = torch.optim.AdamW(groups, lr=learning_rate(config), betas=(chosen.momentum, 0.999), fused=fused)
    factor = schedule_factor(chosen.schedule, config.trainer.max_steps, chosen.warmup)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def build_data(config: TrainConfig, parts: tuple[str, ...] = ("train", "val")) -> SegmentationData:
    """Opens the data set and says how it becomes batches.

    Raises:
        FileNotFoundError, ValueError: as open_source, separated and keep_decoded.
    """
    data = config.data
    sources = {part: open_source(data, part) for part in reversed(parts)}  # training images may need to be converted
    if "train" in sources:
        sources["train"] = separated(sources["train"], sources["val"], data.overlap, data.overlap_by)
        if data.decoded:  # of a training, since whatever reads images once gains nothing
            for source in sources.values():
                keep_decoded(source, data)
    void, channels = sources["val"].void, config.backbone.in_channels
    plain = transforms(image_side=data.image_side, void=void, channels=channels)
    varied = transforms(
        image_side=data.image_side,
        scale=scale_range(data),
        shift=PAPER_SHIFT if data.augment == "paper" else 0,
        crop=data.crop,
        flip=data.flip or data.augment == "paper",
        void=void,
        channels=channels,
    )
    jitter = Jitter(data.jitter, config.seed) if data.jitter else None
    chance = LossChance(config.seed) if config.loss.keep < 1 or config.loss.balance_sampling else None
    augmentation = Augmentation(varied, config.seed)
    train = SegmentationDataset(sources["train"], augmentation, jitter, chance) if "train" in sources else None
    return SegmentationData(
        SegmentationDataset(sources["val"], Augmentation(plain, config.seed)),
        train,
        batch_size=data.batch_size,
        batching=data.batching,
        replacement=data.replacement,
        accumulate=config.trainer.accumulate,
        workers=data.workers,
        seed=config.seed,
    )


def scale_range(data: DataConfig) -> tuple[float, float] | None:
    """Returns data.scale as a pair."""
    return (data.scale[0], data.scale[1]) if data.scale else None


def build_task(config: TrainConfig, source: Source, pixels: Sequence[int] = ()) -> SegmentationTask:
    """Builds net, loss and optimiser for the classes of a data set, which have so many pixels in the training masks.

    Raises:
        FileNotFoundError, ValueError: as build_net and balance, or model.num_classes is less than the data's.
    """
    classes = config.model.num_classes or len(source.classes)
    if classes < len(source.classes):
        raise ValueError(f"model.num_classes={classes}, but data={config.data.name} has {len(source.classes)} classes")
    net, weights_from = build_net(config, classes)
    optimizer_groups(config, net)  # freezes what is not trained before DDP looks at it
    on = accelerator(config.trainer.accelerator)
    record = {
        "config": asdict(config),
        "normalization": asdict(net.backbone.normalization),
        "weights_from": weights_from,
        "num_classes": classes,
        "classes": list(source.classes),
        "class_pixels": list(pixels),
        "precision": precision(config.trainer.precision, on),
    }
    chosen = config.loss
    weights = class_weights(chosen.class_weights, pixels, classes)
    rates = class_rates(chosen.balance_sampling, pixels, classes)
    loss = PixelCrossEntropy(chosen.reduction, source.void, keep=chosen.keep, class_weights=weights, class_rates=rates)
    return SegmentationTask(
        net,
        loss,
        partial(make_optimizer, config),
        record,
        padded=config.data.batching == "pad",
        seed=config.seed,
        guard=Guard(config.trainer.on_nonfinite),
        compiled=is_compiled(config.trainer.compile, on, config.data.batching),
    )


def build_trainer(
    config: TrainConfig, folder: Path, callbacks: list[Callback], checkpoints: Checkpoints | None = None
) -> Trainer:
    """Builds the trainer of a run.

    Args:
        config: the whole configuration.
        folder: the run folder.
        callbacks: in addition to checkpoints and learning rates, among them the progress bar.
        checkpoints: writes them, and knows what to go on from; None begins.
    """
    chosen, checkpoints = config.trainer, checkpoints or build_checkpoints(config.trainer, folder)
    loggers, stopwatch = build_loggers(config.logger, folder, checkpoints, labels(config)), Stopwatch()
    return Trainer(
        **_computation(chosen, callbacks),
        default_root_dir=folder,
        max_epochs=-1,
        max_steps=chosen.max_steps,
        accumulate_grad_batches=chosen.accumulate,
        gradient_clip_val=chosen.clip,
        val_check_interval=chosen.val_every * chosen.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=chosen.log_every,
        enable_checkpointing=False,
        plugins=[WholeFiles()],
        logger=loggers,
        profiler=stopwatch,
        callbacks=[checkpoints, *callbacks, LearningRateMonitor(), *watchers(loggers, stopwatch)],
    )


def build_checkpoints(chosen: TrainerConfig, folder: Path, **known: Any) -> Checkpoints:
    """Says when a run writes checkpoints; what else is known goes to Checkpoints as it is."""
    return Checkpoints(folder, every_steps=chosen.save_steps, every_minutes=chosen.save_minutes, **known)


def build_evaluator(config: TrainConfig, callbacks: list[Callback]) -> Trainer:
    """Builds a trainer that only validates, and writes nothing."""
    common = _computation(config.trainer, callbacks)
    return Trainer(**common, enable_checkpointing=False, logger=False, callbacks=callbacks)


def _computation(chosen: TrainerConfig, callbacks: list[Callback]) -> dict[str, Any]:
    """Says what training and evaluation compute on and how, the same for both so that their scores are the same."""
    on = accelerator(chosen.accelerator)
    arithmetic = settled_precision(chosen.precision, on)
    return {
        "precision": arithmetic,
        "accelerator": on,
        "devices": chosen.devices,
        "num_nodes": chosen.num_nodes,
        "limit_val_batches": chosen.limit_val_batches,
        "use_distributed_sampler": False,
        "enable_model_summary": False,
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
    }
