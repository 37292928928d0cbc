"""Pictures of the same validation images at every validation."""

from lightning.pytorch import Callback, LightningModule, Trainer

from fcnseg.data.datamodule import SegmentationData
from fcnseg.task import SegmentationTask
from fcnseg.tracking.tracker import GALLERY, PICTURES, Legend, Tracker, trackers
from fcnseg.visualize import predicted


class Gallery(Callback):
    """Shows the trackers what the net predicts; goes behind the checkpoint among the callbacks."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Predicts a few images, in the first process alone."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.state.fn != "fit" or not trainer.is_global_zero or not isinstance(data, SegmentationData):
            return
        assert isinstance(pl_module, SegmentationTask)
        step = trainer.fit_loop.epoch_loop._batches_that_stepped
        wanting = [each for each in trackers(trainer.loggers) if each.is_open and each.ledger.lacks(GALLERY, step)]
        if wanting:
            wanting[0].attempt(lambda: show(wanting, pl_module, data, step))


def show(wanting: list[Tracker], task: SegmentationTask, data: SegmentationData, step: int) -> None:
    """Predicts the pictures once and shows them to several trackers."""
    shown = predicted(task.model, data.val, PICTURES)
    for tracker in wanting:
        tracker.show(shown, legend(data), step)


def legend(data: SegmentationData) -> Legend:
    """Says what the labels of a data set mean."""
    return Legend(tuple(data.val.source.classes), data.val.source.void)
