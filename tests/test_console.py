"""The last words of a run, and its exit status."""

import contextlib
import os
import warnings

import pytest
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.utilities import rank_zero_only

from fcnseg import console
from fcnseg.console import quiet_lightning, reported, said_of_splits
from fcnseg.guard import NonFiniteError
from fcnseg.interruption import STARTED_BY, Stop
from fcnseg.trouble import RunError
from runs import said


def last_words(folder, capsys, error, cause=None):
    with pytest.raises(SystemExit) as ended, reported(folder):
        raise error from cause
    return ended.value.code, said(capsys.readouterr().err)


@pytest.mark.parametrize("status", [143, 130])
def test_a_run_that_was_asked_to_end_says_where_it_is_and_ends_with_the_status(tmp_path, capsys, status):
    words = "stopped: stopped at step 7: the same command continues from there"
    assert last_words(tmp_path, capsys, Stop(status, 7)) == (status, words)


@pytest.mark.parametrize(
    ("starter", "status"),
    [(os.getppid(), 0), (os.getpid(), 143), ("", 143)],
    ids=["started by ours", "started by another", "started by nobody"],
)
def test_a_process_that_another_one_of_the_run_started_leaves_the_status_to_that_one(
    tmp_path, capsys, monkeypatch, starter, status
):
    monkeypatch.setenv(STARTED_BY, str(starter))
    assert last_words(tmp_path, capsys, Stop(143, 7))[0] == status


def test_what_the_user_can_mend_is_one_line_and_status_1(tmp_path, capsys):
    assert last_words(tmp_path, capsys, RunError("the disk is full: make room")) == (
        1,
        "error: the disk is full: make room",
    )


def test_what_all_processes_find_is_said_by_the_first_one_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert last_words(tmp_path, capsys, Stop(143, 7)) == (143, "")
    assert last_words(tmp_path, capsys, RunError("not finite"), NonFiniteError()) == (1, "")
    assert last_words(tmp_path, capsys, RunError("image a")) == (1, "error: image a")


@pytest.mark.parametrize("error", [Stop(143, 7), RunError("no"), RuntimeError("nobody foresaw this")])
def test_one_of_several_processes_ends_at_once(tmp_path, capsys, monkeypatch, error):
    """At the end of the interpreter it would wait for the others."""

    class EndedError(BaseException):
        pass

    def leave(status):
        raise EndedError(status)

    monkeypatch.setattr(console, "_is_one_of_several", lambda: True)
    monkeypatch.setattr("os._exit", leave)
    with pytest.raises(EndedError, match="143" if isinstance(error, Stop) else "1"), reported(tmp_path):
        raise error


def test_alone_an_error_that_nobody_foresaw_keeps_its_traceback(tmp_path):
    with pytest.raises(RuntimeError, match="foresaw"), reported(tmp_path):
        raise RuntimeError("nobody foresaw this")


@pytest.mark.parametrize(
    ("error", "status"), [(None, 0), (Stop(143, 7), 143), (RunError("no"), 1), (RuntimeError("nobody foresaw"), 1)]
)
def test_wandb_is_told_the_status_that_the_process_ends_with(tmp_path, monkeypatch, error, status):
    told = []
    monkeypatch.setattr(console.wandb_service, "close", told.append)
    with contextlib.suppress(SystemExit, RuntimeError), reported(tmp_path):
        if error is not None:
            raise error
    assert told == [status]


def test_what_is_missing_is_said_in_words_and_what_is_not_is_not():
    remarks = {"split_missing": {"train": 0, "val": 1507}, "split_overlap": {"train": 0}}
    assert said_of_splits(remarks) == ["images that a list names and that are not on disk: train 0, val 1,507"]


def test_a_machine_from_which_slurm_takes_jobs_is_no_reason_to_warn(tmp_path, monkeypatch):
    (tmp_path / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PossibleUserWarning, match="srun"):
            SLURMEnvironment.detect()
        quiet_lightning()
        assert not SLURMEnvironment.detect()
