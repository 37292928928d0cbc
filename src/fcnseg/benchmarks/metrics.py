"""Counting the confusion matrix of images: ours, and the authors' numpy."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from fcnseg.benchmarks.nets import CLASSES, Setting, targets_of
from fcnseg.benchmarks.tables import PART, Rows, controlled, rows
from fcnseg.metrics import ConfusionMatrix
from fcnseg.shapes import VOID, Predictions, Targets
from fcnseg.timing import Times, interleaved

AS_A_NET, RANDOM = "predictions as a net makes them", "random pixels"


def measure(setting: Setting, repeat: int) -> dict[str, Any]:
    """Times the confusion matrix of predictions, images one by one as in validation.

    Args:
        setting: size and number of the images, and the device; numpy's images lie in memory.
        repeat: rounds.

    Raises:
        ValueError: the two count differently.
    """
    found: Rows = []
    seconds = {}
    for name, (predictions, targets) in {AS_A_NET: segmented(setting), RANDOM: scattered(setting)}.items():
        times = compared(predictions, targets, repeat, setting.device)
        found += [row | {PART: name} for row in rows(times)]
        seconds[name] = times.rounds
    return {
        "title": f"Confusion matrix of {setting.images}, {CLASSES} classes, {repeat} rounds",
        "rows": found,
        "notes": ["both count the same"],
        "seconds": seconds,
    }


def compared(predictions: Predictions, targets: Targets, repeat: int, device: str) -> Times:
    """Times both ways to count.

    Raises:
        ValueError: they count differently.
    """
    arrays = targets.cpu().numpy(), predictions.cpu().numpy()
    confusion = ConfusionMatrix(CLASSES).to(device)

    def ours() -> None:
        for image, target in zip(predictions, targets, strict=True):
            confusion.update(image[None], target[None])

    def theirs() -> NDArray[np.int64]:
        return sum((histogram(*pair) for pair in zip(*arrays, strict=True)), np.zeros((CLASSES, CLASSES), np.int64))

    ours()
    if not np.array_equal(confusion.matrix.cpu().numpy(), theirs()):
        raise ValueError("the two confusion matrices differ, so their times say nothing: one of them is wrong")
    return interleaved(controlled({"ours": ours, "numpy as in score.py": theirs}), repeat, device)


def segmented(setting: Setting) -> tuple[Predictions, Targets]:
    """Draws predictions as a net makes them: bilinear from stride 8, near the truth; around objects it is void."""
    generator = torch.Generator().manual_seed(3)
    count, height, width = setting.shape
    coarse = torch.randn(count, CLASSES, height // 64 + 2, width // 64 + 2, generator=generator)
    coarse[:, 0] += 1.5  # background
    scores = functional.interpolate(coarse, (height // 8 + 1, width // 8 + 1), mode="bilinear")
    scores += 0.1 * torch.randn(scores.shape, generator=generator)
    predictions, truth = (
        functional.interpolate(each, (height, width), mode="bilinear").argmax(1).byte() for each in (scores, coarse)
    )
    labels = truth[:, None].float()
    inner = functional.max_pool2d(labels, 5, 1, 2) == -functional.max_pool2d(-labels, 5, 1, 2)
    return predictions.to(setting.device), truth.masked_fill(~inner[:, 0], VOID).to(setting.device)


def scattered(setting: Setting) -> tuple[Predictions, Targets]:
    """Draws every pixel by itself, as no net predicts."""
    targets = targets_of(setting)
    generator = torch.Generator().manual_seed(3)
    predictions = torch.randint(0, CLASSES, targets.shape, dtype=torch.uint8, generator=generator)
    return predictions.to(setting.device), targets


def histogram(truth: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.int64]:
    """Counts one image as the authors' score.py does, in its steps: a mask, a cast, one bincount."""
    valid = (truth >= 0) & (truth < CLASSES)
    pairs = CLASSES * truth[valid].astype(int) + predicted[valid]
    return np.bincount(pairs, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
