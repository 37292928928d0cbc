"""A run that ends in the middle, however it ends, goes on to the last bit of one that was never interrupted."""

import re
import signal

import pytest
import torch

from fcnseg.interruption import Stop
from fcnseg.resumption import Checkpoints
from fcnseg.task import SegmentationTask
from fcnseg.trouble import RunError
from killing import Killed, at, die
from runs import SMALL, outcome, trained, unequal
from tiny_voc import write_devkit

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

RUN = (*SMALL, "trainer.max_steps=6", "trainer.val_every=2", "trainer.log_every=4", "backbone.dropout=0.5")
RUN += ("trainer.accumulate=2", "trainer.precision=64-true", "data.replacement=true", "data.train_count=5")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What the run leaves that nobody interrupts."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    trained(folder, *RUN)
    return outcome(folder)


def ask(number):
    return lambda: signal.raise_signal(number)


# ---- killed


@pytest.mark.parametrize(
    ("hook", "number"),
    [
        pytest.param("on_train_batch_end", 6, marks=pytest.mark.slow),  # after a step
        ("on_train_batch_end", 7),  # in the middle of an accumulated step
        ("on_validation_batch_start", 4),  # in the second validation, not the first
        pytest.param("on_validation_end", 3, marks=pytest.mark.slow),  # in the last one
        pytest.param("on_save_checkpoint", 3, marks=pytest.mark.slow),  # between the best checkpoint and the last one
    ],
)
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, monkeypatch, whole, hook, number):
    with monkeypatch.context() as patch:
        at(patch, hook, number, die)
        with pytest.raises(Killed):
            trained(tmp_path, *RUN)
    assert not (tmp_path / "results.json").exists()
    trained(tmp_path, *RUN)
    assert unequal(outcome(tmp_path), whole) == []


@pytest.mark.slow
def test_a_run_killed_after_its_last_step_only_writes_its_results(tmp_path, monkeypatch, whole, capsys):
    with monkeypatch.context() as patch:
        patch.setattr("fcnseg.train.finish", lambda *_: die())
        with pytest.raises(Killed):
            trained(tmp_path, *RUN)
    capsys.readouterr()
    trained(tmp_path, *RUN)
    printed = capsys.readouterr().out
    assert "continued from step 6" in printed
    assert not re.search(r"step \d: ", printed)
    assert unequal(outcome(tmp_path), whole) == []


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path, monkeypatch, whole):
    with monkeypatch.context() as patch:
        at(patch, "on_train_batch_end", 3, die)
        with pytest.raises(Killed):
            trained(tmp_path, *RUN)
    trained(tmp_path, *RUN)
    assert unequal(outcome(tmp_path), whole) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [7, 6])
def test_sampling_and_balance_go_on_to_the_same_bits_and_are_not_counted_again(tmp_path, monkeypatch, whole, number):
    balanced = (*RUN, "loss.keep=0.5", "loss.class_weights=balanced", "loss.balance_sampling=true")
    trained(tmp_path / "whole", *balanced)
    with monkeypatch.context() as patch:
        at(patch, "on_train_batch_end", number, die)
        with pytest.raises(Killed):
            trained(tmp_path / "killed", *balanced)
    monkeypatch.setattr("fcnseg.data.frequencies.class_pixels", lambda *_: die())
    trained(tmp_path / "killed", *balanced)
    expected = outcome(tmp_path / "whole")
    assert unequal(outcome(tmp_path / "killed"), expected) == []
    assert unequal(expected["last"]["state_dict"], whole["last"]["state_dict"]) != []


# ---- asked to end


