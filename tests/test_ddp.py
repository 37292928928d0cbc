"""Two processes do what one does: the same gradients, the same scores, every image counted once."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch

from runs import SMALL, outcome, run, said, state_of, surroundings, unequal

pytestmark = pytest.mark.slow

# Without dropout and in float64 the gradients of two processes are those of one up to the order of their sums.
EXACT = [*SMALL, "data.train_count=8", "data.batch_size=4", "trainer.precision=64-true", "backbone.dropout=0"]
EXACT += ["trainer.limit_val_batches=null", "optimizer=sgd", "optimizer.lr=1e-2", "optimizer.warmup=0"]


def results(folder):
    return json.loads((folder / "results.json").read_text())


def succeed(module, *arguments, cwd):
    done = run(module, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert "sync_dist" not in done.stderr
    return done


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A training by two processes that validates on an odd number of images."""
    folder = tmp_path_factory.mktemp("two") / "run"
    done = succeed("train", *EXACT, "trainer.devices=2", f"hydra.run.dir={folder}", cwd=folder.parent)
    return done, folder


def test_every_validation_image_is_counted_once(two):
    assert results(two[1])["num_images"] == 5


def test_one_process_finds_the_same_confusion_matrix(two, tmp_path):
    folder = tmp_path / "evaluation"
    arguments = [f"checkpoint={two[1]}", "trainer.accelerator=cpu", "trainer.devices=1", f"hydra.run.dir={folder}"]
    succeed("evaluate", *arguments, cwd=tmp_path)
    for key in ("confusion_matrix", "mean_iu", "per_class_iu", "num_images"):
        assert results(folder)[key] == results(two[1])[key]
    assert results(folder)["val_loss"] == pytest.approx(results(two[1])["val_loss"], rel=1e-12)


def test_two_processes_evaluate_to_the_same(two, tmp_path):
    folder = tmp_path / "evaluation"
    arguments = [f"checkpoint={two[1]}", "trainer.accelerator=cpu", "trainer.devices=2", f"hydra.run.dir={folder}"]
    succeed("evaluate", *arguments, cwd=tmp_path)
    assert results(folder)["confusion_matrix"] == results(two[1])["confusion_matrix"]


def test_one_process_trains_to_the_same_weights(two, tmp_path):
    folder = tmp_path / "run"
    succeed("train", *EXACT, "trainer.devices=1", f"hydra.run.dir={folder}", cwd=tmp_path)
    one, both = state_of(folder), state_of(two[1])
    assert one.keys() == both.keys()
    for name, value in one.items():
        torch.testing.assert_close(both[name], value, rtol=1e-9, atol=1e-12)
    assert results(folder)["config_hash"] == results(two[1])["config_hash"]


def test_only_the_first_process_writes_and_speaks(two):
    done, folder = two
    assert sorted(path.name for path in folder.iterdir()) == [
        *("checkpoints", "config.yaml", "metrics.csv", "predictions", "results.json", "times.csv")
    ]
    assert done.stdout.count("run folder ") == 2  # at the start and at the end
    assert done.stdout.count("step 2: ") == 1


def test_fewer_validation_images_than_processes_are_counted_once(tmp_path):
    folder = tmp_path / "run"
    succeed("train", *EXACT, "data.val_count=1", "trainer.devices=2", f"hydra.run.dir={folder}", cwd=tmp_path)
    assert results(folder)["num_images"] == 1


def test_an_error_of_one_process_is_said_once_and_ends_both(tmp_path):
    huge = ["optimizer.lr=1e38", "trainer.devices=2", f"hydra.run.dir={tmp_path / 'run'}"]
    done = run("train", *EXACT, *huge, "trainer.max_steps=4", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("error: loss or gradient of step") == 1
    assert "Traceback" not in done.stderr


def test_training_the_head_alone_works_with_two_processes(tmp_path):
    folder = tmp_path / "run"
    head = ["model.train=head", "trainer.max_steps=1", "trainer.devices=2"]
    succeed("train", *EXACT, *head, f"hydra.run.dir={folder}", cwd=tmp_path)
    assert results(folder)["steps"] == 1


def test_one_image_on_two_processes_is_refused_with_the_remedy(tmp_path):
    folder = tmp_path / "run"
    done = run("train", *EXACT, "data.batch_size=1", "trainer.devices=2", f"hydra.run.dir={folder}", cwd=tmp_path)
    assert done.returncode == 1
    assert said(done.stderr) == (
        "error: data.batch_size=1 is shared by 2 processes and must be a multiple of that: set data.batch_size=2 or "
        "fewer trainer.devices"
    )
    assert not (folder / "config.yaml").exists()


LONG = [*EXACT, "trainer.devices=2", "trainer.max_steps=20", "trainer.val_every=10", "trainer.save_steps=1"]


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """What a training leaves that starts its second process by itself."""
    folder = tmp_path_factory.mktemp("long") / "run"
    succeed("train", *LONG, f"hydra.run.dir={folder}", cwd=folder.parent)
    return outcome(folder)


SLOW_TO_END = """
import os, time
from fcnseg import console, train

say = console._say
console._say = lambda *a: (say(*a), time.sleep(0 if os.environ["LOCAL_RANK"] == "1" else 8))
train.main()
"""


def test_the_first_process_is_not_killed_while_it_ends(tmp_path):
    """The trainer looks every five seconds whether a process that it started has failed, and then kills the first."""
    folder, script = tmp_path / "run", tmp_path / "slow.py"
    script.write_text(SLOW_TO_END)
    command = [sys.executable, str(script), *LONG, f"hydra.run.dir={folder}"]
    with subprocess.Popen(command, cwd=tmp_path, env=surroundings(), stderr=subprocess.PIPE, text=True) as started:
        while not (folder / "checkpoints" / "previous.ckpt").exists():
            assert started.poll() is None
            time.sleep(0.05)
        started.send_signal(signal.SIGTERM)
        said_last = started.communicate(timeout=60)[1]
    assert started.returncode == 143, said_last
    assert said_last.count("stopped: stopped at step") == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_the_command_ends_what_it_started_and_the_run_goes_on(tmp_path, long, number, status):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "fcnseg.train", *LONG, f"hydra.run.dir={folder}"]
    with subprocess.Popen(command, cwd=tmp_path, env=surroundings(), stderr=subprocess.PIPE, text=True) as started:
        while not (folder / "checkpoints" / "previous.ckpt").exists():
            assert started.poll() is None
            time.sleep(0.05)
        started.send_signal(number)
        said_last = started.communicate(timeout=60)[1]  # the second process holds the pipe as long as it lives
    assert started.returncode == status
    assert "Traceback" not in said_last
    assert not (folder / "results.json").exists()
    done = succeed("train", *LONG, f"hydra.run.dir={folder}", cwd=tmp_path)
    assert "continued from step" in done.stdout
    assert unequal(outcome(folder), long) == []
