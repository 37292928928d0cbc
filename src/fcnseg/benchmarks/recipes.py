"""The most memory that the recipes take above the net, for a training step and for a validated image."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from fcnseg.benchmarks.memory import METHODS, MIB, Meter, in_child, method, why
from fcnseg.benchmarks.nets import CLASSES, Setting, images_of, targets_of
from fcnseg.benchmarks.tables import FAILED, PART, Rows
from fcnseg.build import bare_net, make_optimizer
from fcnseg.config import TrainConfig, composed
from fcnseg.fcn import FCN
from fcnseg.losses import PixelCrossEntropy
from fcnseg.metrics import ConfusionMatrix

MODELS = {"modern": "fcn8s", "pami_heavy": "fcn8s", "cvpr2015": "fcn8s", "release_alexnet": "fcn32s"}
"""{recipe: the net}."""

OWN = {"release_alexnet": "caffenet"}
"""{recipe: the one backbone that it was published for}; the others stand for many."""

ACCUMULATED = 2
"""Images of a step that are computed, where more are accumulated: each further one finds what the second found."""


def measure(setting: Setting, backbones: Sequence[str]) -> dict[str, Any]:
    """Measures each recipe with each backbone, each in a process of its own.

    Args:
        setting: size of whole images, and the device; recipes that crop say the size themselves, as suits VOC.
        backbones: that are measured.

    Raises:
        ValueError: no such backbone.
    """
    found: Rows = []
    for recipe in MODELS:
        for backbone in [OWN[recipe]] if recipe in OWN else backbones:
            config = chosen(recipe, backbone)
            row: dict[str, Any] = {"what": f"{config.model.name}, {backbone}", PART: said(config, setting)}
            try:
                row |= in_child(peaks, config, setting)
            except RuntimeError as error:
                row[FAILED] = why(error)
            found.append(row)
    how = method(setting.device)
    return {
        "title": f"Peak memory above the net by recipe, fp32, whole images of {setting.size[0]}x{setting.size[1]}",
        "rows": found,
        "notes": [METHODS[how], "MiB; a training step's include gradients and the optimizer's state, but not the net"],
        "method": how,
    }


def chosen(recipe: str, backbone: str) -> TrainConfig:
    """Composes a training that does not start from a file."""
    words = (f"recipe={recipe}", f"model={MODELS[recipe]}", f"backbone={backbone}", "backbone.weights=none")
    return composed(*words, "data=voc2012", "optimizer.lr=1e-10", "trainer.accelerator=cpu")


def said(config: TrainConfig, setting: Setting) -> str:
    """Names a recipe together with what its memory depends on."""
    data, width, height = config.data, *setting.size
    images = f"{data.batch_size} crops of {data.crop}x{data.crop}" if data.crop else f"{width}x{height}"
    steps = f", {config.trainer.accumulate} accumulated one by one" if config.trainer.accumulate > 1 else ""
    return f"{config.recipe.name}: {images}{steps}, {config.optimizer.name}"


def peaks(config: TrainConfig, setting: Setting) -> dict[str, float]:
    """Builds the net, and returns MiB: the net's own, those of training steps, and those of a validation beside them.

    Args:
        config: of the training.
        setting: of whole images.
    """
    net = bare_net(config, CLASSES).to(setting.device)
    size = (config.data.crop, config.data.crop) if config.data.crop else setting.size
    batch = Setting(size=size, batch=config.data.batch_size, device=setting.device)
    found = {"net": sum(each.nbytes for each in net.parameters()) / MIB}
    for name, run in (
        ("validation", validation(config, net, setting)),
        ("training step", training(config, net, batch)),
    ):
        meter = Meter(setting.device)
        for _ in range(2):
            run()
        found[name] = meter.peak() / MIB
    return found


def training(config: TrainConfig, net: FCN, setting: Setting) -> Callable[[], None]:
    """Returns one step of the optimizer, over as many of its images as tell the peak."""
    images, targets = images_of(setting), targets_of(setting)
    loss = PixelCrossEntropy(config.loss.reduction)
    optimizer, _ = make_optimizer(config, net)

    def run() -> None:
        net.train()
        for _ in range(min(ACCUMULATED, config.trainer.accumulate)):
            loss(net.scores(images), net.upsample, targets).total.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def validation(config: TrainConfig, net: FCN, setting: Setting) -> Callable[[], None]:
    """Returns the validation of an image: scores, loss, predictions and their count."""
    images, targets = images_of(setting), targets_of(setting)
    loss, confusion = PixelCrossEntropy(config.loss.reduction), ConfusionMatrix(CLASSES).to(setting.device)

    @torch.inference_mode()
    def run() -> None:
        scores = net.eval().scores(images)
        loss(scores, net.upsample, targets)
        confusion.update(net.predict(scores, (setting.size[1], setting.size[0])), targets)

    return run
