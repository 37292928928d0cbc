"""hydra/launcher=pool: the jobs of a sweep as fresh processes of this machine, one to a GPU.

Hydra imports this for every Hydra command of the environment: nothing heavy may be imported here.
"""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from fcnseg.sweeps.launcher import SweepLauncher


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


class PoolLauncher(SweepLauncher):
    """Runs the jobs of a sweep on this machine."""

    def backend(self) -> Any:
        """Divides this machine."""
        import os

        from fcnseg.sweeps.pool import Pool, found_gpus

        chosen = self.options
        return Pool(found_gpus(chosen["gpus"], os.environ), chosen["gpus_per_job"], chosen["n_jobs"])


ConfigStore.instance().store(group="hydra/launcher", name="pool", node=PoolConf, provider="fcnseg")
