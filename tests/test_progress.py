"""A bar on terminals, and lines that a log can keep everywhere else."""

import io
import os
import pty
import re
import subprocess
import sys
from unittest import mock

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from fcnseg import progress
from fcnseg.progress import Announcer, ProgressBar, callbacks, device_name, duration
from runs import SMALL, run, said, surroundings

NET = mock.Mock(spec=LightningModule)
LIVELY = [each for each in SMALL if each != "trainer.progress=false"]


@pytest.mark.parametrize(("terminal", "wanted", "kinds"), [(True, True, 2), (True, False, 1), (False, True, 1)])
def test_a_bar_needs_a_terminal(monkeypatch, terminal, wanted, kinds):
    monkeypatch.setattr(progress, "is_terminal", lambda: terminal)
    assert [type(each) for each in callbacks(wanted)] == [Announcer, ProgressBar][:kinds]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("file", "environment", "expected"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"TERM": "dumb", "FORCE_COLOR": "1"}, False),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, False),
        (io.StringIO(), {"TTY_COMPATIBLE": "1"}, False),
    ],
)
def test_a_terminal_is_what_can_draw_and_no_log(monkeypatch, file, environment, expected):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm"} | environment).items():
        monkeypatch.setenv(name, value)
    assert progress.is_terminal(file) is expected


def test_what_is_captured_is_no_terminal():
    assert not progress.is_terminal()


def test_time_left_and_device_in_words():
    assert duration(3725.9) == "1:02:05"
    assert device_name("cpu") == device_name(torch.device("cpu")) == "cpu"


def test_the_time_left_counts_from_where_the_run_was_continued(monkeypatch):
    announcer = Announcer()
    monkeypatch.setattr(progress.time, "monotonic", lambda: 100.0)
    announcer.on_train_start(mock.Mock(spec=Trainer, global_step=40), NET)
    monkeypatch.setattr(progress.time, "monotonic", lambda: 130.0)
    assert announcer._left(50, 100) == ", 0:02:30 left"
    assert announcer._left(100, 100) == announcer._left(40, 100) == ""


def test_the_bar_asks_for_scores_as_often_as_they_are_logged(monkeypatch):
    """Each look waits for a GPU."""
    asked = []
    monkeypatch.setattr(progress.RichProgressBar, "_update_metrics", lambda *arguments: asked.append(1))
    for step in range(1, 21):
        trainer = mock.Mock(spec=Trainer, validating=False, global_step=step, log_every_n_steps=10)
        ProgressBar()._update_metrics(trainer, NET)
    assert len(asked) == 2


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "t2"}, {"NO_COLOR": "1"}])
def test_a_log_holds_lines_without_control_characters(tmp_path, environment):
    done = run("train", *LIVELY, f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", done.stdout + done.stderr)
    lines = done.stdout.splitlines()
    assert sum(line.startswith("step ") for line in lines) == 2
    printed = said(done.stdout)
    assert "device cpu, precision 32-true; curves go to metrics.csv" in printed
    assert f"best weights {tmp_path / 'run' / 'checkpoints' / 'best.ckpt'}" in printed
    assert len(lines) < 40


def on_terminal(arguments, folder, **environment):
    """Runs a training on a terminal and returns what it drew."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fcnseg.train", *arguments, f"hydra.run.dir={folder}"]
    given = surroundings() | {"TERM": "xterm-256color", "COLUMNS": "160"} | environment
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=given, cwd=folder.parent)
    os.close(theirs)
    drawn = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        drawn += part
    os.close(ours)
    assert process.wait() == 0, drawn
    return drawn.decode(errors="replace")


@pytest.mark.slow
def test_a_terminal_shows_scores_time_left_and_device(tmp_path):
    drawn = on_terminal(LIVELY, tmp_path / "run")
    assert "training on cpu" in drawn
    assert "val/mean_iu" in drawn
    assert "•" in drawn  # between the time that has passed and the time left
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", drawn)


@pytest.mark.slow
def test_no_color_means_no_colour_on_terminals_either(tmp_path):
    drawn = on_terminal(LIVELY, tmp_path / "run", NO_COLOR="1")
    assert "training on cpu" in drawn
    assert not re.search(r"\x1b\[(?:[0-9]+;)*(?:3[0-8]|4[0-8]|9[0-7])(?:;[0-9]+)*m", drawn)
