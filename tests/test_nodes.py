"""What srun and torchrun started is what the configuration speaks of, or is refused with the remedy."""

import pytest

from fcnseg.nodes import check_start, slurm_tasks
from runs import SMALL, main, said

TASK = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1"}
BATCH = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1"}
ALLOCATION = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1"}


@pytest.mark.parametrize(
    ("devices", "nodes", "environment"),
    [
        (1, 1, {}),
        ("auto", 1, {}),
        (1, 2, TASK),
        ([0], 2, TASK),
        (2, 1, TASK | {"SLURM_NTASKS_PER_NODE": "2"}),
        (1, 1, ALLOCATION),
        (8, 1, ALLOCATION | {"SLURM_JOB_NAME": "bash"}),
        (2, 2, {"WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "none"}),
        (4, 1, BATCH | {"WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "none"}),
    ],
)
def test_what_fits_is_started(devices, nodes, environment):
    check_start(devices, nodes, environment)


@pytest.mark.parametrize(
    ("devices", "nodes", "environment", "remedy"),
    [
        (1, 2, BATCH, "put srun before it"),
        (1, 1, TASK, "give srun --nodes=1 --ntasks-per-node=1, or set the keys"),
        (8, 1, ALLOCATION, "Slurm has started 1: give srun --nodes=1 --ntasks-per-node=8"),
        (1, 2, {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2"}, "give srun --nodes=2 --ntasks-per-node=1, and no --ntasks"),
        (1, 2, {}, "start it by srun or torchrun"),
        (1, 2, ALLOCATION | {"SLURM_JOB_NAME": "bash"}, "start it by srun or torchrun"),
    ],
)
def test_what_would_hang_or_do_less_is_refused_with_the_remedy(devices, nodes, environment, remedy):
    with pytest.raises(ValueError, match=remedy):
        check_start(devices, nodes, environment)


@pytest.mark.parametrize("environment", [TASK, {"WORLD_SIZE": "2"}])
def test_processes_that_name_folders_of_their_own_are_refused(environment):
    with pytest.raises(ValueError, match=r"each of the 2 processes .* hydra\.run\.dir=DIR"):
        check_start(1, 2, environment, folder_named=False)


def test_one_process_may_name_its_folder():
    check_start(1, 1, ALLOCATION, folder_named=False)


def test_interactive_jobs_and_torchrun_are_not_slurm_s():
    assert slurm_tasks(TASK) == 2
    assert slurm_tasks(TASK | {"SLURM_JOB_NAME": "interactive"}) == 0
    assert slurm_tasks(TASK | {"TORCHELASTIC_RUN_ID": "1"}) == 0


@pytest.mark.parametrize(
    ("named", "remedy"), [((), "each of the 2 processes"), (("hydra.run.dir={}/run",), "trainer.devices=1 on")]
)
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_the_commands_look_before_they_wait(command, named, remedy, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for key, value in TASK.items():
        monkeypatch.setenv(key, value)
    arguments = list(SMALL) if command == "train" else ["checkpoint=none"]
    arguments += [each.format(tmp_path) for each in named] or ["trainer.num_nodes=2"]
    assert main(command, *arguments) == 1
    assert remedy in said(capsys.readouterr().err)
    assert not list(tmp_path.glob("*/results.json"))
