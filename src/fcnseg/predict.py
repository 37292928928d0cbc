"""python -m fcnseg.predict: masks and pictures of images, folders and videos, and archives for VOC's server."""

import sys
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from fcnseg.config import CONF_DIR, PredictConfig, register, resolved

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from fcnseg.config import TrainConfig
    from fcnseg.prediction.inputs import Inputs, Item
    from fcnseg.prediction.predictor import Predictor
    from fcnseg.prediction.runner import Run
    from fcnseg.weights.stages import Stage

register()


def main() -> None:
    """Runs the command line; paths in it may hold characters that Hydra's grammar does not take."""
    from fcnseg.prediction.inputs import quoted

    sys.argv[1:] = [quoted(word) for word in sys.argv[1:]]
    composed()


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="predict")
def composed(config: DictConfig) -> None:
    """Runs the composed prediction; the exit status is 1 if an input was skipped."""
    import os
    from typing import cast

    from fcnseg.messages import complained
    from fcnseg.secrets import check_secrets

    with complained():
        check_secrets(cast(dict[str, Any], OmegaConf.to_container(config)), os.environ)
        skipped = predict(resolved(config, PredictConfig))
    if skipped:
        sys.exit(1)


def predict(config: PredictConfig) -> int:
    """Predicts all inputs and writes masks, pictures and predictions.json.

    Args:
        config: what, with which net, and where to.

    Returns:
        How many inputs were skipped.

    Raises:
        FileExistsError: the output folder is in use.
        FileNotFoundError: the checkpoint or the input is not there.
        ValueError: a key is wrong, or something cannot be read or written.
    """
    import time
    from pathlib import Path

    from fcnseg.weights.stages import read_stage

    check_keys(config)
    start, folder = time.monotonic(), Path(config.output)
    items, passed_over = chosen_inputs(config, folder)
    run, about = prepared(config, read_stage(Path(config.checkpoint)), folder)
    run.outputs.record(about | {"state": "running"})
    run.predict(shown(items, config.progress))
    archive = submitted(config, run, items, folder) if config.voc_submission else None
    seconds = round(time.monotonic() - start, 1)
    account = {"seconds": seconds, "passed_over": passed_over, "outputs": run.done, "skipped": run.skipped}
    run.outputs.record(about | {"state": "finished"} | account)
    print(f"masks         {run.outputs.written:,} in {folder / 'masks'}, after {seconds} s")
    if config.overlays and run.done:
        print(f"overlays      {folder / 'overlays'}")
    if passed_over:
        print(f"passed over   {passed_over:,} files that are neither image nor video")
    if archive:
        print(f"archive       {archive}")
    if run.skipped:
        print(f"skipped       {len(run.skipped):,} of {len(items):,}; {folder / 'predictions.json'} says why")
    return len(run.skipped)


def check_keys(config: PredictConfig) -> None:
    """Refuses values that mean nothing, before anything is read.

    Raises:
        ValueError: names the key.
    """
    whole = (("batch_size", config.batch_size, 1), ("frame_step", config.frame_step, 1))
    numbers = (("tile", config.tile, "auto"), ("image_side", config.image_side, "training"))
    for key, value, least in whole:
        if value < least:
            raise ValueError(f"{key} must be at least {least}, not {value}")
    for key, value, word in numbers:
        number = isinstance(value, int) and not isinstance(value, bool) and value > 0
        if not (number or value is None or value == word):
            raise ValueError(f"{key} must be {word}, a number of pixels or null, not {value}")
    if not config.memory > 0:
        raise ValueError(f"memory must be more than 0 GiB, not {config.memory}")
    if not 0 <= config.opacity <= 1:
        raise ValueError(f"opacity must be within 0..1, not {config.opacity}")
    if not config.tta.scales or not all(0.05 <= scale <= 20 for scale in config.tta.scales):
        raise ValueError(f"tta.scales must be factors from 0.05 to 20, as [0.75,1,1.25], not {config.tta.scales}")
    if config.voc_submission and (config.input is not None or config.voc.root is None):
        raise ValueError("voc_submission=true takes its images from voc.root=VOCDEVKIT and voc.split, and no input=")
    if not config.voc_submission and config.input is None:
        raise ValueError("input must be set: an image, a video, a folder, a pattern, or - for a list on standard input")


def chosen_inputs(config: PredictConfig, folder: "Path") -> "Inputs":
    """Finds the images, as find_inputs and split_inputs do."""
    from fcnseg.prediction.inputs import find_inputs
    from fcnseg.prediction.submission import split_inputs

    if config.voc_submission:
        return split_inputs(str(config.voc.root), config.voc.year, config.voc.split)
    return find_inputs(str(config.input), sys.stdin, apart=folder)


