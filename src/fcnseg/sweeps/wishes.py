"""What the jobs of a sweep ask of Slurm. The launcher's plug-in reads this for every Hydra command: nothing heavy."""

from dataclasses import dataclass, field

WARNED_EARLY_S = 60
"""Slurm may warn this much earlier than it was asked to."""


@dataclass
class Wishes:
    """What the jobs of a sweep ask of Slurm; hydra.launcher says each under the same name."""

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

    def check(self) -> None:
        """Refuses what Slurm would refuse, or what would end every job at its start.

        Raises:
            ValueError: names the key and what to do.
        """
        for key, least in {"time": 1, "nodes": 1, "gpus_per_node": 0, "cpus_per_task": 1, "mem_gb": 1}.items():
            value = getattr(self, key)
            if value is not None and value < least:
                raise ValueError(f"hydra.launcher.{key} must be at least {least}, not {value}")
        if self.signal_delay_s < 1:
            raise ValueError(f"hydra.launcher.signal_delay_s must be at least 1, not {self.signal_delay_s}")
        if self.time is not None and self.signal_delay_s + WARNED_EARLY_S >= 60 * self.time:
            raise ValueError(
                f"hydra.launcher.signal_delay_s={self.signal_delay_s}, and Slurm may warn {WARNED_EARLY_S} seconds "
                f"earlier, which leaves nothing of hydra.launcher.time={self.time} minutes: set a longer time, or a "
                "shorter delay"
            )
