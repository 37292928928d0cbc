"""Jobs that are submitted once, taken over, left, cancelled and judged by what Slurm says: with fake programs."""

import json
import os

import pytest

from fake_slurm import FakeSlurm
from fcnseg.disk import CLAIM
from fcnseg.sweeps import slurm as module
from fcnseg.sweeps.batch import OUTCOME, SCRIPT
from fcnseg.sweeps.job import Job, State
from fcnseg.sweeps.slurm import SilentError, Slurm
from fcnseg.sweeps.sweep import Sweep
from fcnseg.sweeps.wishes import Wishes
from locks import held_elsewhere
from runs import SMALL, composed

WORDS = ["python", "-m", "fcnseg.train"]


@pytest.fixture
def fake(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return FakeSlurm(tmp_path / "bin")


@pytest.fixture
def jobs(tmp_path):
    return made(tmp_path)


def made(tmp_path):
    """Two jobs, of which the second starts from the first."""
    config = composed(*SMALL)
    first, second = (Job(n, f"seed={n}", (f"seed={n}",), tmp_path / f"job{n}", config, "hash") for n in (0, 1))
    second.after = first
    return first, second


def slurm(**options):
    return Slurm(Wishes(), poll_s=0, **options)


def finish(job):
    job.folder.mkdir(exist_ok=True)
    (job.folder / "results.json").write_text('{"config_hash": "hash"}')


def submitted(fake):
    return [call for call in fake.calls() if call.startswith("sbatch")]


# ---- submitting


def test_a_job_is_submitted_with_its_script_and_remembered(fake, jobs):
    assert slurm().start(jobs[0], WORDS)
    assert (jobs[0].state, jobs[0].cluster_id, jobs[0].recall()["cluster_id"]) == (State.QUEUED, "1", "1")
    assert submitted(fake)[0].endswith(f"--open-mode=append {jobs[0].folder}/{SCRIPT}")
    assert "python -m fcnseg.train trainer.devices=1" in (jobs[0].folder / SCRIPT).read_text()


def test_a_stage_is_submitted_behind_the_one_that_it_starts_from(fake, jobs):
    backend = slurm()
    assert not backend.start(jobs[1], WORDS)  # the other has no number yet
    assert backend.start(jobs[0], WORDS)
    assert backend.start(jobs[1], WORDS)
    assert "--dependency=afterok:1 --kill-on-invalid-dep=yes" in submitted(fake)[1]


def test_a_stage_whose_coarser_net_has_finished_waits_for_nobody(fake, jobs):
    jobs[0].state = State.FINISHED
    assert slurm().start(jobs[1], WORDS)
    assert "--dependency" not in submitted(fake)[0]


def test_what_belongs_to_another_run_stays_out_of_the_job(fake, jobs, monkeypatch):
    for key in ("SLURM_NTASKS", "LOCAL_RANK", "MASTER_PORT", "CUDA_VISIBLE_DEVICES", "SLURM_CONF", "MINE"):
        monkeypatch.setenv(key, "7")
    slurm().start(jobs[0], WORDS)
    kept = (fake.folder / "environment").read_text().splitlines()
    assert {line.partition("=")[0] for line in kept if line.endswith("=7")} == {"SLURM_CONF", "MINE"}


def test_a_refused_submission_is_said_in_slurm_s_words(fake, jobs):
    (fake.folder / "refusal").write_text("sbatch: error: invalid partition specified: gpux")
    with pytest.raises(ValueError, match="sbatch: error: invalid partition specified: gpux"):
        slurm().start(jobs[0], WORDS)


def test_no_more_jobs_than_allowed_are_in_slurm(fake, jobs):
    backend = slurm(max_jobs=1)
    jobs[1].after = None
    assert backend.start(jobs[0], WORDS)
    assert not backend.start(jobs[1], WORDS)
    fake.queue(_1="COMPLETED")
    assert backend.poll(jobs[0]) == 0
    assert backend.start(jobs[1], WORDS)


def test_a_submission_that_slurm_took_without_an_answer_is_found_by_its_name(fake, jobs, monkeypatch):
    ask = module.ask

    def silent(*command):
        if command[0] == "sbatch":
            raise SilentError("sbatch does not answer within 60 s")
        return ask(*command)

    monkeypatch.setattr(module, "ask", silent)
    backend = slurm()
    with pytest.raises(SilentError):
        backend.start(jobs[0], WORDS)
    jobs[0].folder = jobs[0].folder.with_name("row=8s,seed=0_ab12")
    (fake.folder / "names").write_text("3|row=8s\n4|row=8s,seed=0_ab12\n")
    assert backend.start(jobs[0], WORDS)
    assert jobs[0].cluster_id == "4"


@pytest.mark.parametrize("options", [{"max_jobs": 0}, {"max_jobs": 2, "wait": False}])
def test_a_number_of_jobs_that_cannot_be_is_refused(fake, options):
    with pytest.raises(ValueError, match=r"hydra\.launcher\.max_jobs"):
        slurm(**options)


def test_a_machine_without_slurm_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match=r"no squeue on PATH.*hydra/launcher=pool"):
        slurm()


# ---- the same command again


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "SUSPENDED", "REQUEUED"])
def test_a_job_that_is_still_in_slurm_is_taken_over_and_not_submitted_twice(fake, jobs, tmp_path, state):
    slurm().start(jobs[0], WORDS)
    fake.queue(_1=state)
    again = made(tmp_path)[0]
    assert slurm().start(again, WORDS)
    assert (again.cluster_id, len(submitted(fake))) == ("1", 1)
    assert again.note == "of an earlier launcher, job 1 of Slurm"


