"""Faults from outside, on real processes; and the table of faults, which names a test for each."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runs import SMALL, outcome, surroundings, unequal
from warm import Training, finished, steps_of

TABLE = Path(__file__).parents[1] / "docs" / "faults.md"
LONG = (*SMALL, "trainer.max_steps=12", "trainer.val_every=6", "trainer.save_steps=1", "data.workers=0")
RARE = (*LONG, "trainer.save_steps=null")
"""The same with checkpoints at validations only, as by default."""


def rows():
    """The table's rows: fault, what the user sees, what is kept, tests."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_fault_of_the_table_has_a_test_that_exists():
    assert len(rows()) >= 20
    for row in rows():
        assert len(row) == 4, row
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row[3])
        assert named, row
        for file, test in named:
            assert re.search(rf"^def {test}\(", (TABLE.parents[1] / file).read_text(), re.MULTILINE), (file, test)


pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    base = tmp_path_factory.mktemp("whole")
    finished(base / "one", LONG)
    finished(base / "two", LONG, processes=2)
    return {1: outcome(base / "one"), 2: outcome(base / "two")}


def children(pid):
    """The loader workers of a process."""
    tasks = Path(f"/proc/{pid}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 143)])
def test_a_signal_to_the_whole_group_is_no_accident_of_its_workers(tmp_path, whole, number, status):
    """A terminal's Ctrl-C, and what many schedulers send, reaches the loader workers too."""
    run = (*RARE, "data.workers=2")
    training = Training(tmp_path / "run", run)
    training.until(lambda: (tmp_path / "run" / "metrics.csv").exists())
    os.killpg(training.processes[0].pid, number)
    assert training.wait() == status
    assert "stopped: stopped at step" in training.said()
    reached = steps_of(tmp_path / "run")
    assert reached > 0
    assert f"continued from step {reached}" in finished(tmp_path / "run", run)
    assert unequal(outcome(tmp_path / "run"), whole[1]) == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_a_long_validation_ends_the_process_and_its_workers(tmp_path, number, status):
    """Its loader is at work then, and workers leave the signals that Python would end them by to the training."""
    folder = tmp_path / "run"
    run = (*SMALL, "data.workers=2", "data.val_count=3000", "trainer.limit_val_batches=null")
    words = [sys.executable, "-m", "fcnseg.train", *run, f"hydra.run.dir={folder}"]
    with subprocess.Popen(words, cwd=tmp_path, env=surroundings(), stdout=-1, stderr=-2, text=True) as training:
        deadline = time.monotonic() + 120
        while not any(folder.glob("checkpoints/*.ckpt")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2)  # the checkpoint lies between two validations, of half a minute each
        assert len(children(training.pid)) >= 2
        training.send_signal(number)
        said, _ = training.communicate(timeout=60)
    assert training.returncode == status
    assert "stopped: stopped at step" in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
def test_a_killed_loader_worker_ends_the_run_in_one_line(tmp_path, whole):
    training = Training(tmp_path / "run", (*RARE, "data.workers=2"))
    training.until(lambda: steps_of(tmp_path / "run") >= 6)
    for child in children(training.processes[0].pid):
        os.kill(child, signal.SIGKILL)
    assert training.wait() == 1
    assert "error: a loader worker (process" in training.said()
    assert "data.workers=1" in training.said()
    assert "Traceback" not in training.said()
    assert "continued from step" in finished(tmp_path / "run", RARE)
    assert unequal(outcome(tmp_path / "run"), whole[1]) == []


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_takes_the_other_with_it_and_the_run_can_be_continued(tmp_path, whole, rank):
    training = Training(tmp_path / "run", LONG, processes=2)
    training.until(lambda: steps_of(tmp_path / "run") >= 2)
    training.processes[rank].kill()
    other = training.processes[1 - rank]
    other.join(60)
    assert other.exitcode == 1
    assert "error: another process of this run has ended" in training.said()
    assert "Traceback" not in training.said()
    training.kill()
    finished(tmp_path / "run", LONG, processes=2)
    assert unequal(outcome(tmp_path / "run"), whole[2]) == []


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_process_ends_all_of_them_at_the_same_step(tmp_path, whole, rank):
    training = Training(tmp_path / "run", LONG, processes=2)
    training.until(lambda: steps_of(tmp_path / "run") >= 2)
    os.kill(training.processes[rank].pid, signal.SIGTERM)
    training.wait()
    assert [each.exitcode for each in training.processes] == [143, 143]
    assert training.said().count("stopped: stopped at step") == 1
    finished(tmp_path / "run", LONG, processes=2)
    assert unequal(outcome(tmp_path / "run"), whole[2]) == []


@pytest.mark.slow
def test_of_two_that_start_on_one_folder_one_wins_and_the_other_says_so(tmp_path):
    first, second = (Training(tmp_path / "run", LONG) for _ in range(2))
    assert sorted([first.wait(), second.wait()]) == [0, 1]
    assert "error: another process works in" in first.said()  # both print to the same file
    assert (tmp_path / "run" / "results.json").exists()
