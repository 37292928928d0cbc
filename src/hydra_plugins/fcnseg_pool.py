"""hydra/launcher=pool: the jobs of a sweep as fresh processes of this machine, one to a GPU.

Hydra imports this for every Hydra command of the environment: nothing heavy may be imported here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class PoolConf:
    """Options of hydra/launcher=pool."""

    _target_: str = "hydra_plugins.fcnseg_pool.PoolLauncher"
    gpus: Any = "auto"
    """auto (all that this process may use), their number, or a list of them."""
    gpus_per_job: int | None = None
    """null takes the job's trainer.devices."""
    n_jobs: int | None = None
    """Jobs at once; null is as many as the GPUs carry, and one without GPUs."""
    fail_fast: bool = False
    """Let the first failure stop the others."""
    dry_run: bool = False
    """List what would run, and run nothing."""


class PoolLauncher(Launcher):
    """Runs the jobs of a sweep on this machine."""

    def __init__(self, **options: Any) -> None:
        """Keeps the options of PoolConf."""
        super().__init__()
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what Hydra hands over."""
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs, and returns when all have ended.

        Args:
            job_overrides: those of each job.
            initial_job_idx: the number of the first.
        """
        import os

        from fcnseg.sweeps.launch import launch, option
        from fcnseg.sweeps.pool import Pool, found_gpus

        chosen = {key: option(value) for key, value in self.options.items()}
        load = self.hydra_context.config_loader.load_sweep_config
        return launch(
            job_overrides,
            lambda overrides: load(self.config, overrides),
            self.config.hydra,
            lambda: Pool(found_gpus(chosen["gpus"], os.environ), chosen["gpus_per_job"], chosen["n_jobs"]),
            first=initial_job_idx,
            fail_fast=chosen["fail_fast"],
            dry_run=chosen["dry_run"],
        )


ConfigStore.instance().store(group="hydra/launcher", name="pool", node=PoolConf, provider="fcnseg")
