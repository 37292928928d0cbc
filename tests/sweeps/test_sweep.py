"""Jobs run when they can, none twice, and none falls with another."""

import os
import signal

import pytest

from fcnseg.disk import CLAIM
from fcnseg.sweeps import sweep as module
from fcnseg.sweeps.job import ENDED, State
from fcnseg.sweeps.sweep import Sweep, said_of
from locks import held_elsewhere


class Instant:
    """A back end with some places whose jobs end when they are looked at; `ends` says how."""

    def __init__(self, finish, places=1, ends=None, queues=False):
        self.finish, self.places, self.ends, self.queues = finish, places, ends or {}, queues
        self.started, self.asked, self.killed, self.running = [], [], [], set()

    def start(self, job, words):
        if len(self.running) >= self.places:
            return False
        self.started.append(job.number)
        self.running.add(job.number)
        job.folder.mkdir(exist_ok=True)
        job.state = State.RUNNING
        return True

    def poll(self, job):
        status = self.ends.get(job.number, 0)
        if callable(status):
            status = status()
        if status is None:
            return None
        self.running.discard(job.number)
        if status == 0:
            self.finish(job)
        return 0 if status == "without results" else status

    def stop(self, jobs, at_once):
        (self.killed if at_once else self.asked).extend(job.number for job in jobs)
        for job in jobs:
            self.ends[job.number] = -9 if at_once else self.ends.get(job.number, 143)

    def settled(self):
        self.was_settled = True

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "POLL_S", 0.001)
    monkeypatch.setattr(module.Fingerprints, "changed", lambda self, job, results: False)


def states(sweep):
    return [job.state for job in sweep.jobs]


def ran(jobs, backend, **options):
    sweep = Sweep(jobs, backend, lambda job: ["words"], **options)
    sweep.run()
    return sweep


def test_all_jobs_run_and_the_back_end_is_closed(make_job, finish):
    backend = Instant(finish)
    sweep = ran([make_job(number) for number in range(3)], backend)
    assert states(sweep) == [State.FINISHED] * 3
    assert (backend.started, backend.closed, sweep.status()) == ([0, 1, 2], True, 0)


def test_a_stage_waits_for_the_one_before_while_others_run(make_job, finish):
    fine, coarse, other = make_job(0), make_job(1), make_job(2)
    fine.after = coarse
    backend = Instant(finish, places=2)
    ran([fine, coarse, other], backend)
    assert backend.started == [1, 2, 0]


def test_a_back_end_that_queues_takes_a_stage_at_once(make_job, finish):
    fine, coarse = make_job(0), make_job(1)
    fine.after = coarse
    backend = Instant(finish, places=2, queues=True)
    ran([fine, coarse], backend)
    assert backend.started == [0, 1]


def test_a_failure_costs_its_own_row_and_what_starts_from_it(make_job, finish):
    jobs = [make_job(number) for number in range(4)]
    jobs[2].after, jobs[3].after = jobs[0], jobs[2]
    sweep = ran(jobs, Instant(finish, ends={0: 1}))
    assert states(sweep) == [State.FAILED, State.FINISHED, State.BLOCKED, State.BLOCKED]
    assert jobs[2].note == "starts from job 0, which is failed"
    assert sweep.status() == 1


def test_a_failure_stops_the_others_if_it_is_wanted(make_job, finish):
    backend = Instant(finish, places=2, ends={0: 1, 1: None})
    backend.stop = lambda jobs, at_once: backend.ends.update({job.number: 143 for job in jobs})
    sweep = ran([make_job(number) for number in range(3)], backend, fail_fast=True)
    assert states(sweep) == [State.FAILED, State.INTERRUPTED, State.INTERRUPTED]


def test_an_end_without_results_is_a_failure(make_job, finish):
    assert states(ran([make_job()], Instant(finish, ends={0: "without results"}))) == [State.FAILED]


def test_a_finished_job_is_not_run_again(make_job, finish):
    jobs = [make_job(0), make_job(1)]
    finish(jobs[0])
    backend = Instant(finish)
    sweep = ran(jobs, backend)
    assert (backend.started, states(sweep)) == ([1], [State.FINISHED] * 2)
    assert jobs[0].note == "before, at commit 01234567"


def test_a_folder_that_holds_another_run_is_refused(make_job, finish):
    job = make_job()
    finish(job, config_hash="other")
    sweep = ran([job], Instant(finish))
    assert states(sweep) == [State.REFUSED]
    assert "holds another run" in job.note


def test_a_job_that_has_finished_with_other_data_is_refused(make_job, finish, monkeypatch):
    monkeypatch.setattr(module.Fingerprints, "changed", lambda self, job, results: True)
    job = make_job()
    finish(job)
    assert states(ran([job], Instant(finish))) == [State.REFUSED]
    assert "finished with other data" in job.note


def test_a_job_that_cannot_be_started_is_refused_and_the_others_run(make_job, finish):
    class Picky(Instant):
        def start(self, job, words):
            if job.number == 0:
                raise ValueError("it needs 9 GPUs")
            return super().start(job, words)

    jobs = [make_job(0), make_job(1)]
    assert states(ran(jobs, Picky(finish))) == [State.REFUSED, State.FINISHED]
    assert jobs[0].note == "it needs 9 GPUs"


