"""A run in TensorBoard: event files in the run folder, under the same names as in W&B."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_only

from fcnseg.tracking.scores import image_scores
from fcnseg.tracking.tracker import GALLERY, Ending, Legend, Tracker
from fcnseg.visualize import Shown, as_rgb, colourise, overlay

CELL = 12
"""Pixels of a cell in the picture of a confusion matrix."""


class TensorboardTracker(Tracker):
    """Writes FOLDER/tensorboard, which ``tensorboard --logdir`` reads.

    Attributes:
        writer: torch's; None before the start, and where nothing could begin.
    """

    label, key = "TensorBoard", "tensorboard"

    def __init__(self, folder: Path) -> None:
        """Takes the run folder."""
        super().__init__(folder)
        self.writer: Any = None

    @property
    def is_open(self) -> bool:
        """Whether there is a file of events."""
        return self.writer is not None

    def _start(self, facts: Mapping[str, Any], diff: str | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.folder / "tensorboard"))
        if self.ledger.lacks("run", 0):
            self.writer.add_text("run", _verbatim(json.dumps(facts, indent=1, default=str)), 0)
            if diff:
                self.writer.add_text("run/source.diff", _verbatim(diff), 0)
            self.ledger.note({"run": None}, 0)

    def _log(self, metrics: Mapping[str, float], step: int | None) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, float(value), step)
        self.writer.flush()

    def _show(self, shown: Sequence[Shown], legend: Legend, step: int) -> None:
        for one in shown:
            self.writer.add_image(f"{GALLERY}/{one.name}", _strip(one, legend), step, dataformats="HWC")
        self.writer.flush()

    def _end(self, ending: Ending) -> None:
        content, legend, step = ending.content, ending.legend, int(ending.content["steps"])
        lines = ["| id | mean IU | pixel acc. |", "| --- | --- | --- |"]
        for one in ending.shown:
            scores = image_scores(one.prediction, one.truth, len(legend.classes), legend.void)
            lines.append(f"| {one.name} | {100 * scores.mean_iu:.1f} | {100 * scores.pixel_acc:.1f} |")
        self.writer.add_text("val/predictions", "\n".join(lines), step)
        matrix = confusion_picture(content["confusion_matrix"])
        self.writer.add_image("val/confusion_matrix", matrix, step, dataformats="HWC")
        self.writer.close()  # a thread ends; flushing goes on to work

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes what is left; the end of a run may still follow."""
        if self.writer is not None:
            self.attempt(self.writer.flush)


def confusion_picture(counts: Sequence[Sequence[int]]) -> Any:
    """Draws a confusion matrix [h, w, 3], truth in rows: the darker, the more of the class's pixels are there."""
    matrix = np.asarray(counts, float)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    grey = np.uint8(255 * (1 - np.sqrt(shares)))
    return np.kron(grey, np.ones((CELL, CELL), np.uint8))[:, :, None].repeat(3, axis=2)


def _strip(one: Shown, legend: Legend) -> Any:
    """Lays image, truth, prediction and overlay side by side."""
    image = as_rgb(one.image)
    truth, prediction = colourise(one.truth, legend.void), colourise(one.prediction, None)
    return np.hstack([image, truth, prediction, overlay(image, one.prediction, void=None)])


def _verbatim(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())  # Markdown's way of leaving text alone
