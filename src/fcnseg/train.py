"""python -m fcnseg.train: trains a net and leaves a run folder."""

from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from fcnseg.config import CONF_DIR, TrainConfig, register, resolved

if TYPE_CHECKING:
    from pathlib import Path

    from fcnseg.data.datamodule import SegmentationData
    from fcnseg.task import SegmentationTask

register()


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="train")
def main(config: DictConfig) -> float | None:
    """Runs the composed training; returns its mean IU, for sweepers that optimise it."""
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig

    from fcnseg.console import reported

    folder = Path(HydraConfig.get().runtime.output_dir)
    with reported(folder):
        scores = train(resolved(config, TrainConfig), folder)
    return float(scores["mean_iu"]) if scores else None


def train(config: TrainConfig, folder: "Path") -> dict[str, Any]:
    """Trains, validates the last weights and writes the run folder.

    Args:
        config: everything there is to say.
        folder: checkpoints, metrics.csv, results.json, config.yaml and predictions go there.

    Returns:
        What results.json holds; empty in processes other than the first.

    Raises:
        FileExistsError: the folder holds a run already.
        FileNotFoundError, ValueError: as consistency.check and build.
    """
    import time

    from lightning.pytorch import seed_everything

    from fcnseg import build
    from fcnseg.consistency import check, check_files, check_processes
    from fcnseg.console import announce, callbacks, quiet_lightning
    from fcnseg.results import identity, provenance

    quiet_lightning()
    check(config)
    check_files(config)
    refuse_used(folder)
    seed_everything(config.seed, workers=True, verbose=False)
    trainer = build.build_trainer(config, folder, callbacks(config.trainer.progress))
    check_processes(config.data, trainer.world_size)
    data = build.build_data(config)
    task = build.build_task(config, data.val.source)
    origin = identity(config, task.record["weights_from"]) | provenance(data, str(trainer.strategy.root_device))
    if trainer.is_global_zero:
        announce(config, data, task, folder)
        OmegaConf.save(OmegaConf.structured(config), folder / "config.yaml")
    start = time.monotonic()
    trainer.fit(task, data)
    if not trainer.is_global_zero:
        return {}
    content = origin | results(task, data.val.source.classes) | {"seconds": round(time.monotonic() - start, 1)}
    finish(content, task, data, folder)
    return content


def refuse_used(folder: "Path") -> None:
    """Refuses a folder that holds a run, so that nothing is lost.

    Raises:
        FileExistsError: names the folder and the key.
    """
    import os

    if int(os.environ.get("LOCAL_RANK", "0")) == 0 and any(
        (folder / name).exists() for name in ("config.yaml", "checkpoints")
    ):
        raise FileExistsError(
            f"{folder} already holds a run: choose another folder with hydra.run.dir=DIR, or move it away"
        )


def results(task: "SegmentationTask", classes: tuple[str, ...]) -> dict[str, Any]:
    """Collects the scores of the last weights, and the best ones apart, as results.json names them."""
    from fcnseg.results import score_fields, validation_fields

    best = max(task.validations, key=lambda validation: validation.scores.mean_iu)
    scores = validation_fields(task.validations[-1], classes)
    return scores | {"best": score_fields(best.scores, classes) | {"steps": best.step}}


def finish(content: dict[str, Any], task: "SegmentationTask", data: "SegmentationData", folder: "Path") -> None:
    """Writes results.json and the pictures, and shows both."""
    from fcnseg.console import show_scores
    from fcnseg.results import write_json
    from fcnseg.visualize import prediction_grid

    write_json(folder / "results.json", content)
    (folder / "predictions").mkdir(exist_ok=True)
    picture = folder / "predictions" / "grid.png"
    prediction_grid(task.model, data.val).save(picture)
    show_scores(content, folder, picture)


if __name__ == "__main__":
    main()
