"""Counting the confusion matrix of images: ours, and the authors' numpy."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from fcnseg.benchmarks.nets import CLASSES, Setting, targets_of
from fcnseg.benchmarks.tables import PART, controlled, rows
from fcnseg.fcn import best_classes
from fcnseg.metrics import ConfusionMatrix
from fcnseg.shapes import VOID, Logits, Predictions, Targets
from fcnseg.timing import Times, interleaved

SEGMENTED, RANDOM, SCORES = "predictions as a net makes them", "random pixels", "from scores of every pixel on"

OBJECTS = 2
"""Classes beside background in a drawn image, about as many as in VOC's."""


def measure(setting: Setting, repeat: int) -> dict[str, Any]:
    """Times the confusion matrix of predictions, images one by one as in validation.

    Args:
        setting: size and number of the images, and the device; numpy's images lie in memory.
        repeat: rounds.

    Raises:
        ValueError: the two count differently.
    """
    scores, predictions, targets = segmented(setting)
    timed = {
        SEGMENTED: compared(predictions, targets, repeat, setting.device),
        RANDOM: compared(*scattered(setting), repeat, setting.device),
        SCORES: compared(scores, targets, repeat, setting.device),
    }
    return {
        "title": f"Confusion matrix of {setting.images}, {CLASSES} classes, {repeat} rounds",
        "rows": [row | {PART: name} for name, times in timed.items() for row in rows(times)],
        "notes": [
            "both count the same; numpy has labels in float32 and classes in int64, as score.py has from Caffe's blobs",
            f"label or prediction change from pixel to pixel {changes(predictions, targets):.0f} times an image",
        ],
        "seconds": {name: times.rounds for name, times in timed.items()},
    }


def compared(found: Predictions | Logits, targets: Targets, repeat: int, device: str) -> Times:
    """Times both ways to count predictions [n, h, w], or from scores [n, classes, h, w] on.

    Raises:
        ValueError: they count differently.
    """
    confusion, scored = ConfusionMatrix(CLASSES).to(device), found.ndim == 4
    blobs = found.cpu().numpy() if scored else found.cpu().numpy().astype(np.int64)
    labels = targets.cpu().numpy().astype(np.float32)

    def ours() -> None:
        for image, target in zip(torch.split(found, 1), torch.split(targets, 1), strict=True):
            confusion.update(best_classes(image) if scored else image, target)

    def theirs() -> NDArray[np.int64]:
        total = np.zeros((CLASSES, CLASSES), np.int64)
        for blob, label in zip(blobs, labels, strict=True):
            total += histogram(label.flatten(), (blob.argmax(0) if scored else blob).flatten())
        return total

    ours()
    if not np.array_equal(confusion.matrix.cpu().numpy(), theirs()):
        raise ValueError("the two confusion matrices differ, so their times say nothing: one of them is wrong")
    return interleaved(controlled({"ours": ours, "numpy as in score.py": theirs}), repeat, device)


def segmented(setting: Setting) -> tuple[Logits, Predictions, Targets]:
    """Draws scores and predictions as a net makes them: bilinear from stride 8, near the truth; around objects is void.

    Masks change from pixel to pixel about as often as VOC's, which do so 2241 times in 500x375 pixels.
    """
    generator = torch.Generator().manual_seed(3)
    count, height, width = setting.shape
    coarse = torch.randn(count, CLASSES, height // 128 + 2, width // 128 + 2, generator=generator)
    for image in coarse:
        image[torch.randperm(CLASSES - 1, generator=generator)[OBJECTS:] + 1] -= 9
    coarse[:, 0] += 0.7  # background
    strided = functional.interpolate(coarse, (height // 8 + 1, width // 8 + 1), mode="bilinear")
    strided += 0.05 * torch.randn(strided.shape, generator=generator)
    scores, truth = (functional.interpolate(each, (height, width), mode="bilinear") for each in (strided, coarse))
    labels = truth.argmax(1, keepdim=True).float()
    inner = functional.max_pool2d(labels, 5, 1, 2) == -functional.max_pool2d(-labels, 5, 1, 2)
    targets = labels.byte().masked_fill(~inner, VOID)[:, 0]
    return scores.to(setting.device), scores.argmax(1).byte().to(setting.device), targets.to(setting.device)


def changes(predictions: Predictions, targets: Targets) -> float:
    """Returns how often an image's pair of labels differs from the pixel before it."""
    pairs = (256 * targets.int() + predictions).flatten(1)
    return float((pairs.diff() != 0).sum(1).float().mean())


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
