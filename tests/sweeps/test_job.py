"""What a launcher knows of a job."""

import json

from fcnseg.sweeps.job import CONSOLE, RECORD, State


def test_a_new_job_has_neither_results_nor_progress(make_job):
    job = make_job()
    assert (job.results(), job.progress(), job.last_words(), job.is_begun()) == (None, (0, None), "", False)
    assert job.recall() == {}


def test_progress_is_the_last_step_and_the_last_score(make_job):
    job = make_job()
    job.folder.mkdir()
    (job.folder / "metrics.csv").write_text("step,train/loss,val/mean_iu\n9,1.5,\n9,,0.25\n19,1.0,\n")
    assert job.progress() == (20, 0.25)


def test_half_a_line_of_progress_does_no_harm(make_job):
    job = make_job()
    job.folder.mkdir()
    (job.folder / "metrics.csv").write_text("step,val/mean_iu\n9,0.25\n1x")
    assert job.progress() == (10, 0.25)


def test_a_checkpoint_begins_a_job(make_job):
    job = make_job()
    (job.folder / "checkpoints").mkdir(parents=True)
    assert not job.is_begun()
    (job.folder / "checkpoints" / "previous.ckpt").touch()
    assert job.is_begun()


def test_last_words_are_the_last_lines_that_say_something(make_job):
    job = make_job()
    job.folder.mkdir()
    (job.folder / CONSOLE).write_bytes(b"x" * 20_000 + b"\nfirst\n\nerror: \xff none  \n\n")
    assert job.last_words() == "error: � none"
    assert job.last_words(2) == "first\nerror: � none"


def test_the_record_says_what_the_job_is(make_job):
    job = make_job(3, "seed=3")
    job.devices = ("1",)
    job.set(State.FAILED, "why", exit_status=1)
    job.set(State.RUNNING, pid=5)
    content = json.loads((job.folder / RECORD).read_text())
    expected = {"state": "running", "error": None, "seed": 3, "row": None, "scale": "full", "overrides": ["seed=3"]}
    expected |= {"config_hash": "abcd", "devices": ["1"], "pid": 5, "exit_status": 1}
    assert {key: content[key] for key in expected} == expected


def test_results_that_are_no_results_are_none(make_job):
    job = make_job()
    job.folder.mkdir()
    for text in ("", "[]", "{"):
        (job.folder / "results.json").write_text(text)
        assert job.results() is None
