"""Whatever W&B's service does, a training runs to its end, in its time."""

import json
import time

import pytest

from fcnseg.tracking import wandb_service
from runs import SMALL, run, said
from wandb_file import recorded
from wandb_server import server

KEY = "0" * 40


@pytest.mark.parametrize(
    ("mode", "words"), [("500", "answers 500"), ("hang", "timed out"), ("gone", "Connection refused")]
)
def test_a_service_that_does_not_answer_is_known_at_once(mode, words):
    with server(mode) as (address, _):
        start = time.monotonic()
        assert words in wandb_service.unreachable(address, timeout=0.5)
        assert time.monotonic() - start < 5


def test_a_service_that_refuses_only_the_question_is_there():
    with server("500", after_begin=True) as (address, _):
        assert wandb_service.unreachable(address) is None


def trained(folder, address, **environment):
    places = {f"WANDB_{name}_DIR": str(folder.parent / name) for name in ("DATA", "CACHE", "CONFIG")}
    arguments = (*SMALL, "trainer.max_steps=3", "trainer.val_every=2", "logger=wandb", f"hydra.run.dir={folder}")
    given = places | {"WANDB_BASE_URL": address, "WANDB_API_KEY": KEY, "PYTHONWARNINGS": "ignore"} | environment
    start = time.monotonic()
    done = run("train", *arguments, cwd=folder.parent, **given)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "results.json").read_text())["steps"] == 3
    return done, time.monotonic() - start


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["500", "hang", "gone"])
def test_a_training_whose_service_is_away_records_itself(tmp_path, mode):
    with server(mode) as (address, _):
        done, _ = trained(tmp_path / "run", address)
    assert said(done.stderr).count("W&B cannot be had") == 1
    assert KEY not in done.stderr + done.stdout
    (found,) = recorded(tmp_path / "run")
    assert [step for step, _ in found.curve("train/loss")] == [0, 1, 2]
    assert found.exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["500", "hang", "gone"])
def test_a_training_whose_service_goes_away_is_finished_all_the_same(tmp_path, mode):
    with server(mode, after_begin=True) as (address, asked):
        done, seconds = trained(tmp_path / "run", address)
    assert len(asked) >= 2
    assert "W&B cannot be had" not in done.stderr
    assert "W&B does not answer" in said(done.stderr)
    assert seconds < 240


@pytest.mark.slow
def test_without_a_key_the_run_is_recorded(tmp_path):
    with server("500", after_begin=True) as (address, _):
        done, _ = trained(tmp_path / "run", address, WANDB_API_KEY="", HOME=str(tmp_path), NETRC=str(tmp_path / "no"))
    assert "No API key" in said(done.stderr)
    assert recorded(tmp_path / "run")


def test_a_process_without_a_run_has_nothing_to_close():
    wandb_service.close(0)
