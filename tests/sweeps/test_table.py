"""The sweep on a terminal and in a log."""

import io

import pytest
from rich.console import Console

from fcnseg.sweeps import table as module
from fcnseg.sweeps.job import CONSOLE, State
from fcnseg.sweeps.table import Display, cells, summary, table, time_left


@pytest.fixture(autouse=True)
def now(monkeypatch):
    monkeypatch.setattr(module.time, "time", lambda: 1010.0)


def shown(what, width=200):
    console = Console(file=io.StringIO(), width=width)
    what(console)
    return console.file.getvalue()


def test_a_line_says_how_far_a_job_is(make_job):
    job = make_job(1, "trainer.max_steps=40", state=State.RUNNING, devices=("2",), started=1000.0)
    job.folder.mkdir()
    (job.folder / "metrics.csv").write_text("step,val/mean_iu\n9,0.257\n")
    assert cells(job) == ("1", "seed=1", "[cyan]running[/]", "10/40", "25.7", "0:00:30", "2")


def test_the_steps_before_a_continuation_do_not_count(make_job):
    job = make_job(1, "trainer.max_steps=40", state=State.RUNNING, started=1000.0, first_step=20)
    assert time_left(job, 30) == "0:00:10"
    assert time_left(job, 20) == "-"


def test_a_finished_job_shows_its_results(make_job, finish):
    job = make_job(0, state=State.FINISHED)
    finish(job)
    assert cells(job)[3:5] == ("7/600", "50.0")


def test_a_job_that_waits_says_for_which(make_job):
    job = make_job(1, after=make_job(0))
    assert "waiting for job 0" in shown(lambda console: console.print(table([job])))


def test_where_no_terminal_is_changes_are_lines(make_job):
    jobs = [make_job(0), make_job(1)]

    def watch(console):
        with Display(console) as display:
            display.show(jobs)
            display.show(jobs)
            jobs[0].state, jobs[0].note = State.FAILED, "error: [why]\nmore"
            display.show(jobs)

    assert shown(watch).splitlines() == [
        "job 0 seed=0: waiting",
        "job 1 seed=1: waiting",
        "job 0 seed=0: failed: error: [why]",
    ]


def test_on_a_terminal_the_table_lives(make_job):
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    job = make_job(0)
    with Display(console) as display:
        display.show([job])
        job.state = State.FINISHED
        display.show([job])
    assert "1 of 1 jobs finished" in console.file.getvalue()


@pytest.mark.parametrize("state", [State.FAILED, State.REFUSED, State.BLOCKED, State.INTERRUPTED])
def test_the_summary_names_what_did_not_finish(make_job, state):
    job, done = make_job(0, state=state, note="because"), make_job(1, state=State.FINISHED)
    job.folder.mkdir()
    (job.folder / CONSOLE).write_text("one\ntwo\nerror: because\n")
    printed = shown(lambda console: summary([job, done], console))
    assert f"job 0 {state} seed=0" in printed
    assert "because" in printed
    assert str(job.folder) in printed
    counts = {str(State.FINISHED): "1 finished", str(state): f"1 {state}"}
    said = ", ".join(counts[each] for each in map(str, State) if each in counts)
    assert f"{said}; the same command goes on" in printed
    assert "mean IU" in printed  # the table


def test_a_sweep_that_has_finished_says_no_more(make_job):
    printed = shown(lambda console: summary([make_job(0, state=State.FINISHED)], console))
    assert printed.splitlines()[-1] == "1 finished"
