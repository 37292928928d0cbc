"""A run in Weights & Biases."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_only

from fcnseg.data.dataset import Labels
from fcnseg.tracking import wandb_service
from fcnseg.tracking.ledger import STEP_KEY, known_id
from fcnseg.tracking.scores import image_scores
from fcnseg.tracking.tracker import GALLERY, Ending, Legend, Tracker
from fcnseg.visualize import Shown, as_rgb, colourise

SUMMARIES = {
    "train/loss": "min",
    "val/loss": "min",
    "val/mean_iu": "max",
    "val/pixel_acc": "max",
    "val/mean_acc": "max",
    "val/fw_iu": "max",
    "speed/images_per_s": "mean",
    "speed/data_wait": "mean",
    "memory/peak_gib": "max",
}
"""What W&B's tables show of a curve, where it is not its last value."""

LONGEST_TAG, LONGEST_NAME = 64, 128
"""Characters that W&B takes."""

MOST_CLASSES = 100
"""W&B's tables end at 10,000 lines, and a confusion matrix has one for each pair of classes."""

ARTIFACT = "fcnseg"
"""What the names of models begin with."""


class WandbTracker(Tracker):
    """Sends a run to W&B, or records it for later.

    Attributes:
        run: W&B's; None before the start, and where nothing could begin.
    """

    label, key = "W&B", "wandb"

    def __init__(
        self,
        folder: Path,
        *,
        project: str,
        offline: bool = False,
        group: str | None = None,
        job_type: str | None = None,
        tags: Sequence[str] = (),
        artifact: str | None = None,
    ) -> None:
        """Says where the run belongs.

        Args:
            folder: the run's.
            project: of W&B.
            offline: record it in the folder only.
            group: runs that belong together.
            job_type: what this one is among them.
            tags: words to search for.
            artifact: which checkpoint to hand over at the end, last or best; None is neither.
        """
        super().__init__(folder)
        self.project, self.offline, self.artifact = project, offline, artifact
        self.place = {"group": group, "job_type": job_type, "tags": [tag[:LONGEST_TAG] for tag in tags]}
        self.run: Any = None
        self._later = self.ledger.entries  # W&B's own count of entries goes on from here

    @property
    def is_open(self) -> bool:
        """Whether W&B has begun a run."""
        return self.run is not None

    def _start(self, facts: Mapping[str, Any], diff: str | None) -> None:
        self.ledger.id = os.environ.get("WANDB_RUN_ID") or self.ledger.id  # an agent of a sweep has named the run
        # What artifacts are made of stays beside the record that names it, until it is sent.
        os.environ.setdefault("WANDB_DATA_DIR", str(self.folder / "wandb" / "data"))
        self.run = wandb_service.begin(
            self.offline,
            dir=str(self.folder),
            project=self.project,
            id=self.ledger.id,
            name=self.folder.name[:LONGEST_NAME],
            resume="allow",
            config=dict(facts),
            **self.place,
        )
        self.run.define_metric(STEP_KEY, hidden=True)
        self.run.define_metric("*", step_metric=STEP_KEY, step_sync=True)
        for name, summary in SUMMARIES.items():
            self.run.define_metric(name, step_metric=STEP_KEY, step_sync=True, summary=summary)
        self.ledger.save()
        if diff:
            path = Path(self.run.dir) / "source.diff"
            path.write_text(diff)
            self.run.save(str(path), base_path=self.run.dir, policy="now")

    def _log(self, metrics: Mapping[str, Any], step: int | None) -> None:
        at = {} if step is None else {STEP_KEY: step}
        later, self._later = self._later, 0
        self.run.log({**metrics, **at}, **({"step": later} if later > self.run.step else {}))

    def _show(self, shown: Sequence[Shown], legend: Legend, step: int) -> None:
        self._log({GALLERY: [picture(one, legend) for one in shown]}, step)

    # ---- the end

    def _end(self, ending: Ending) -> None:
        for act in (self._summarise, self._tabulate, self._confuse, self._hand_over):
            self.attempt(lambda act=act: act(ending))  # type: ignore[misc]

    def _summarise(self, ending: Ending) -> None:
        flat = {key: value for key, value in ending.content.items() if isinstance(value, int | float | str)}
        best = {f"best/{key}": value for key, value in ending.content["best"].items() if key != "per_class_iu"}
        self.run.summary.update({f"results/{key}": value for key, value in flat.items()} | best)

    def _tabulate(self, ending: Ending) -> None:
        import wandb

        legend = ending.legend
        table = wandb.Table(columns=["id", "image", "prediction", "truth", "mean IU", "pixel acc."])
        for one in ending.shown:
            scores = image_scores(one.prediction, one.truth, len(legend.classes), legend.void)
            prediction, truth = colourise(one.prediction, None), colourise(one.truth, legend.void)
            pictures = (picture(one, legend), wandb.Image(prediction), wandb.Image(truth))
            table.add_data(one.name, *pictures, scores.mean_iu, scores.pixel_acc)
        self.run.log({"val/predictions": table})

    def _confuse(self, ending: Ending) -> None:
        import wandb

        counts = ending.content["confusion_matrix"]
        names = [*ending.legend.classes, *map(str, range(len(ending.legend.classes), len(counts)))]
        if len(names) > MOST_CLASSES:
            return
        rows = [[names[i], names[j], count] for i, row in enumerate(counts) for j, count in enumerate(row)]
        table = wandb.Table(columns=["Actual", "Predicted", "nPredictions"], data=rows)
        fields: dict[str, Any] = {str(column): column for column in table.columns}
        title = {"title": "Confusion matrix, pixels"}
        chart = wandb.plot_table("wandb/confusion_matrix/v1", table, fields, title)
        self.run.log({"val/confusion_matrix": chart})

    def _hand_over(self, ending: Ending) -> None:
        """Hands the checkpoint over, as made from that of the coarser net."""
        import wandb

        if self.artifact is None:
            return
        content, lineage = ending.content, ending.content.get("lineage", [])
        parents = [artifact_name(id_) for each in lineage if (id_ := known_id(Path(each["folder"]), self.key))]
        keys = ("model", "backbone", "data", "output_stride", "mean_iu", "steps", "config_hash", "commit")
        metadata = {key: content.get(key) for key in keys} | {"lineage": lineage, "parents": parents}
        if parents and not self.run.settings._offline:  # without the service nobody can say whether it is there
            with suppress(Exception):
                self.run.use_artifact(f"{parents[0]}:latest")
        artifact = wandb.Artifact(artifact_name(self.ledger.id), "model", metadata=metadata)
        for path in (ending.folder / "checkpoints" / f"{self.artifact}.ckpt", ending.folder / "config.yaml"):
            artifact.add_file(str(path), policy="immutable", skip_cache=True)
        self.run.log_artifact(artifact, aliases=["latest", self.artifact, str(content["model"])])

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Does nothing: the process's end is the run's, see wandb_service.close."""


def artifact_name(run_id: str) -> str:
    """Returns under which name W&B has the checkpoint of a run."""
    return f"{ARTIFACT}-{run_id}"


def picture(one: Shown, legend: Legend) -> Any:
    """Returns an image with its masks, which W&B draws over it."""
    import wandb

    image = as_rgb(one.image)
    if legend.void < 0 or legend.void > 255 or one.prediction.dtype != np.uint8:  # masks hold a byte a pixel
        drawn = colourise(one.prediction, None), colourise(one.truth, legend.void)
        return wandb.Image(np.hstack([image, *drawn]), caption=f"{one.name}: image, prediction, truth")
    names = dict(enumerate(legend.classes)) | {legend.void: "void"}
    masks = {"prediction": one.prediction, "ground_truth": one.truth}
    layers = {key: {"mask_data": _bytes(mask), "class_labels": names} for key, mask in masks.items()}
    return wandb.Image(image, masks=layers, caption=one.name)


def _bytes(mask: Labels) -> Labels:
    return mask.astype(np.uint8)
