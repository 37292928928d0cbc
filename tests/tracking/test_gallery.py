"""Pictures are predicted where somebody looks, and only there."""

from unittest import mock

import pytest
from lightning.pytorch import LightningModule, Trainer

from fcnseg.tracking import gallery
from fcnseg.tracking.tracker import PICTURES
from runs import SMALL, trained


@pytest.fixture
def predictions(monkeypatch):
    """Counts what is asked for."""
    asked, original = [], gallery.predicted

    def counted(net, dataset, count):
        asked.append(count)
        return original(net, dataset, count)

    monkeypatch.setattr(gallery, "predicted", counted)
    return asked


def test_each_validation_is_shown_once_to_all(tmp_path, predictions):
    trained(tmp_path, *SMALL, "logger=tensorboard")
    assert predictions == [PICTURES, PICTURES]


def test_without_trackers_nothing_is_predicted(tmp_path, predictions):
    trained(tmp_path, *SMALL)
    assert predictions == []


def test_an_evaluation_shows_nothing(predictions):
    trainer = mock.Mock(spec=Trainer, state=mock.Mock(fn="validate"), is_global_zero=True, datamodule=None)
    gallery.Gallery().on_validation_end(trainer, mock.Mock(spec=LightningModule))
    assert predictions == []
