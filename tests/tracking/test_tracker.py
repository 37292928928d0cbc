"""A tracker that fails never stops a training, and says so once."""

import errno
from unittest import mock

import pytest
from lightning.pytorch.utilities import rank_zero_only

from fcnseg import build
from fcnseg.tracking.tracker import Ending, Legend, Tracker, trackers
from runs import SMALL, outcome, said, trained, unequal


class Full(Tracker):
    """Stands for a service on a full disk."""

    label, key = "W&B", "wandb"

    def __init__(self, folder, fails=True):
        super().__init__(folder)
        self.fails, self.sent = fails, []

    def _start(self, facts, diff):
        self._log("start", None)

    def _log(self, metrics, step):
        if self.fails:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.sent.append((step, metrics))

    def _show(self, shown, legend, step):
        self._log("pictures", step)

    def _end(self, ending):
        self._log("end", None)


@pytest.mark.slow
def test_a_training_goes_on_to_the_same_bits_and_says_once_what_is_missing(tmp_path, monkeypatch, capsys):
    trained(tmp_path / "plain", *SMALL)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        original = build.build_loggers
        patch.setattr(build, "build_loggers", lambda *arguments: [*original(*arguments), Full(arguments[1])])
        trained(tmp_path / "full", *SMALL)
    printed = said(capsys.readouterr().err)
    assert printed.count("W&B misses something of this run, which goes on without") == 1
    assert "No space left on device" in printed
    assert unequal(outcome(tmp_path / "full"), outcome(tmp_path / "plain")) == []


def test_what_failed_is_sent_when_it_is_made_again(tmp_path):
    tracker = Full(tmp_path)
    tracker.log_metrics({"a": 1.0}, 3)
    assert tracker.ledger.lacks("a", 3)
    tracker.fails = False
    tracker.log_metrics({"a": 1.0}, 3)
    tracker.log_metrics({"a": 1.0}, 3)
    assert tracker.sent == [(3, {"a": 1.0})]


def test_what_nobody_took_does_not_count_as_sent(tmp_path):
    class Closed(Full):
        is_open = False

    tracker = Closed(tmp_path, fails=False)
    tracker.log_metrics({"a": 1.0}, 3)
    tracker.show([], Legend(("background",), 255), 3)
    tracker.end(mock.Mock(spec=Ending))
    assert tracker.sent == []
    assert tracker.ledger.lacks("a", 3)


def test_a_message_shows_no_secret(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "hush-hush-hush")
    tracker = Full(tmp_path)

    def fail():
        raise RuntimeError("401 for hush-hush-hush\nand more")

    tracker.attempt(fail)
    printed = said(capsys.readouterr().err)
    assert "hush" not in printed
    assert "401 for $WANDB_API_KEY" in printed
    assert "more" not in printed


@pytest.mark.parametrize("act", ["start", "log_metrics", "show", "end"])
def test_other_processes_than_the_first_send_nothing(tmp_path, monkeypatch, act):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    tracker = Full(tmp_path, fails=False)
    legend = Legend(("a", "b"), 255)
    arguments = {
        "start": ({}, None),
        "log_metrics": ({"a": 1.0}, 0),
        "show": ([], legend, 0),
        "end": (Ending({}, [], legend, tmp_path),),
    }
    getattr(tracker, act)(*arguments[act])
    assert tracker.sent == []
    assert trackers([tracker]) == [tracker]
