"""python -m fcnseg.evaluate: scores a trained net."""

from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from fcnseg.config import CONF_DIR, TrainConfig, register

if TYPE_CHECKING:
    from pathlib import Path

    from fcnseg.data.dataset import Source
    from fcnseg.task import SegmentationTask
    from fcnseg.weights.stages import Stage

register()


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="evaluate")
def main(config: DictConfig) -> float | None:
    """Runs the composed evaluation; returns its mean IU."""
    import os
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig

    from fcnseg.console import names_folder, reported
    from fcnseg.nodes import check_start

    folder = Path(HydraConfig.get().runtime.output_dir)
    with reported(folder, config):
        if OmegaConf.is_missing(config, "checkpoint"):
            raise ValueError("checkpoint must be set: a checkpoint that training wrote, or a run folder")
        check_start(config.trainer.devices, config.trainer.num_nodes, os.environ, names_folder())
        hydra_config = HydraConfig.get()
        data = stated_data(config.data, hydra_config.runtime.choices.get("data"), list(hydra_config.overrides.task))
        content = evaluate(config.checkpoint, data, OmegaConf.to_container(config.trainer), folder)
    return float(content["mean_iu"]) if content else None


def evaluate(checkpoint: str, data: dict[str, Any], trainer: Any, folder: "Path") -> dict[str, Any]:
    """Scores the net of a checkpoint and writes results.json.

    Args:
        checkpoint: a checkpoint that training wrote, or a run folder.
        data: values to lay over the training's data configuration.
        trainer: what to run on.
        folder: where results.json goes.

    Returns:
        What results.json holds; empty in processes other than the first.

    Raises:
        FileExistsError: the folder holds results already.
        FileNotFoundError, ValueError: the checkpoint or the data cannot be used.
    """
    import time
    from dataclasses import replace
    from pathlib import Path

    from fcnseg import build
    from fcnseg.console import quiet_lightning, show_scores
    from fcnseg.progress import callbacks
    from fcnseg.results import identity, provenance, validation_fields, write_json
    from fcnseg.weights.stages import read_stage

    quiet_lightning()
    if (folder / "results.json").exists():
        raise FileExistsError(f"{folder} already holds results.json: choose another folder with hydra.run.dir=DIR")
    stage = read_stage(Path(checkpoint))
    settings = merged(stage, data, trainer)
    runner = build.build_evaluator(settings, callbacks(settings.trainer.progress))
    images = build.build_data(settings, parts=("val",))
    task = restored(settings, stage, images.val.source)
    start = time.monotonic()
    runner.validate(task, images, verbose=False)
    if not runner.is_global_zero:
        return {}
    content = {
        **identity(merged(stage, {}, {}), stage.record["weights_from"]),
        **provenance(images, str(runner.strategy.root_device)),
        **validation_fields(replace(task.validations[-1], step=stage.record["steps"]), images.val.source.classes),
        "data": settings.data.name,
        "checkpoint": str(stage.path),
        "seconds": round(time.monotonic() - start, 1),
    }
    write_json(folder / "results.json", content)
    show_scores(content, folder, weights=stage.path.stem)
    return content


def stated_data(data: DictConfig, choice: str | None, overrides: list[str]) -> dict[str, Any]:
    """Returns what the command line says of the data.

    Args:
        data: the composed group; without a choice it holds nothing but overrides and the schema's defaults.
        choice: name of the chosen data set, None for the training's.
        overrides: the command line's.

    Returns:
        Values to lay over the training's. Other data is still resized as the training's was, unless
        data.image_side says otherwise.
    """
    stated = {override.partition("=")[0].lstrip("+").removeprefix("data.") for override in overrides}
    keys = [str(key) for key in data]
    free = [key for key in keys if not OmegaConf.is_missing(data, key) and not OmegaConf.is_interpolation(data, key)]
    chosen = {key for key in free if choice is not None and key not in ("suited", "image_side")}
    return {key: data[key] for key in free if key in stated | chosen}


def merged(stage: "Stage", data: dict[str, Any], trainer: dict[str, Any]) -> TrainConfig:
    """Returns the training's configuration with the evaluation's data and devices.

    Raises:
        ValueError: the checkpoint's configuration is of another version.
    """
    from fcnseg.restoration import settings_of

    kept = {"precision": stage.record["precision"]} | {k: v for k, v in trainer.items() if k != "precision" or v}
    laid_over = {"trainer": kept} if trainer else {}
    return settings_of(stage, {"data": data} | laid_over)


def restored(config: TrainConfig, stage: "Stage", source: "Source") -> "SegmentationTask":
    """Builds the net of a checkpoint with its weights.

    Raises:
        ValueError: the weights do not fit, or the net has fewer classes than the data.
    """
    from fcnseg.losses import PixelCrossEntropy
    from fcnseg.notice import warn
    from fcnseg.restoration import trained_net
    from fcnseg.task import SegmentationTask

    known = tuple(stage.record["classes"])
    if stage.record["num_classes"] < len(source.classes):
        raise ValueError(
            f"{stage.path} knows {stage.record['num_classes']} classes, data={config.data.name} has "
            f"{len(source.classes)}: evaluate it on data with the same classes"
        )
    if known != source.classes:
        warn(
            f"the net was trained on other classes than those of data={config.data.name}; labels are compared by number"
        )
    net = trained_net(stage, config)
    return SegmentationTask(
        net, PixelCrossEntropy(config.loss.reduction, source.void), padded=config.data.batching == "pad"
    )


if __name__ == "__main__":
    main()