def test_a_refused_job_is_never_started(make_job, finish):
    jobs = [make_job(0, state=State.REFUSED), make_job(1)]
    jobs[1].after = jobs[0]
    backend = Instant(finish)
    assert states(ran(jobs, backend)) == [State.REFUSED, State.BLOCKED]
    assert backend.started == []


def test_a_job_that_another_launcher_finishes_counts(make_job, finish):
    class Busy(Instant):
        def start(self, job, words):
            job.state = State.ELSEWHERE
            finish(job)
            return False

    assert states(ran([make_job()], Busy(finish))) == [State.FINISHED]


def test_what_did_not_run_leaves_word(make_job, finish):
    jobs = [make_job(0, state=State.REFUSED, note="why"), make_job(1), make_job(2, state=State.REFUSED)]
    jobs[1].after = jobs[0]
    finish(jobs[2], config_hash="another run's")
    ran(jobs, Instant(finish))
    assert [job.recall().get("state") for job in jobs] == ["refused", "blocked", None]
    assert jobs[0].recall()["error"] == "why"


def test_what_somebody_runs_is_not_written_over_by_one_who_refuses_it(make_job, finish):
    jobs = [make_job(number, state=State.REFUSED, note="a typo") for number in range(3)]
    jobs[0].set(State.QUEUED, cluster_id="17")  # a sweep that was left to Slurm
    jobs[1].set(State.FAILED, cluster_id="18")
    jobs[2].set(State.RUNNING)
    for job in jobs:
        job.state, job.note = State.REFUSED, "a typo"
    with held_elsewhere(jobs[2].folder / CLAIM):
        ran(jobs, Instant(finish))
    known = [job.recall() for job in jobs]
    assert [each["state"] for each in known] == ["queued", "refused", "running"]
    assert [each["cluster_id"] for each in known] == ["17", "18", None]


def test_a_record_that_cannot_be_written_costs_no_other_job(make_job, finish, monkeypatch):
    jobs = [make_job(0), make_job(1)]

    def full(**more):
        raise ValueError("no space left")

    monkeypatch.setattr(jobs[0], "write", full)
    sweep = ran(jobs, Instant(finish, ends={0: 1}))
    assert states(sweep) == [State.FAILED, State.FINISHED]
    assert "no space left" in jobs[0].note


def test_a_job_that_failed_under_another_launcher_is_not_tried_again(make_job, finish):
    class Shared(Instant):
        def start(self, job, words):
            job.set(State.FAILED, "error: theirs")
            job.state = State.ELSEWHERE
            self.started.append(job.number)
            return False

    backend = Shared(finish)
    assert states(ran([make_job()], backend)) == [State.FAILED]
    assert backend.started == [0]


# ---- signals


def test_a_signal_asks_the_running_jobs_to_save_and_starts_no_more(make_job, finish):
    backend = Instant(finish, ends={0: None})
    backend.poll_once = backend.poll

    def poll(job):
        if not backend.asked:
            os.kill(os.getpid(), signal.SIGTERM)
            return None
        return 143

    backend.poll = poll
    sweep = ran([make_job(0), make_job(1)], backend)
    assert (backend.asked, backend.killed) == ([0], [])
    assert states(sweep) == [State.INTERRUPTED] * 2
    assert sweep.status() == 143


def test_a_second_signal_kills(make_job, finish):
    backend = Instant(finish, ends={0: None})

    def poll(job):
        if backend.killed:
            return -9
        os.kill(os.getpid(), signal.SIGINT)
        return None

    backend.poll = poll
    sweep = ran([make_job(0)], backend)
    assert backend.killed
    assert sweep.status() == 130


def test_jobs_that_do_not_save_in_time_are_killed(make_job, finish):
    backend = Instant(finish, ends={0: None})

    def poll(job):
        if backend.killed:
            return -9
        if not backend.asked:
            os.kill(os.getpid(), signal.SIGTERM)
        return None

    backend.poll = poll
    ran([make_job(0)], backend, grace_s=0.01)
    assert backend.killed


def test_the_signals_are_given_back(make_job, finish):
    before = signal.getsignal(signal.SIGTERM)
    ran([make_job(0)], Instant(finish))
    assert signal.getsignal(signal.SIGTERM) is before


# ---- words


@pytest.mark.parametrize(("status", "words"), [(-9, "ended by SIGKILL"), (1, "error: why"), (143, "error: why")])
def test_an_end_in_words(make_job, status, words):
    job = make_job()
    job.folder.mkdir()
    (job.folder / "console.log").write_text("started\nerror: why\n")
    assert said_of(status, job) == words


def test_only_ends_end():
    assert State.RUNNING not in ENDED
    assert State.ELSEWHERE not in ENDED
    assert set(ENDED) | {State.WAITING, State.QUEUED, State.RUNNING, State.ELSEWHERE} == set(State)
