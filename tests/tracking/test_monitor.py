"""Speed and waiting, by a clock that stands where it is put."""

from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from fcnseg.tracking import monitor
from fcnseg.tracking.monitor import Monitor, Stopwatch, peak_memory
from fcnseg.tracking.tracker import Tracker

FETCH = "[_TrainingEpochLoop].train_dataloader_next"
NET = mock.Mock(spec=LightningModule)


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(time=100.0)
    monkeypatch.setattr(monitor.time, "perf_counter", lambda: now.time)
    return now


class Listener(Tracker):
    """Keeps what it is told."""

    label, key = "W&B", "wandb"
    _start = _show = _end = None

    def _log(self, metrics, step):
        self.told = [*getattr(self, "told", []), (step, metrics)]


Listener.__abstractmethods__ = frozenset()


def trainer(listener, step, world_size=1):
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(_batches_that_stepped=step - 1))
    return mock.Mock(
        spec=Trainer,
        global_step=step,
        log_every_n_steps=10,
        world_size=world_size,
        loggers=[listener],
        fit_loop=loop,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )


def test_only_the_training_loader_is_waited_for(clock):
    stopwatch = Stopwatch()
    for action, seconds in ((FETCH, 2.0), ("[_EvaluationLoop].val_next", 5.0), ("optimizer_step", 7.0), (FETCH, 1.0)):
        with stopwatch.profile(action):
            clock.time += seconds
    assert stopwatch.waited == 3.0


def test_images_per_second_and_waiting_without_validations(tmp_path, clock):
    stopwatch, listener = Stopwatch(), Listener(tmp_path)
    watch, batch = Monitor(stopwatch), SimpleNamespace(images=torch.zeros(4, 3, 2, 2))
    for step in range(1, 21):
        with stopwatch.profile(FETCH):
            clock.time += 0.25
        clock.time += 0.75
        watch.on_train_batch_end(trainer(listener, step, world_size=2), NET, None, batch, 0)
        if step == 10:
            watch.on_validation_start(trainer(listener, step), NET)
            clock.time += 1000
            watch.on_validation_end(trainer(listener, step), NET)
    ((step, entry),) = listener.told  # the first ten steps warm up
    assert step == 19
    assert entry["speed/images_per_s"] == pytest.approx(8)
    assert entry["speed/data_wait"] == pytest.approx(0.25)
    assert entry["memory/peak_gib"] > 0.01


def test_an_accumulated_step_is_told_once(tmp_path, clock):
    listener = Listener(tmp_path)
    watch, batch = Monitor(Stopwatch()), SimpleNamespace(images=torch.zeros(1, 3, 2, 2))
    for step in (10, 10, 20, 20):
        clock.time += 1
        watch.on_train_batch_end(trainer(listener, step), NET, None, batch, 0)
    assert [step for step, _ in listener.told] == [19]
    assert listener.told[0][1]["speed/images_per_s"] == pytest.approx(1)


def test_memory_of_a_process_is_in_gib():
    assert 0.02 < peak_memory(torch.device("cpu")) < 1000