def built(config: PredictConfig, stage: "Stage") -> "tuple[Predictor, TrainConfig]":
    """Builds the net of a checkpoint on its device, and returns its training's configuration too.

    Raises:
        ValueError: a device, a precision or a size of tiles that is not to be had, or weights that do not fit.
    """
    import torch

    from fcnseg.hardware import ACCELERATORS, PRECISIONS, accelerator, settled_precision
    from fcnseg.prediction.predictor import Predictor, variants
    from fcnseg.prediction.tiling import Tiling, tiling
    from fcnseg.restoration import settings_of, trained_net

    arithmetic = config.precision or stage.record["precision"]
    for key, value, choices in (
        ("accelerator", config.accelerator, ACCELERATORS),
        ("precision", arithmetic, PRECISIONS),
    ):
        if value not in choices:
            raise ValueError(f"{key} must be one of {', '.join(choices)}, not {value!r}")
    on = accelerator(config.accelerator)
    if on == "gpu" and not torch.cuda.is_available():
        raise ValueError("accelerator=gpu, but torch finds no CUDA GPU here: set accelerator=cpu")
    arithmetic = settled_precision(arithmetic, on)
    trainer = {"precision": arithmetic, "accelerator": config.accelerator}
    training = settings_of(stage, {"trainer": trainer})
    net = trained_net(stage, training).to("cuda" if on == "gpu" else "cpu")
    views = variants(config.tta.scales, config.tta.flip)
    side = config.tile if isinstance(config.tile, int) else None
    cut = tiling(net, side, config.memory * 2**30 / config.batch_size, max(config.tta.scales))
    cut = Tiling(sys.maxsize, cut.margin, cut.stride) if config.tile is None else cut
    return Predictor(net, cut, views, arithmetic), training


def named_classes(stage: "Stage") -> list[str]:
    """Returns a name for each of the net's labels, of which the data may name fewer."""
    known = list(stage.record["classes"])
    return known + [f"class {label}" for label in range(len(known), stage.record["num_classes"])]


def prepared(config: PredictConfig, stage: "Stage", folder: "Path") -> "tuple[Run, dict[str, Any]]":
    """Returns what predicts the inputs, and what predictions.json says of it; the output folder is made.

    Raises:
        FileExistsError: the output folder is in use.
        ValueError: as built; or the net's classes are not VOC's, for its server.
    """
    from fcnseg.prediction.outputs import Outputs, open_folder
    from fcnseg.prediction.reading import View
    from fcnseg.prediction.runner import Run
    from fcnseg.prediction.submission import check_net

    predictor, training = built(config, stage)
    if config.voc_submission:
        check_net(predictor.net.num_classes, stage.record["classes"], config.voc.competition)
    side = training.data.image_side if config.image_side == "training" else config.image_side
    view = View(side, predictor.net.backbone.in_channels)
    open_folder(folder, config.overwrite)
    run = Run(
        predictor,
        view,
        Outputs(folder, named_classes(stage), config.overlays, config.opacity),
        batch_size=config.batch_size,
        probabilities=config.probabilities,
        as_stored=config.voc_submission,
        frame_step=config.frame_step,
        report=complain,
    )
    about = {
        "checkpoint": str(stage.path),
        "steps": stage.record["steps"],
        "classes": named_classes(stage),
        "image_side": side,
        "tile": predictor.cut.side if config.tile is not None else None,
        "margin": predictor.cut.margin,
        "tta": {"flip": config.tta.flip, "scales": list(config.tta.scales)},
        "precision": predictor.precision,
    }
    return run, about


def complain(said: str) -> None:
    """Prints why an input is skipped."""
    from rich.console import Console
    from rich.markup import escape

    printable = said.encode("utf-8", "backslashreplace").decode()
    Console(stderr=True, soft_wrap=True, highlight=False).print("[bold yellow]skipped:[/]", escape(printable))


def shown(items: "Iterable[Item]", wanted: bool) -> "Iterator[Item]":
    """Yields the inputs, with a bar on terminals."""
    from rich.console import Console
    from rich.progress import track

    from fcnseg.progress import is_terminal

    hidden = not (wanted and is_terminal(sys.stderr))
    yield from track(list(items), "predicting", console=Console(stderr=True), disable=hidden)


def submitted(config: PredictConfig, run: "Run", items: "Sequence[Item]", folder: "Path") -> str:
    """Packs the masks for VOC's server, and checks the archive; returns what to say of it.

    Raises:
        ValueError: an image was skipped, or the server would not take the archive.
    """
    from fcnseg.prediction.submission import check_archive, write_archive

    if run.skipped:
        return "no archive was written, for the server wants a mask of every image"
    path, voc = folder / "archive" / "results.tgz", config.voc
    write_archive(path, {each.name: folder / "masks" / f"{each.name}.png" for each in items}, voc.year, voc.competition)
    if faults := check_archive(path, {each.name: each.path for each in items}, voc.year, voc.competition):
        raise ValueError(f"{path} would not be taken: {'; '.join(faults[:5])}")
    said = f"{path}: valid, {len(items):,} masks of voc.split={voc.split} for {voc.competition}"
    return said if voc.split == "test" else f"{said}; the server evaluates voc.split=test alone"


if __name__ == "__main__":
    main()
