"""Run folders: the finished, the failed, the unfinished, the damaged, and those of others."""

import json
import os

import pytest

from fcnseg.reports.collect import collect, find_runs, read_entries, read_job
from sweeps import results, write_job


def states(jobs):
    return {(job.row, job.seed): job.state for job in jobs}


def test_every_job_is_found_in_its_state(experiment, runs):
    jobs = collect(runs / "small", experiment)
    assert states(jobs) == {
        **{(row, seed): "finished" for row in ("16s", "32s") for seed in (0, 1)},
        ("8s", 0): "finished",
        ("8s", 1): "failed at step 120 of 400",
    }
    assert [job.error for job in jobs if job.error] == ["ValueError: out of memory"]


@pytest.mark.parametrize(
    ("note", "console", "state", "error"),
    [
        (None, None, "not finished at step 50 of 400", ""),
        (None, "step 50: fine, loss 0.1", "not finished at step 50 of 400", ""),
        (None, "error: no room\n\n", "failed at step 50 of 400", "error: no room"),
        ({"state": "running"}, "an error of an earlier try", "not finished at step 50 of 400", ""),
        ({"state": "running", "cluster_id": "7"}, None, "running at step 50 of 400", ""),
        ({"state": "refused", "error": "it needs 9 GPUs"}, None, "refused at step 50 of 400", "it needs 9 GPUs"),
        ({"state": "blocked", "error": "starts from job 0"}, None, "blocked at step 50 of 400", "starts from job 0"),
        ({"state": "failed", "error": "first\nlast"}, None, "failed at step 50 of 400", "last"),
        ({"state": "failed"}, None, "failed at step 50 of 400", "-"),
        ({"state": "waiting"}, None, "waiting at step 50 of 400", ""),
        ("no mapping", None, "not finished at step 50 of 400", ""),
    ],
)
def test_what_became_of_a_job_is_said(tmp_path, note, console, state, error):
    folder = write_job(tmp_path / "job", "8s", 3, steps=50, finished=False)
    if note is not None:
        (folder / "job.json").write_text(json.dumps(note))
    if console is not None:
        (folder / "console.log").write_text(console)
    job = read_job(folder)
    assert (job.row, job.seed, job.state, job.error, job.finished) == ("8s", 3, state, error, False)


def test_a_job_whose_launcher_lives_is_running(tmp_path, monkeypatch):
    folder = write_job(tmp_path / "job", "8s", steps=50, finished=False)
    (folder / "job.json").write_text(json.dumps({"state": "running"}))
    monkeypatch.setattr("fcnseg.reports.collect.is_held", lambda path: path == folder / ".job.lock")
    assert read_job(folder).state == "running at step 50 of 400"


def test_jobs_of_another_scale_or_table_are_passed_over(experiment, runs, tmp_path):
    with pytest.raises(FileNotFoundError, match="no runs of t2 of scale=full in"):
        collect(runs / "small", experiment, "full")
    assert len(collect(runs / "small", experiment, "small")) == len(collect(runs / "small", experiment))
    folder = write_job(runs / "small" / "other", "8s", 7, finished=False)
    config = json.loads((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(json.dumps(config | {"experiment": {"title": "another table"}}))
    assert ("8s", 7) not in states(collect(runs / "small", experiment))


def test_a_job_that_has_not_begun_is_known_by_its_note_alone(tmp_path):
    (tmp_path / "job.json").write_text(json.dumps({"row": "8s", "seed": 2, "state": "waiting"}))
    assert read_job(tmp_path).state == "waiting"


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe", b""])
def test_damaged_results_are_a_failure_and_not_a_crash(tmp_path, content):
    folder = write_job(tmp_path / "job", "8s")
    (folder / "results.json").write_bytes(content)
    job = read_job(folder)
    assert (job.state, job.finished) == ("failed", False)
    assert "results.json" in job.error


def test_a_damaged_config_leaves_the_results(tmp_path):
    folder = write_job(tmp_path / "job", "8s")
    (folder / "config.yaml").write_text("a: [")
    assert read_job(folder).finished
    (folder / "results.json").unlink()
    assert read_job(folder) is None


def test_other_experiments_and_other_programs_are_passed_over(experiment, runs):
    write_job(runs / "small" / "other", "8s", 7, experiment="Table 9")
    inner = runs / "small" / "row=8s,seed=0" / "wandb" / "run-1" / "files"
    inner.mkdir(parents=True)
    (inner / "config.yaml").write_text("row: {value: 8s}")
    alone = runs / "small" / "wandb" / "files"
    alone.mkdir(parents=True)
    (alone / "config.yaml").write_text("row: 8s\nseed: 9")
    assert {job.seed for job in collect(runs / "small", experiment)} == {0, 1}


def test_the_later_of_two_equal_runs_counts(experiment, runs):
    again = write_job(runs / "small" / "again", "32s", 0, 0.9)
    os.utime(again / "results.json", (2e9, 2e9))
    (found,) = [job for job in collect(runs / "small", experiment) if (job.row, job.seed) == ("32s", 0)]
    assert found.folder == again


def test_a_finished_run_hides_an_unfinished_try_of_the_same_seed(experiment, runs):
    write_job(runs / "small" / "try", "32s", 0, steps=50, finished=False)
    assert states(collect(runs / "small", experiment))["32s", 0] == "finished"


def test_without_runs_it_is_said_what_makes_them(experiment, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"make them with `python -m fcnseg.train -cn t2`.*--runs"):
        collect(tmp_path / "nowhere", experiment)


def test_the_scale_is_chosen_or_the_last_one(runs, tmp_path):
    assert find_runs(runs, None) == runs / "small"
    full = write_job(runs / "full" / "job", "8s")
    for path in full.iterdir():
        os.utime(path, (2e9, 2e9))
    assert find_runs(runs, None) == runs / "full"
    assert find_runs(runs, "small") == runs / "small"
    assert find_runs(runs / "small", None) == runs / "small"
    (tmp_path / "only" / "small" / "x").mkdir(parents=True)
    (tmp_path / "only" / "small" / "x" / "results.json").write_text(json.dumps(results("8s", 0, 0.5)))
    with pytest.raises(FileNotFoundError, match="no runs of --scale full, only of small"):
        find_runs(tmp_path / "only", "full")


# ---- metrics.csv


def test_entries_count_steps_from_one_and_have_their_times(tmp_path):
    folder = write_job(tmp_path / "job", "8s", steps=100)
    entries = read_entries(folder)
    assert (entries[0].step, entries[-1].step) == (10, 100)
    assert entries[-1].seconds == 0.5 + 10 * 99
    assert {key for entry in entries for key in entry.values} >= {"train/loss", "val/mean_iu"}
    (folder / "times.csv").unlink()
    assert {entry.seconds for entry in read_entries(folder)} == {None}


def test_half_a_line_and_numbers_that_are_none_are_passed_over(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,train/loss\n9,1.5\n19,nan\n29,inf\n39,\n4x,2\n49")
    entries = read_entries(tmp_path)
    assert [entry.step for entry in entries] == [10, 20, 30, 40]
    assert [dict(entry.values) for entry in entries] == [{"train/loss": 1.5}, {}, {}, {}]
    (tmp_path / "metrics.csv").write_bytes(b"step,train/loss\n\0\0\0\0\n9,1\xff\n")
    assert [entry.step for entry in read_entries(tmp_path)] == [10]
    assert read_entries(tmp_path / "nowhere") == []
