"""Processes of this machine, each with GPUs of its own, and nothing left of them."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from fcnseg.disk import CLAIM, held
from fcnseg.sweeps.job import CONSOLE, State
from fcnseg.sweeps.pool import Pool, found_gpus, meaning


def python(code):
    return [sys.executable, "-c", code]


def ended(pool, job, seconds=30):
    limit = time.monotonic() + seconds
    while (status := pool.poll(job)) is None:
        assert time.monotonic() < limit, "it still runs"
        time.sleep(0.01)
    pool.settled()
    return status


def is_alive(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return False


@pytest.fixture
def pool():
    pool = Pool([], None, 2)
    yield pool
    pool.close()


# ---- processes


def test_a_job_prints_into_its_folder_and_its_status_comes_back(make_job, pool):
    job = make_job()
    assert pool.start(job, python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    assert job.state is State.RUNNING
    assert ended(pool, job) == 3
    assert sorted((job.folder / CONSOLE).read_text().split()) == ["err", "out"]
    assert job.recall()["pid"] > 0


def test_a_job_is_a_process_group_of_its_own_that_leaves_nothing_behind(make_job, pool):
    job = make_job()
    child = "import os, subprocess, sys; print(os.getpgid(0) == os.getpid(), flush=True); "
    child += "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    pool.start(job, python(child))
    ended(pool, job)
    own, left = (job.folder / CONSOLE).read_text().split()
    assert own == "True"
    limit = time.monotonic() + 10
    while is_alive(int(left)) and time.monotonic() < limit:
        time.sleep(0.01)
    assert not is_alive(int(left))


def test_there_are_as_many_jobs_at_once_as_places(make_job, pool):
    jobs = [make_job(number) for number in range(3)]
    assert [pool.start(job, python("import time; time.sleep(60)")) for job in jobs] == [True, True, False]
    assert jobs[2].state is State.WAITING
    pool.stop(jobs[:1], at_once=False)
    assert ended(pool, jobs[0]) == -15
    assert pool.start(jobs[2], python("pass"))
    pool.stop(jobs[1:2], at_once=True)
    assert ended(pool, jobs[1]) == -9


def test_the_environment_is_clean(make_job, pool, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    job = make_job()
    pool.start(
        job,
        python(
            "import os; print(sorted(set(os.environ) & {'LOCAL_RANK', 'SLURM_NTASKS'}), os.environ['FCNSEG_LAUNCHER'])"
        ),
    )
    ended(pool, job)
    assert (job.folder / CONSOLE).read_text().split() == ["[]", str(os.getpid())]


def test_closing_kills_what_runs(make_job, pool):
    job = make_job()
    pool.start(job, python("import time; time.sleep(60)"))
    pid = job.recall()["pid"]
    pool.close()
    assert not is_alive(pid)


def test_a_job_whose_record_cannot_be_written_leaves_nothing_behind(make_job, pool, monkeypatch):
    pool.gpus, pool._free, pids = ["0"], ["0"], []
    job = make_job(0, "trainer.accelerator=gpu")

    def full(state, note="", **more):
        pids.append(more["pid"])
        raise ValueError("no space left")

    monkeypatch.setattr(job, "set", full)
    with pytest.raises(ValueError, match="no space left"):
        pool.start(job, python("import time; time.sleep(60)"))
    assert not is_alive(pids[0])
    assert (pool._free, job.devices) == (["0"], ())
    with held(job.folder / CLAIM, "still claimed"):
        pass


def test_a_claim_lasts_until_the_end_is_written_down(make_job, pool):
    job = make_job()
    pool.start(job, python("pass"))
    limit = time.monotonic() + 30
    while pool.poll(job) is None:
        assert time.monotonic() < limit
    assert (job.folder / CLAIM).exists()
    pool.settled()
    assert not (job.folder / CLAIM).exists()


# ---- two launchers


@pytest.mark.parametrize(("lock", "note"), [(CLAIM, "another launcher runs it"), (".lock", "its process still runs")])
def test_a_job_that_somebody_else_runs_is_left_alone(make_job, pool, lock, note, tmp_path):
    job = make_job()
    job.folder.mkdir()
    holder = "import time; from fcnseg.disk import held; from pathlib import Path\n"
    holder += f"with held(Path({str(job.folder / lock)!r}), ''):"
    other = make_job(1)
    pool.start(other, python(f"{holder}\n print('held', flush=True); time.sleep(60)"))
    limit = time.monotonic() + 60
    while "held" not in (other.folder / CONSOLE).read_text():
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert not pool.start(job, python("pass"))
    assert (job.state, job.note) == (State.ELSEWHERE, note)


def test_a_job_that_was_finished_meanwhile_is_not_started(make_job, finish, pool):
    job = make_job()
    finish(job)
    assert not pool.start(job, python("pass"))
    with held(job.folder / CLAIM, "still claimed"):
        pass


# ---- GPUs


@pytest.mark.parametrize(
    ("asked", "outer", "found"),
    [
        ("auto", {"CUDA_VISIBLE_DEVICES": "3, GPU-5"}, ["3", "GPU-5"]),
        ("auto", {"CUDA_VISIBLE_DEVICES": ""}, []),
        ("auto", {"CUDA_VISIBLE_DEVICES": "-1"}, []),
        (1, {"CUDA_VISIBLE_DEVICES": "3,5"}, ["3"]),
        (0, {"CUDA_VISIBLE_DEVICES": "3,5"}, []),
        ([0, "GPU-7"], {}, ["0", "GPU-7"]),
    ],
)
def test_the_gpus_of_the_pool(asked, outer, found):
    assert found_gpus(asked, outer) == found


@pytest.mark.parametrize(
    ("asked", "message"),
    [(3, "gpus=3, but this machine offers 2"), ("two", "must be auto"), (True, "must be"), (-1, "must be")],
)
def test_gpus_that_are_none_are_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        found_gpus(asked, {"CUDA_VISIBLE_DEVICES": "0,1"})


def test_each_job_gets_gpus_of_its_own(make_job):
    pool = Pool(["4", "5", "6"], None, None)
    jobs = [
        make_job(number, f"trainer.devices={count}", "trainer.accelerator=gpu")
        for number, count in enumerate([2, 1, 1])
    ]
    show = python("import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(60)")
    try:
        assert [pool.start(job, show) for job in jobs] == [True, True, False]
        assert [job.devices for job in jobs] == [("4", "5"), ("6",), ()]
        pool.stop(jobs[:1], at_once=True)
        ended(pool, jobs[0])
        assert pool.start(jobs[2], show)
        assert jobs[2].devices == ("4",) or jobs[2].devices == ("5",)
    finally:
        pool.close()


@pytest.mark.parametrize(
    ("gpus", "per_job", "overrides", "needed"),
    [
        (["0", "1"], None, ["trainer.accelerator=cpu", "trainer.devices=2"], 0),
        (["0", "1"], None, ["trainer.accelerator=gpu"], 1),
        (["0", "1"], None, ["trainer.accelerator=gpu", "trainer.devices=auto"], 2),
        (["0", "1"], None, ["trainer.accelerator=gpu", "trainer.devices=[1]"], 1),
        (["0", "1"], 2, ["trainer.accelerator=gpu"], 2),
        ([], None, ["trainer.accelerator=cpu"], 0),
    ],
)
def test_the_gpus_that_a_job_needs(make_job, gpus, per_job, overrides, needed):
    assert Pool(gpus, per_job, None).needs(make_job(0, *overrides).config) == needed


def test_a_job_with_more_gpus_than_it_asks_for_is_told(make_job):
    pool = Pool(["0", "1"], 2, None)
    job = make_job(0, "trainer.accelerator=gpu")
    pool.start(job, python("import sys; print(sys.argv[1:])"))
    ended(pool, job)
    assert (job.folder / CONSOLE).read_text().strip() == "['trainer.devices=2']"


def test_what_the_pool_lacks_is_said(make_job):
    with pytest.raises(ValueError, match="needs 3 GPUs, and the pool has 1"):
        Pool(["0"], None, None).start(make_job(0, "trainer.accelerator=gpu", "trainer.devices=3"), [])
    with pytest.raises(ValueError, match="wants a GPU, and the pool has none"):
        Pool([], None, None).start(make_job(0, "trainer.accelerator=gpu"), [])


@pytest.mark.parametrize("key", ["gpus_per_job", "n_jobs"])
def test_a_pool_without_places_is_refused(key):
    with pytest.raises(ValueError, match=rf"hydra\.launcher\.{key} must be at least 1, not 0"):
        Pool([], **({"gpus_per_job": None, "n_jobs": None} | {key: 0}))


def test_the_processors_are_shared(monkeypatch):
    monkeypatch.setattr("fcnseg.sweeps.pool.processors", lambda: 8)
    assert [Pool([], None, 3).threads, Pool([], None, None).threads, Pool(["0"], None, 2).threads] == [2, None, None]


@pytest.mark.parametrize(
    ("status", "state"),
    [(0, State.FINISHED), (143, State.INTERRUPTED), (130, State.INTERRUPTED), (1, State.FAILED), (-9, State.FAILED)],
)
def test_what_an_exit_status_means(status, state):
    assert meaning(status) is State(state)
