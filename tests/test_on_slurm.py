"""Sweeps in a real Slurm of two nodes: what is killed, cancelled or warned goes on, and nothing else suffers."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from runs import SMALL, outcome, said, surroundings, unequal
from slurm_cluster import HOSTS, MARK, Cluster, missing

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

LONG = (*SMALL, "data.train_count=8", "data.batch_size=4", "trainer.limit_val_batches=null", "trainer.max_steps=30")
LONG += ("trainer.val_every=15", "trainer.save_steps=1", "trainer.num_nodes=2")
STAGED = (*SMALL, "recipe=cvpr2015", "data.crop=null", "data.batch_size=1", "data.batching=whole", "optimizer.lr=1e-4")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, request):
    if lacking := missing() + ([] if os.geteuid() == 0 else ["root"]):
        text = f"needs {', '.join(lacking)}: run make test-slurm as root"
        (pytest.fail if request.config.option.markexpr == "slurm" else pytest.skip)(text)
    folder = tmp_path_factory.mktemp("slurm")
    with Cluster(folder) as running:
        yield running
    assert running.processes() == []
    assert MARK not in HOSTS.read_text()


class Sweep:
    """A launcher in a process of its own, and the folders of its jobs."""

    def __init__(self, cluster, folder, *arguments):
        self.cluster, self.folder = cluster, folder / "table" / "full"  # its last two parts are the group in results
        self.arguments = [*arguments, "hydra/launcher=slurm", "hydra.launcher.poll_s=0.5"]
        self.started = None

    def begin(self, *more):
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "fcnseg.train", "-m", *self.arguments, *more, f"hydra.sweep.dir={self.folder}"]
        environment = surroundings() | self.cluster.environment | {"OMP_NUM_THREADS": "1"}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": self.folder}
        self.started = subprocess.Popen(command, env=environment, **options)
        return self

    def end(self, timeout=300):
        """Returns the exit status, and what was said."""
        try:
            text = self.started.communicate(timeout=timeout)[0]
        finally:
            self.started.kill()
        return self.started.returncode, said(text)

    def job(self, name):
        """Returns the folder of the job with an override once it is submitted."""
        return self.until(
            lambda: next((path.parent for path in self.folder.glob("*/job.json") if has(path, name)), None)
        )

    def number(self, name):
        """Returns the number of a job in Slurm once it has one."""
        return json.loads((self.job(name) / "job.json").read_text())["cluster_id"]

    def until(self, holds, timeout=180):
        end = time.monotonic() + timeout
        while not (value := holds()):
            if time.monotonic() > end or self.started.poll() not in (None, 0):
                consoles = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*/console.log"))
                raise TimeoutError(f"{self.started.poll()} {self.cluster.ask('squeue')}\n{consoles}")
            time.sleep(0.05)
        return value

    def begun(self, name):
        """Waits until a job has written two checkpoints, and returns its number in Slurm."""
        folder = self.job(name)
        self.until((folder / "checkpoints" / "previous.ckpt").exists)
        return self.number(name)


def has(path, override):
    return override in json.loads(path.read_text())["overrides"]


def console(folder):
    return said((folder / "console.log").read_text())


@pytest.fixture(scope="module")
def whole(cluster, tmp_path_factory):
    """What two jobs leave that nobody disturbs."""
    sweep = Sweep(cluster, tmp_path_factory.mktemp("whole"), *LONG, "seed=0,1").begin()
    status, text = sweep.end()
    assert status == 0, text
    assert "2 finished" in text
    return {seed: outcome(sweep.job(f"seed={seed}")) for seed in (0, 1)}


def test_a_killed_rank_ends_its_job_and_no_other_and_the_same_command_goes_on(cluster, whole, tmp_path):
    sweep = Sweep(cluster, tmp_path, *LONG, "seed=0,1").begin()
    number = sweep.begun("seed=0")
    os.kill(cluster.rank(number, 1), signal.SIGKILL)
    status, text = sweep.end()
    assert status == 1
    assert "1 finished, 1 failed" in text
    assert cluster.job(number)["JobState"] == "FAILED"
    assert not (sweep.job("seed=0") / "results.json").exists()
    assert unequal(outcome(sweep.job("seed=1")), whole[1]) == []
    status, text = sweep.begin().end()
    assert (status, "2 finished" in text) == (0, True), text
    assert "continued from step" in console(sweep.job("seed=0"))
    assert unequal(outcome(sweep.job("seed=0")), whole[0]) == []
    assert sweep.number("seed=0") != number


def test_a_cancelled_job_is_interrupted_and_the_same_command_goes_on(cluster, whole, tmp_path):
    sweep = Sweep(cluster, tmp_path, *LONG, "seed=0").begin()
    cluster.ask("scancel", sweep.begun("seed=0"))
    status, text = sweep.end()
    assert (status, "1 interrupted" in text) == (1, True), text
    assert "stopped at step" in console(sweep.job("seed=0"))
    assert sweep.begin().end()[0] == 0
    assert unequal(outcome(sweep.job("seed=0")), whole[0]) == []


def test_a_requeued_job_goes_on_under_its_number(cluster, whole, tmp_path):
    """So does one that had to make room for another."""
    sweep = Sweep(cluster, tmp_path, *LONG, "seed=1").begin()
    number = sweep.begun("seed=1")
    assert cluster.ask("scontrol", "requeue", number) == ""
    cluster.restart(number)
    status, text = sweep.end()
    assert status == 0, text
    assert (cluster.job(number)["Restarts"], sweep.number("seed=1")) == ("1", number)
    assert "continued from step" in console(sweep.job("seed=1"))
    assert unequal(outcome(sweep.job("seed=1")), whole[1]) == []


def test_a_job_that_is_warned_of_its_time_limit_saves_and_queues_again(cluster, whole, tmp_path):
    sweep = Sweep(cluster, tmp_path, *LONG, "seed=0").begin()
    number = sweep.begun("seed=0")
    cluster.ask("scancel", "--batch", "--signal=USR1", number)  # as Slurm does by --signal=B:USR1
    cluster.restart(number)
    status, text = sweep.end()
    assert status == 0, text
    assert console(sweep.job("seed=0")).count("stopped at step") == 1
    assert cluster.job(number)["Restarts"] == "1"
    assert unequal(outcome(sweep.job("seed=0")), whole[0]) == []


def test_jobs_outlive_their_launcher_and_the_next_one_takes_them_over(cluster, tmp_path):
    sweep = Sweep(cluster, tmp_path, *LONG, "trainer.max_steps=100000", "seed=0").begin()
    number = sweep.begun("seed=0")
    sweep.started.send_signal(signal.SIGINT)
    status, text = sweep.end()
    assert (status, f"scancel {number} ends it" in text) == (130, True), text
    assert cluster.job(number)["JobState"] == "RUNNING"
    status, text = sweep.begin("hydra.launcher.wait=false").end()
    assert (status, sweep.number("seed=0"), cluster.job(number)["JobState"]) == (0, number, "RUNNING"), text
    cluster.ask("scancel", number)
    cluster.wait(number, "CANCELLED")


def test_a_launcher_that_does_not_wait_submits_nothing_twice(cluster, tmp_path):
    endless = (*LONG, "trainer.max_steps=100000", "hydra.launcher.wait=false")
    sweep = Sweep(cluster, tmp_path, *endless, "seed=0,1").begin()
    status, text = sweep.end()
    assert (status, "2 submitted" in text) == (0, True), text
    numbers = [sweep.number(f"seed={seed}") for seed in (0, 1)]
    assert sweep.begin().end()[0] == 0
    assert [sweep.number(f"seed={seed}") for seed in (0, 1)] == numbers
    cluster.ask("scancel", *numbers)
    for number in numbers:
        cluster.wait(number, "CANCELLED")


def test_a_stage_waits_in_slurm_for_the_one_that_it_starts_from_and_is_not_run_without_it(cluster, tmp_path):
    sweep = Sweep(cluster, tmp_path, *STAGED, "model=fcn8s,fcn16s").begin("trainer.max_steps=100000")
    coarse, fine = sweep.number("model=fcn16s"), sweep.number("model=fcn8s")
    assert cluster.job(fine)["Dependency"].startswith(f"afterok:{coarse}")
    cluster.wait(coarse, "RUNNING")
    cluster.ask("scancel", coarse)
    status, text = sweep.end()
    assert (status, "1 interrupted, 1 blocked" in text) == (1, True), text
    assert cluster.job(fine)["JobState"] == "CANCELLED"


def test_stages_finish_in_their_order(cluster, tmp_path):
    sweep = Sweep(cluster, tmp_path, *STAGED, "model=fcn8s,fcn16s").begin()
    status, text = sweep.end()
    assert (status, "2 finished" in text) == (0, True), text
    results = json.loads((sweep.job("model=fcn8s") / "results.json").read_text())
    assert [each["model"] for each in results["lineage"]] == ["fcn16s"]
