"""python -m fcnseg.show: a picture of the images and masks that a training would see."""

from itertools import chain, count, islice
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from fcnseg.config import CONF_DIR, ShowConfig, register, resolved

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fcnseg.data.datamodule import SegmentationData
    from fcnseg.data.dataset import Draw, Sample

register()


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="show")
def main(config: DictConfig) -> None:
    """Draws the composed training's images."""
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig

    from fcnseg.console import reported

    folder = Path(HydraConfig.get().runtime.output_dir)
    with reported(folder, config):
        print(f"picture {show(resolved(config, ShowConfig), folder)}")


def show(config: ShowConfig, folder: "Path") -> "Path":
    """Writes the images with their masks, after the training's transforms, and a legend.

    Args:
        config: the training, and which of its images.
        folder: where the picture goes.

    Returns:
        The picture's file.

    Raises:
        FileNotFoundError: the data are not there.
        ValueError: a key is wrong, or an image.
    """
    from fcnseg import build
    from fcnseg.visualize import sample_grid

    for key, value, least in (("n", config.n, 1), ("side", config.side, 16), ("seed", config.seed, 0)):
        if value < least:
            raise ValueError(f"{key} must be at least {least}, not {value}")
    if config.split not in ("train", "val"):
        raise ValueError(
            f"split must be train or val, not {config.split!r}: data.train_split and data.val_split choose lists"
        )
    data = build.build_data(config, ("train", "val") if config.split == "train" else ("val",))
    samples = first_of_training(data, config.n) if config.split == "train" else spread(data, config.n)
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"{config.split}.png"
    sample_grid(samples, data.val.source, config.side).save(picture)
    return picture


def first_of_training(data: "SegmentationData", number: int) -> "list[Sample]":
    """Returns the images that the first steps of a training see, with the same augmentation and jitter."""
    from fcnseg.data.jitter import as_seen
    from fcnseg.data.sampler import TrainBatches

    assert data.train is not None
    batches = data.train_dataloader().batch_sampler
    assert isinstance(batches, TrainBatches)

    def epochs() -> "Iterator[list[Draw]]":
        for epoch in count():
            batches.set_epoch(epoch)
            yield from batches

    return [as_seen(data.train[draw]) for draw in islice(chain.from_iterable(epochs()), number)]


def spread(data: "SegmentationData", number: int) -> "list[Sample]":
    """Returns validation images from all over the set, as they are scored."""
    import numpy as np

    from fcnseg.data.dataset import Draw

    places = np.linspace(0, len(data.val) - 1, min(number, len(data.val))).astype(int)
    return [data.val[Draw(int(index))] for index in np.unique(places)]


if __name__ == "__main__":
    main()
