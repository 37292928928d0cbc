"""What hydra/launcher=pool and =slurm have in common. Hydra reads this for every command of its: nothing heavy."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import OmegaConf

if TYPE_CHECKING:
    from fcnseg.sweeps.backend import Backend


class SweepLauncher(Launcher):
    """Hands the jobs of a sweep to a back end."""

    def __init__(self, **options: Any) -> None:
        """Keeps the options of the launcher, as Python's own types."""
        super().__init__()
        plain = OmegaConf.to_container
        self.options: dict[str, Any] = {
            key: plain(each) if OmegaConf.is_config(each) else each for key, each in options.items()
        }

    def setup(self, *, hydra_context: HydraContext, task_function: Any, config: Any) -> None:
        """Keeps what Hydra hands over."""
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Carries the jobs out.

        Args:
            job_overrides: those of each job.
            initial_job_idx: the number of the first.
        """
        from fcnseg.sweeps.launch import launch

        load = self.hydra_context.config_loader.load_sweep_config
        return launch(
            job_overrides,
            lambda overrides: load(self.config, overrides),
            self.config.hydra,
            self.backend,
            first=initial_job_idx,
            fail_fast=self.options["fail_fast"],
            dry_run=self.options["dry_run"],
        )

    @abstractmethod
    def backend(self) -> "Backend":
        """Builds what carries the jobs out.

        Raises:
            ValueError: an option that cannot be.
        """
