"""hydra/launcher=slurm: the jobs of a sweep as jobs of Slurm, on one node or several each.

Hydra imports this for every Hydra command of the environment: nothing heavy may be imported here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class SlurmConf:
    """Options of hydra/launcher=slurm."""

    _target_: str = "hydra_plugins.fcnseg_slurm.SlurmLauncher"
    partition: str | None = None
    """null takes Slurm's default; likewise account and qos."""
    account: str | None = None
    qos: str | None = None
    time: int | None = None
    """Limit of a job, minutes; null takes the partition's."""
    nodes: int | None = None
    """Of a job; null takes its trainer.num_nodes."""
    gpus_per_node: int | None = None
    """null takes the job's trainer.devices, and none with trainer.accelerator=cpu."""
    cpus_per_task: int | None = None
    """Give as many as data.workers, and one more; null takes Slurm's default, often one."""
    mem_gb: int | None = None
    """Memory of a node."""
    signal_delay_s: int = 120
    """How long before the time limit a job is warned, so that it saves and queues again."""
    requeue: bool = True
    """Whether a job that was warned, or had to make room for another, queues again and goes on from its checkpoint."""
    sbatch: list[str] = field(default_factory=list)
    """Further options of sbatch, such as ['--constraint=a100']."""
    setup: list[str] = field(default_factory=list)
    """Lines of shell before the training, such as [module load cuda]."""
    max_jobs: int | None = None
    """Jobs in Slurm at once; null is any number."""
    wait: bool = True
    """Look after the jobs until they have ended; false submits them and leaves."""
    cancel_on_exit: bool = False
    """Cancel the jobs when the launcher is told to end (Ctrl-C, SIGTERM), or when fail_fast stops the sweep."""
    poll_s: float = 10.0
    """Seconds between two looks at the queue."""
    fail_fast: bool = False
    """Let the first failure stop the others."""
    dry_run: bool = False
    """List what would run, and submit nothing."""


class SlurmLauncher(Launcher):
    """Submits the jobs of a sweep to Slurm."""

    def __init__(self, **options: Any) -> None:
        """Keeps the options of SlurmConf."""
        super().__init__()
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what Hydra hands over."""
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submits the jobs, and returns when all have ended, or are submitted.

        Args:
            job_overrides: those of each job.
            initial_job_idx: the number of the first.
        """
        from fcnseg.sweeps.batch import Wishes
        from fcnseg.sweeps.launch import launch, option
        from fcnseg.sweeps.slurm import Slurm

        chosen = {key: option(value) for key, value in self.options.items()}
        own = {key: chosen.pop(key) for key in ("max_jobs", "wait", "cancel_on_exit", "poll_s")}
        about = {key: chosen.pop(key) for key in ("fail_fast", "dry_run")}
        own["cancel_on_exit"] = own["cancel_on_exit"] or about["fail_fast"]
        load = self.hydra_context.config_loader.load_sweep_config
        return launch(
            job_overrides,
            lambda overrides: load(self.config, overrides),
            self.config.hydra,
            lambda: Slurm(Wishes(**chosen), **own),
            first=initial_job_idx,
            **about,
        )


ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=SlurmConf, provider="fcnseg")