@pytest.mark.parametrize(
    ("number", "hook", "count", "step", "status"),
    [
        pytest.param(signal.SIGTERM, "on_train_batch_end", 5, 3, 143, marks=pytest.mark.slow),
        (signal.SIGUSR1, "on_validation_batch_start", 2, 2, 143),
        pytest.param(signal.SIGINT, "on_train_batch_end", 1, 1, 130, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_asked_to_end_saves_at_the_next_step(
    tmp_path, monkeypatch, whole, number, hook, count, step, status
):
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        at(patch, hook, count, ask(number))
        with pytest.raises(Stop, match=f"stopped at step {step}: the same command continues from there") as stop:
            trained(tmp_path, *RUN)
    assert stop.value.status == status
    assert signal.getsignal(number) == before
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == step
    trained(tmp_path, *RUN)
    assert unequal(outcome(tmp_path), whole) == []


# ---- between validations


@pytest.mark.slow
def test_checkpoints_come_by_steps_and_by_minutes_too(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(Checkpoints, "_write", lambda self, trainer: written.append(trainer.global_step))
    steps = ("trainer.max_steps=7", "trainer.val_every=100", "trainer.accumulate=1", "trainer.limit_val_batches=1")
    trained(tmp_path / "steps", *SMALL, *steps, "trainer.save_steps=3")
    assert written == [3, 6, 7]
    written.clear()
    trained(tmp_path / "minutes", *SMALL, *steps, "trainer.save_minutes=0", "trainer.max_steps=3")
    assert written == [1, 2, 3]


# ---- something else fails


@pytest.mark.slow
def test_what_was_computed_before_a_read_error_is_not_lost(tmp_path, monkeypatch, whole):
    from fcnseg.data.shapes import Shapes

    def fail():
        raise ValueError("shapes/0003 cannot be read as an image (Input/output error)")

    with monkeypatch.context() as patch:
        at(patch, "read", 2 * 4 + 1, fail, Shapes)  # after two steps of two batches of two images
        with pytest.raises(RunError, match="cannot be read as an image") as error:
            trained(tmp_path, *RUN)
    assert f"The last checkpoint, {tmp_path / 'checkpoints' / 'last.ckpt'}, is whole" in str(error.value)
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2
    assert saved["progress"]["validation_due"]
    trained(tmp_path, *RUN)
    assert unequal(outcome(tmp_path), whole) == []


def test_what_was_restored_does_not_stay_in_memory(tmp_path, monkeypatch):
    from fcnseg import resumption

    short = (
        *SMALL,
        "trainer.max_steps=2",
        "trainer.save_steps=1",
        "trainer.val_every=2",
        "trainer.limit_val_batches=1",
    )
    with monkeypatch.context() as patch:
        at(patch, "on_train_batch_end", 2, die)
        with pytest.raises(Killed):
            trained(tmp_path, *short)
    restore, start, held, left = resumption.restore, Checkpoints.on_train_start, [], []
    monkeypatch.setattr(resumption, "restore", lambda *a: (held.append(a[2]), restore(*a))[1])
    monkeypatch.setattr(Checkpoints, "on_train_start", lambda *a: (left.append(len(held[0])), start(*a))[1])
    trained(tmp_path, *short)
    assert left == [0]


@pytest.mark.slow
def test_a_resumed_task_keeps_the_best_validation_and_the_last(tmp_path, monkeypatch, whole):
    resumed = []
    at(monkeypatch, "on_validation_end", 3, die)
    with pytest.raises(Killed):
        trained(tmp_path, *RUN)
    original = SegmentationTask.resume
    monkeypatch.setattr(SegmentationTask, "resume", lambda *a: (original(*a), resumed.append(a[0]))[0])
    trained(tmp_path, *RUN)
    assert resumed[0].validations[-1].step == 6
    assert len(resumed[0].validations) <= 3


@pytest.mark.slow
def test_a_run_may_go_on_with_other_numbers_of_processes(tmp_path, monkeypatch, whole):
    """The losses since the last entry, which two processes would have shared, are added up."""
    with monkeypatch.context() as patch:
        at(patch, "on_train_batch_end", 7, die)
        with pytest.raises(Killed):
            trained(tmp_path, *RUN)
    path = tmp_path / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    shares = content["progress"]["task"]["losses"] / 2
    assert shares.shape == (1, 3)
    assert shares[:, :2].all()
    content["progress"]["task"]["losses"] = torch.cat([shares, shares])
    torch.save(content, path)
    trained(tmp_path, *RUN)
    assert unequal(outcome(tmp_path), whole) == []


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["pami_heavy", "release_alexnet", "cvpr2015"])
def test_the_published_recipes_go_on_to_the_same_bits(tmp_path, monkeypatch, recipe):
    photos = ("data=voc2012", f"data.root={write_devkit(tmp_path / 'VOCdevkit')}", "model=fcn16s", f"recipe={recipe}")
    short = ("trainer.max_steps=4", "trainer.val_every=2", "trainer.accelerator=cpu", "trainer.progress=false")
    short += ("trainer.accumulate=2", "data.workers=0", "optimizer.lr=1e-9")
    trained(tmp_path / "whole", *photos, *short)
    with monkeypatch.context() as patch:
        at(patch, "on_train_batch_end", 7, die)
        with pytest.raises(Killed):
            trained(tmp_path / "killed", *photos, *short)
    trained(tmp_path / "killed", *photos, *short)
    assert unequal(outcome(tmp_path / "killed"), outcome(tmp_path / "whole")) == []
