"""hydra/launcher=slurm: the jobs of a sweep as jobs of Slurm, on one node or several each.

Hydra imports this for every Hydra command of the environment: nothing heavy may be imported here.
"""

from dataclasses import dataclass, fields
from typing import Any

from hydra.core.config_store import ConfigStore

from fcnseg.sweeps.launcher import SweepLauncher
from fcnseg.sweeps.wishes import Wishes


@dataclass
class SlurmConf(Wishes):
    """Options of hydra/launcher=slurm: what each job asks for, and how the sweep goes about it."""

    _target_: str = "hydra_plugins.fcnseg_slurm.SlurmLauncher"
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


class SlurmLauncher(SweepLauncher):
    """Submits the jobs of a sweep to Slurm."""

    def backend(self) -> Any:
        """Asks whether Slurm answers."""
        from fcnseg.sweeps.slurm import Slurm

        chosen = self.options
        return Slurm(
            Wishes(**{each.name: chosen[each.name] for each in fields(Wishes)}),
            max_jobs=chosen["max_jobs"],
            wait=chosen["wait"],
            cancel_on_exit=chosen["cancel_on_exit"] or chosen["fail_fast"],
            poll_s=chosen["poll_s"],
        )


ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=SlurmConf, provider="fcnseg")