def test_a_job_that_another_launcher_has_just_submitted_is_taken_over(fake, jobs, tmp_path):
    late = Slurm(Wishes(), poll_s=1000)  # has looked before
    slurm().start(jobs[0], WORDS)
    again = made(tmp_path)[0]
    assert late.start(again, WORDS)
    assert (again.cluster_id, len(submitted(fake))) == ("1", 1)


def test_a_job_that_another_launcher_holds_and_its_stages_are_left_to_it(fake, jobs, tmp_path):
    jobs[0].folder.mkdir()
    backend = slurm()
    with held_elsewhere(jobs[0].folder / CLAIM):
        assert not backend.start(jobs[0], WORDS)
        assert jobs[0].state is State.ELSEWHERE
        assert not backend.start(jobs[1], WORDS)
    assert fake.calls() == []


@pytest.mark.parametrize("state", ["CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"])
def test_a_job_that_has_ended_is_submitted_anew(fake, jobs, tmp_path, state):
    slurm().start(jobs[0], WORDS)
    fake.queue(_1=state)
    again = made(tmp_path)[0]
    assert slurm().start(again, WORDS)
    assert again.cluster_id == "2"


def test_a_job_that_is_just_ending_is_waited_for(fake, jobs, tmp_path):
    slurm().start(jobs[0], WORDS)
    fake.queue(_1="COMPLETING")
    assert not slurm().start(made(tmp_path)[0], WORDS)
    assert len(submitted(fake)) == 1


# ---- how a job ends


def begun(fake, jobs, **options):
    backend = slurm(**options)
    backend.start(jobs[0], WORDS)
    return backend


def test_a_job_is_queued_then_runs_then_is_queued_again(fake, jobs):
    backend = begun(fake, jobs)
    for state, expected in (("RUNNING", State.RUNNING), ("PENDING", State.QUEUED), ("COMPLETING", State.RUNNING)):
        fake.queue(_1=state)
        assert backend.poll(jobs[0]) is None
        assert jobs[0].state is expected
        assert json.loads((jobs[0].folder / "job.json").read_text())["state"] == expected


@pytest.mark.parametrize(
    ("state", "status"), [("COMPLETED", 0), ("CANCELLED", 143), ("FAILED", 1), ("TIMEOUT", 1), ("NODE_FAIL", 1)]
)
def test_slurm_s_last_word_is_the_status(fake, jobs, state, status):
    backend = begun(fake, jobs)
    fake.queue(_1=state)
    assert backend.poll(jobs[0]) == status


def test_what_the_script_has_left_says_more(fake, jobs):
    backend = begun(fake, jobs)
    (jobs[0].folder / OUTCOME).write_text("1 143\n")
    fake.queue(_1="FAILED")
    assert backend.poll(jobs[0]) == 143


def test_what_another_job_s_script_has_left_says_nothing(fake, jobs):
    backend = begun(fake, jobs)
    (jobs[0].folder / OUTCOME).write_text("77 0\n")
    fake.queue(_1="FAILED")
    assert backend.poll(jobs[0]) == 1


def test_a_silent_slurm_is_waited_for(fake, jobs):
    backend = begun(fake, jobs)
    (fake.folder / "silent").touch()
    assert backend.poll(jobs[0]) is None


@pytest.mark.parametrize(("accounting", "status"), [("COMPLETED", 0), ("CANCELLED by 0", 143), ("OUT_OF_MEMORY", 1)])
def test_of_a_job_that_squeue_has_forgotten_accounting_tells(fake, jobs, accounting, status):
    backend = begun(fake, jobs)
    fake.queue()
    (fake.folder / "accounting").write_text(f"{accounting}\n")
    assert backend.poll(jobs[0]) == status


def test_a_job_that_vanished_without_results_has_failed(fake, jobs):
    backend = begun(fake, jobs)
    fake.queue()
    assert backend.poll(jobs[0]) == 1
    finish(jobs[0])
    assert backend.poll(jobs[0]) == 0


# ---- a whole sweep


def swept(jobs, backend):
    return Sweep(list(jobs), backend, lambda job: WORDS)


def test_a_stage_of_a_failed_job_is_blocked_though_slurm_says_cancelled(fake, jobs):
    sweep = swept(jobs[::-1], slurm())
    sweep._turn()
    sweep._turn()
    assert len(submitted(fake)) == 2
    fake.queue(_1="FAILED", _2="CANCELLED")
    sweep._turn()
    sweep._turn()
    assert [job.state for job in jobs] == [State.FAILED, State.BLOCKED]
    assert jobs[1].note == "starts from job 0, which is failed"


def test_a_launcher_that_does_not_wait_leaves_every_job_submitted(fake, jobs):
    sweep = swept(jobs, slurm(wait=False))
    sweep.run()
    assert [job.state for job in jobs] == [State.SUBMITTED, State.SUBMITTED]
    assert jobs[1].note == "job 2 of Slurm; scancel 2 ends it"
    assert "--dependency=afterok:1" in submitted(fake)[1]


def test_a_launcher_that_is_told_to_end_leaves_the_jobs_to_slurm(fake, jobs):
    sweep = swept(jobs[:1], slurm())
    sweep._turn()
    sweep._handle(2, None)
    sweep._turn()
    assert jobs[0].state is State.SUBMITTED
    assert jobs[0].note == "goes on as job 1 of Slurm; scancel 1 ends it"
    assert not [call for call in fake.calls() if call.startswith("scancel")]


def test_or_cancels_them_and_waits_until_they_have_saved(fake, jobs):
    sweep = swept(jobs[:1], slurm(cancel_on_exit=True))
    sweep._turn()
    sweep._handle(2, None)
    sweep._turn()
    assert (fake.calls()[-1], jobs[0].state) == ("scancel 1", State.QUEUED)
    fake.queue(_1="CANCELLED")
    sweep._turn()
    assert jobs[0].state is State.INTERRUPTED
