"""Counting the confusion matrix of images: ours, and the authors' numpy."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fcnseg.benchmarks.nets import CLASSES, Setting, targets_of
from fcnseg.benchmarks.tables import controlled, rows
from fcnseg.metrics import ConfusionMatrix
from fcnseg.timing import interleaved


def measure(setting: Setting, repeat: int) -> dict[str, Any]:
    """Times the confusion matrix of predictions, images one by one as in validation.

    Args:
        setting: size and number of the images, and the device; numpy's images lie in memory.
        repeat: rounds.

    Raises:
        ValueError: the two count differently.
    """
    targets, device = targets_of(setting), setting.device
    generator = torch.Generator().manual_seed(3)
    predictions = torch.randint(0, CLASSES, targets.shape, dtype=torch.uint8, generator=generator).to(device)
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
    times = interleaved(controlled({"ours": ours, "numpy as in score.py": theirs}), repeat, device)
    return {
        "title": f"Confusion matrix of {setting.images}, {CLASSES} classes, {repeat} rounds",
        "rows": rows(times),
        "notes": ["both count the same"],
        "seconds": times.rounds,
    }


def histogram(truth: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.int64]:
    """Counts one image as the authors' score.py does, in its steps: a mask, a cast, one bincount."""
    valid = (truth >= 0) & (truth < CLASSES)
    pairs = CLASSES * truth[valid].astype(int) + predicted[valid]
    return np.bincount(pairs, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
