"""What the script of a job asks of Slurm, and how it ends: with a fake srun in a real shell."""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from fake_slurm import FakeSlurm
from fcnseg.config import TrainerConfig
from fcnseg.sweeps.batch import OUTCOME, SCRIPT, options, script, sized, submission
from fcnseg.sweeps.job import Job
from fcnseg.sweeps.wishes import Wishes
from runs import SMALL, composed

SAVES = 'trap "touch {0}/checkpoints/last.ckpt; exit 143" USR1 TERM; touch {0}/begun; while :; do sleep 0.05; done'
"""A training that runs until it is told to save and end."""


@pytest.fixture
def job(tmp_path):
    folder = tmp_path / "a job"
    (folder / "checkpoints").mkdir(parents=True)
    return Job(0, "seed=0", ("seed=0",), folder, composed(*SMALL), "")


@pytest.fixture
def fake(tmp_path):
    (tmp_path / "bin").mkdir()
    return FakeSlurm(tmp_path / "bin")


# ---- what it asks for


def test_only_what_was_wished_is_asked_for():
    assert options(Wishes(requeue=False), 1, 1, 0) == [
        *("--nodes=1", "--ntasks-per-node=1", "--signal=B:USR1@120", "--no-requeue")
    ]


def test_every_wish_is_asked_for():
    wishes = Wishes("gpu", "lab", "long", 90, 2, 4, 9, 64, 300, True, ["--constraint=a100"], ["module load cuda"])
    assert options(wishes, *sized(wishes, TrainerConfig())) == [
        *("--partition=gpu", "--account=lab", "--qos=long", "--time=90", "--nodes=2", "--ntasks-per-node=4"),
        *("--gpus-per-node=4", "--cpus-per-task=9", "--mem=64G", "--signal=B:USR1@300", "--requeue"),
        "--constraint=a100",
    ]


@pytest.mark.parametrize(
    ("wishes", "trainer", "expected"),
    [
        (Wishes(), TrainerConfig(), (1, 1, 1)),
        (Wishes(), TrainerConfig(devices=4, num_nodes=2), (2, 4, 4)),
        (Wishes(), TrainerConfig(devices=[0, 1]), (1, 2, 2)),
        (Wishes(nodes=3, gpus_per_node=8), TrainerConfig(devices="auto"), (3, 8, 8)),
        (Wishes(), TrainerConfig(devices=2, accelerator="cpu"), (1, 2, 0)),
        (Wishes(gpus_per_node=0), TrainerConfig(devices=2), (1, 2, 0)),
        (Wishes(gpus_per_node=4), TrainerConfig(accelerator="cpu"), (1, 1, 0)),
    ],
)
def test_nodes_processes_and_gpus_follow_from_the_configuration_unless_they_are_wished(wishes, trainer, expected):
    assert sized(wishes, trainer) == expected


@pytest.mark.parametrize("devices", ["auto", -1, "2"])
def test_a_number_of_processes_that_nobody_knows_is_refused(devices):
    with pytest.raises(ValueError, match=r"trainer\.devices=.* set .* hydra\.launcher\.gpus_per_node"):
        sized(Wishes(), TrainerConfig(devices=devices))


def test_the_script_trains_as_it_was_told_with_what_slurm_gives(job):
    text = script(Wishes(cpus_per_task=5, setup=["module load cuda"]), job, ["python", "-m", "fcnseg.train", "x='a b'"])
    assert text.startswith("#!/bin/bash\n#SBATCH --nodes=1\n")
    assert text.index("module load cuda\n") < text.index("srun")
    words = shlex.split(text.partition("--input=none --cpus-per-task=5 \\\n")[2].partition("&\n")[0])
    told = ["trainer.devices=1", "trainer.num_nodes=1"]
    assert words == ["python", "-m", "fcnseg.train", "x='a b'", *told]


def test_with_gpus_a_node_without_one_is_no_excuse(job):
    job.config.trainer.accelerator = "auto"
    assert "trainer.num_nodes=1 trainer.accelerator=gpu &" in script(Wishes(), job, ["python"])


def test_the_submission_names_console_and_dependency(job, tmp_path):
    job.folder = tmp_path / "100%"
    console = f"--output={tmp_path}/100%%/console.log"  # Slurm would make something of a single %
    first = ["--parsable", "--job-name=seed=0", console, "--open-mode=append"]
    assert submission(job, "seed=0", None) == first
    assert submission(job, "seed=0", "7") == [*first, "--dependency=afterok:7", "--kill-on-invalid-dep=yes"]


# ---- how it ends


def started(job, fake, training, wishes=None):
    """Runs a job's script with a shell command for a training; its options follow as arguments that nobody reads."""
    path = job.folder / SCRIPT
    path.write_text(script(wishes or Wishes(), job, ["bash", "-c", training]))
    environment = os.environ | {"PATH": f"{fake.folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    return subprocess.Popen(["bash", str(path)], env=environment, stderr=subprocess.PIPE, text=True)


def ended(process):
    said = process.communicate(timeout=60)[1]
    return process.returncode, said


def signalled(job, fake, number, training=SAVES, wishes=None):
    process = started(job, fake, training.format(shlex.quote(str(job.folder))), wishes)
    while not (job.folder / "begun").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    return process


def outcome(job):
    path = job.folder / OUTCOME
    return path.read_text() if path.exists() else None


@pytest.mark.parametrize(("training", "status"), [("exit 0", 0), ("exit 1", 1), ("exit 137", 137), ("exit 143", 1)])
def test_the_script_ends_as_the_training_does(job, fake, training, status):
    """143 that nobody asked for is srun's when it has ended the others of a process that failed."""
    assert ended(started(job, fake, training)) == (status, "")
    assert outcome(job) == f"7 {status}\n"
    assert fake.calls() == []


def test_a_warned_job_passes_it_on_and_queues_again(job, fake):
    assert ended(signalled(job, fake, signal.SIGUSR1)) == (143, "")
    assert fake.calls() == ["scontrol requeue 7"]
    assert outcome(job) is None


def test_a_warned_job_without_a_new_checkpoint_fails_and_does_not_queue_for_ever(job, fake):
    (job.folder / "checkpoints" / "last.ckpt").touch()
    os.utime(job.folder / "checkpoints" / "last.ckpt", (1, 1))
    status, said = ended(signalled(job, fake, signal.SIGUSR1, SAVES.replace("touch {0}/checkpoints/last.ckpt; ", "")))
    assert (status, fake.calls(), outcome(job)) == (1, [], "7 1\n")
    assert "set a longer hydra.launcher.time" in said


def test_a_warned_job_does_not_queue_again_if_that_is_not_wished(job, fake):
    assert ended(signalled(job, fake, signal.SIGUSR1, wishes=Wishes(requeue=False))) == (143, "")
    assert (fake.calls(), outcome(job)) == ([], "7 143\n")


def test_a_warned_job_that_finishes_has_finished(job, fake):
    finishing = SAVES.replace("exit 143", "touch {0}/results.json; exit 0")
    assert ended(signalled(job, fake, signal.SIGUSR1, finishing)) == (0, "")
    assert (fake.calls(), outcome(job)) == ([], "7 0\n")


def test_a_cancelled_job_is_interrupted_and_does_not_queue_again(job, fake):
    process = signalled(job, fake, signal.SIGTERM)
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGTERM)  # Slurm tells the tasks by itself
    assert ended(process)[0] == 143
    assert (fake.calls(), outcome(job)) == ([], "7 143\n")
