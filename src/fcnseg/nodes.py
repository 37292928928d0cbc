"""Processes that srun or torchrun started: are they those that the configuration speaks of?"""

from collections.abc import Mapping
from typing import Any


def check_start(devices: Any, num_nodes: int, environment: Mapping[str, str], folder_named: bool = True) -> None:
    """Refuses starts that would hang, or train on less than was asked for, before anything waits for anybody.

    Args:
        devices: trainer.devices.
        num_nodes: trainer.num_nodes.
        environment: as the process found it.
        folder_named: whether the command names the run folder.

    Raises:
        ValueError: says how to start it.
    """
    tasks = slurm_tasks(environment)
    if tasks:
        _check_tasks(tasks, devices, num_nodes, environment)
    started = tasks or int(environment.get("WORLD_SIZE", "1"))
    if num_nodes > 1 and started == 1:
        raise ValueError(
            f"trainer.num_nodes={num_nodes}, but nothing has started this command on other nodes: start it by srun or "
            "torchrun, or let hydra/launcher=slurm submit it"
        )
    if started > 1 and not folder_named:
        raise ValueError(
            f"each of the {started} processes would name a run folder of its own: give them one with hydra.run.dir=DIR"
        )


def slurm_tasks(environment: Mapping[str, str]) -> int:
    """Returns how many processes Slurm speaks of; 0 where Lightning does not listen to it.

    That is outside its jobs, in interactive ones, and under torchrun.
    """
    unheard = "TORCHELASTIC_RUN_ID" in environment or environment.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return 0 if unheard else int(environment.get("SLURM_NTASKS", "0"))


def _check_tasks(tasks: int, devices: Any, num_nodes: int, environment: Mapping[str, str]) -> None:
    if tasks > 1 and "SLURM_STEP_ID" not in environment:
        raise ValueError(
            f"this job of Slurm has {tasks} tasks and srun did not start this command, which would wait for the others "
            "for ever: put srun before it, or let hydra/launcher=slurm submit it"
        )
    options = f"--nodes={num_nodes} --ntasks-per-node={devices}"
    if isinstance(devices, int) and num_nodes * devices != tasks:
        raise ValueError(
            f"trainer.devices={devices} on trainer.num_nodes={num_nodes} are {num_nodes * devices} processes, and "
            f"Slurm has started {tasks}: give srun {options}, or set the keys to what it has"
        )
    if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in environment:
        raise ValueError(f"Slurm does not say how many processes each node has: give srun {options}, and no --ntasks")
