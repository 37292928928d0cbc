"""python -m fcnseg.train: trains a net and leaves a run folder."""

from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from fcnseg.config import CONF_DIR, TrainConfig, register, resolved

if TYPE_CHECKING:
    from pathlib import Path

    from fcnseg.data.datamodule import SegmentationData
    from fcnseg.interruption import Interruption
    from fcnseg.task import SegmentationTask

register()


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="train")
def main(config: DictConfig) -> float | None:
    """Runs the composed training; returns its mean IU, for sweepers that optimise it."""
    import os
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig

    from fcnseg.config.rows import composed_anew
    from fcnseg.console import names_folder, reported
    from fcnseg.interruption import end_with_launcher
    from fcnseg.nodes import check_start

    end_with_launcher()
    folder = Path(HydraConfig.get().runtime.output_dir)
    with reported(folder, config):
        settings = resolved(composed_anew(config), TrainConfig)
        check_start(settings.trainer.devices, settings.trainer.num_nodes, os.environ, names_folder())
        scores = train(settings, folder)
    return float(scores["mean_iu"]) if scores else None


def train(config: TrainConfig, folder: "Path") -> dict[str, Any]:
    """Trains, validates the last weights and writes the run folder; goes on where a killed run left off.

    Args:
        config: everything there is to say.
        folder: checkpoints, metrics.csv, results.json, config.yaml and predictions go there.

    Returns:
        What results.json holds; empty in processes other than the first.

    Raises:
        FileExistsError: the folder holds another run or a finished one, or another process works in it.
        FileNotFoundError, ValueError: as consistency.check and build.
        RunError: the run failed; says why, and what is left.
        Stop: the run was asked to end, and can be continued.
    """
    import os
    from dataclasses import asdict

    from fcnseg.consistency import check, check_files
    from fcnseg.console import quiet_lightning
    from fcnseg.interruption import Interruption
    from fcnseg.lineage import from_stage
    from fcnseg.notice import warn
    from fcnseg.runfolder import claimed
    from fcnseg.secrets import check_secrets

    quiet_lightning()
    check_secrets(asdict(config), os.environ)
    check(config, stage_missing=True)
    config = from_stage(config, folder)
    check(config)
    check_files(config)
    with claimed(folder, config, warn) as earlier, Interruption() as interruption:
        return fit(config, folder, earlier, interruption)


def fit(
    config: TrainConfig, folder: "Path", earlier: dict[str, Any] | None, interruption: "Interruption"
) -> dict[str, Any]:
    """Does what train promises, in a folder that is this process's own.

    Args:
        config: everything there is to say.
        folder: the run's.
        earlier: the checkpoint to go on from, if any.
        interruption: tells whether the run was asked to end.
    """
    from lightning.pytorch import seed_everything

    from fcnseg import build
    from fcnseg.consistency import check_processes
    from fcnseg.console import announce
    from fcnseg.lineage import ancestors
    from fcnseg.loggers import end_trackers, start_trackers
    from fcnseg.progress import callbacks
    from fcnseg.results import identity, provenance
    from fcnseg.runfolder import check_identity, write_config
    from fcnseg.trouble import Witness, explained

    seed_everything(config.seed, workers=True, verbose=False)
    checkpoints = build.build_checkpoints(config.trainer, folder, earlier=earlier, interruption=interruption)
    shown = [*callbacks(config.trainer.progress), witness := Witness()]
    trainer = build.build_trainer(config, folder, shown, checkpoints)
    check_processes(config.data, trainer.world_size)
    data = build.build_data(config)
    task = build.build_task(config, data.val.source, counted(config, data, earlier))
    origin = identity(config, task.record["weights_from"]) | provenance(data, str(trainer.strategy.root_device))
    origin["lineage"] = ancestors(config.init_from)
    checkpoints.identity = check_identity(earlier, {"data_fingerprint": origin["data_fingerprint"]}, folder)
    if trainer.is_global_zero:
        announce(config, data, task, folder, trainer, earlier["global_step"] if earlier else 0)
        write_config(folder, config)
        start_trackers(trainer.loggers, config, origin)
    with explained(folder, config, trainer, witness, checkpoints):
        trainer.fit(task, data)
    if not trainer.is_global_zero:
        return {}
    content = origin | results(task, data.val.source.classes)
    content |= {"skipped_steps": task.guard.skipped, "seconds": round(checkpoints.seconds(), 1)}
    finish(content, task, data, folder)
    end_trackers(trainer.loggers, content, task, data, folder)
    return content


def counted(config: TrainConfig, data: "SegmentationData", earlier: dict[str, Any] | None) -> list[int]:
    """Returns the pixels of each class in the training masks where the loss asks for them; empty where it does not.

    They are counted once a run, by each of its processes, and kept in its checkpoints.
    """
    from fcnseg.balance import BALANCED
    from fcnseg.data.frequencies import class_pixels

    if config.loss.class_weights != BALANCED and not config.loss.balance_sampling:
        return []
    if earlier is not None:
        return list(earlier["fcnseg"]["class_pixels"])
    assert data.train is not None
    return class_pixels(data.train.source, config.data.workers)


def results(task: "SegmentationTask", classes: tuple[str, ...]) -> dict[str, Any]:
    """Collects the scores of the last weights, and the best ones apart, as results.json names them."""
    from fcnseg.results import score_fields, validation_fields

    best, scores = task.best, validation_fields(task.validations[-1], classes)
    return scores | {"best": score_fields(best.scores, classes) | {"steps": best.step}}


def finish(content: dict[str, Any], task: "SegmentationTask", data: "SegmentationData", folder: "Path") -> None:
    """Writes results.json and the pictures, and shows both."""
    from fcnseg.console import show_scores
    from fcnseg.disk import write_durably
    from fcnseg.results import write_json
    from fcnseg.visualize import predicted, prediction_grid, save_shown

    source, picture = data.val.source, folder / "predictions" / "grid.png"
    shown = predicted(task.model, data.val)
    save_shown(shown, picture.parent, source.void)
    grid = prediction_grid(shown, source)
    write_durably(picture, lambda file: grid.save(file, "PNG"))
    write_json(folder / "results.json", content)  # the last, because from here on the run counts as finished
    show_scores(content, folder, picture)


if __name__ == "__main__":
    main()
