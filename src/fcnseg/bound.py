"""python -m fcnseg.bound: the mean IU that no net of an output stride exceeds, from ground truth alone.

Paper: the bound on mean IU by stride (arXiv 1411.4038)
"""

from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from fcnseg.config import CONF_DIR, BoundConfig, register, resolved

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fcnseg.data.dataset import Labels, Source
    from fcnseg.metrics import ConfusionMatrix

register()

SMALL = 50
"""Masks, evenly spread over the set, that scale=small takes."""


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="bound")
def main(config: DictConfig) -> None:
    """Runs the composed bound, and prints it."""
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig

    from fcnseg.console import reported

    folder = Path(HydraConfig.get().runtime.output_dir)
    with reported(folder, config):
        for content in bound(resolved(config, BoundConfig), folder):
            print(
                f"factor {content['row']:>4}: mean IU {100 * content['mean_iu']:.1f} of {content['num_images']} masks"
            )
        print(f"written to {folder}: FACTOR/results.json")


def bound(config: BoundConfig, folder: "Path") -> list[dict[str, Any]]:
    """Scores ground truth that was downsampled and upsampled again, and writes FACTOR/results.json for each factor.

    Args:
        config: says which masks and factors.
        folder: where the factors' folders go.

    Returns:
        What the files hold.

    Raises:
        FileNotFoundError, ValueError: the masks cannot be read, or a factor is less than 1.
    """
    from fcnseg.results import write_json

    if config.scale not in ("full", "small"):
        raise ValueError(f"scale must be full or small, not {config.scale!r}")
    source = masks_of(config)
    count = len(source) if config.scale == "full" else min(SMALL, len(source))
    chosen = [place * len(source) // count for place in range(count)]
    contents = [described(config, source, found) for found in scored(source, chosen, config.factors)]
    for content in contents:
        write_json(folder / content["row"] / "results.json", content)
    return contents


def masks_of(config: BoundConfig) -> "Source":
    """Opens the validation masks of a data set, or a folder of VOC's masks without images.

    Raises:
        FileNotFoundError: they are not there.
        ValueError: a key of the data set is missing or unknown.
    """
    from pathlib import Path

    from fcnseg.data.dataset import ImageFiles, Pair
    from fcnseg.data.voc import CLASSES
    from fcnseg.sources import open_source

    if config.masks is None:
        return open_source(config.data, "val")
    files = sorted(Path(config.masks).glob("*.png"))
    if not files:
        raise FileNotFoundError(f"masks={config.masks} holds no PNG: give a folder of masks such as SegmentationClass")
    return ImageFiles([Pair(file.stem, file, file) for file in files], CLASSES)


def labels_of(source: "Source", index: int) -> "Labels":
    """Reads a mask, without its image where there are files."""
    from fcnseg.data.dataset import ImageFiles

    if isinstance(source, ImageFiles):
        return source.legend.labels(source.pairs[index].mask)
    return source.read(index)[1]


def scored(
    source: "Source", chosen: "Sequence[int]", factors: "Sequence[int]"
) -> "list[tuple[int, ConfusionMatrix, float]]":
    """Returns each factor's confusion matrix over the masks, and the seconds it took.

    Raises:
        ValueError: a mask cannot be read, or a factor is less than 1.
    """
    import time

    import torch

    from fcnseg.metrics import ConfusionMatrix
    from fcnseg.resampling import coarse_truth

    counts = [ConfusionMatrix(len(source.classes), source.void) for _ in factors]
    seconds = [0.0] * len(factors)
    for index in chosen:
        mask = labels_of(source, index)
        for place, factor in enumerate(factors):
            start = time.monotonic()
            seen = coarse_truth(mask, factor, source.void)
            counts[place].update(torch.from_numpy(seen)[None], torch.from_numpy(mask)[None])
            seconds[place] += time.monotonic() - start
    return list(zip(factors, counts, seconds, strict=True))


def described(config: BoundConfig, source: "Source", found: "tuple[int, ConfusionMatrix, float]") -> dict[str, Any]:
    """Returns what results.json says of one factor, under the names that trainings use."""
    from fcnseg.results import SCHEMA_VERSION, score_fields
    from fcnseg.revision import code_version

    factor, counts, seconds = found
    return {
        "schema_version": SCHEMA_VERSION,
        "experiment": config.experiment.title,
        "row": str(factor),
        "scale": config.scale,
        "factor": factor,
        "data": config.data.name if config.masks is None else "masks",
        "data_fingerprint": {"val": source.fingerprint()},
        "split_counts": {"val": len(source)},
        "num_images": int(counts.images),
        "device": "cpu",
        **code_version(),
        **score_fields(counts.compute(), source.classes),
        "confusion_matrix": counts.matrix.tolist(),
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
