"""Curves go to metrics.csv whatever else was asked for."""

import pytest

from fcnseg.config import LoggerConfig
from fcnseg.journal import Journal, Times
from fcnseg.loggers import build_loggers, watchers
from fcnseg.resumption import Checkpoints
from fcnseg.tracking.gallery import Gallery
from fcnseg.tracking.monitor import Monitor, Stopwatch
from fcnseg.tracking.tensorboard_tracker import TensorboardTracker
from fcnseg.tracking.wandb_tracker import WandbTracker

PLACE = {"group": None, "job_type": None, "tags": []}


def test_metrics_are_always_written(tmp_path):
    loggers = build_loggers(LoggerConfig(), tmp_path, Checkpoints(tmp_path), PLACE)
    entries, times = loggers
    assert isinstance(entries, Journal)
    assert isinstance(times, Times)
    assert (entries.path, times.path) == (tmp_path / "metrics.csv", tmp_path / "times.csv")
    assert watchers(loggers, Stopwatch()) == []


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("wandb", [WandbTracker]),
        ("tensorboard", [TensorboardTracker]),
        (["wandb", "tensorboard"], [WandbTracker, TensorboardTracker]),
        (["csv", "tensorboard", "tensorboard"], [TensorboardTracker]),
    ],
)
def test_trackers_stand_beside(tmp_path, name, kinds):
    loggers = build_loggers(LoggerConfig(name=name), tmp_path, Checkpoints(tmp_path), PLACE)
    assert [type(logger) for logger in loggers] == [Journal, Times, *kinds]
    # The monitor's clock goes on after a validation, so whatever else is done there comes before.
    assert [type(each) for each in watchers(loggers, Stopwatch())] == [Gallery, Monitor]


def test_wandb_learns_what_belongs_together(tmp_path):
    place = {"group": "t2", "job_type": "16s", "tags": ["a", "b" * 70]}
    *_, tracker = build_loggers(LoggerConfig(name="wandb"), tmp_path, Checkpoints(tmp_path), place)
    assert tracker.place == place | {"tags": ["a", "b" * 64]}
