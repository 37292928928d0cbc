"""The script that Slurm runs for one job of a sweep: what it asks for, and how it ends."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fcnseg.config import TrainerConfig
from fcnseg.sweeps.job import CONSOLE, Job

SCRIPT, OUTCOME, STAMP = "slurm.sh", "slurm.end", ".slurm.start"
"""Files in a job's folder: the script, the job's number and exit status at its end, and what tells when it began."""

WARNED_EARLY_S = 60
"""Slurm may warn this much earlier than it was asked to."""

# Only this shell hears the warning before the time limit, and passes it on to the training, so that it knows later why
# the training has ended: 143 is also the status of srun when one process has failed and the others were told to end.
TEMPLATE = """\
#!/bin/bash
{options}

{setup}
folder={folder}
warned= asked=
trap 'warned=yes; kill -USR1 "$run" 2>/dev/null' USR1
trap 'asked=yes' TERM
rm -f "$folder/{outcome}"
: > "$folder/{stamp}"
srun {flags} \\
  {words} &
run=$!
while :; do
  wait "$run"
  status=$?
  kill -0 "$run" 2>/dev/null || break
done
wait "$run"
status=$?
if [ "$status" -ne 0 ] && [ -e "$folder/results.json" ] && [ "$warned" ]; then status=0; fi
if [ "$status" -eq 143 ] && [ -z "$warned$asked" ]; then status=1; fi
{requeue}printf '%s %s\\n' "$SLURM_JOB_ID" "$status" > "$folder/{outcome}"
exit "$status"
"""

REQUEUE = """\
if [ "$status" -ne 0 ] && [ "$warned" ] && [ -z "$asked" ]; then
  if [ "$folder/checkpoints/last.ckpt" -nt "$folder/{stamp}" ]; then
    scontrol requeue "$SLURM_JOB_ID" && exit "$status"
  fi
  echo "error: the time limit came before a checkpoint was written: set a longer hydra.launcher.time" >&2
  status=1
fi
"""


@dataclass
class Wishes:
    """What the jobs of a sweep ask of Slurm; hydra.launcher says each under the same name.

    Attributes:
        partition: null takes Slurm's default.
        account: as above.
        qos: as above.
        time: limit, in minutes; null takes the partition's.
        nodes: null takes the job's trainer.num_nodes.
        gpus_per_node: null takes the job's trainer.devices, and none with trainer.accelerator=cpu.
        cpus_per_task: null takes Slurm's default, often one.
        mem_gb: of a node.
        signal_delay_s: how long before the time limit a job is warned, so that it saves and queues again.
        requeue: whether a job that was warned, or had to make room for another, queues again.
        sbatch: further options, each with its dashes.
        setup: lines of shell before the training, such as module load.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: int | None = None
    nodes: int | None = None
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    mem_gb: int | None = None
    signal_delay_s: int = 120
    requeue: bool = True
    sbatch: Sequence[str] = field(default_factory=tuple)
    setup: Sequence[str] = field(default_factory=tuple)

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


def sized(wishes: Wishes, trainer: TrainerConfig) -> tuple[int, int, int]:
    """Returns a job's nodes, processes on each, and GPUs on each.

    Raises:
        ValueError: the configuration does not say how many processes there are.
    """
    nodes, devices = wishes.nodes or trainer.num_nodes, trainer.devices
    own = len(devices) if isinstance(devices, Sequence) and not isinstance(devices, str) else devices
    on_cpu = trainer.accelerator == "cpu" or wishes.gpus_per_node == 0
    tasks = own if on_cpu else wishes.gpus_per_node or own
    if not isinstance(tasks, int) or tasks < 1:
        raise ValueError(
            f"trainer.devices={devices} does not say how many processes each node has: set it to a number, or set "
            "hydra.launcher.gpus_per_node"
        )
    return nodes, tasks, 0 if on_cpu else tasks


def script(wishes: Wishes, job: Job, words: Sequence[str]) -> str:
    """Returns the whole script of a job.

    Args:
        wishes: what all jobs ask for.
        job: which one it is.
        words: its command.

    Raises:
        ValueError: as sized.
    """
    nodes, tasks, gpus = sized(wishes, job.config.trainer)
    added = {"devices": tasks, "num_nodes": nodes} | ({"accelerator": "gpu"} if gpus else {})
    flags = ["--kill-on-bad-exit=1", "--input=none"]
    flags += [f"--cpus-per-task={wishes.cpus_per_task}"] if wishes.cpus_per_task else []
    return TEMPLATE.format(
        options="\n".join(f"#SBATCH {each}" for each in options(wishes, nodes, tasks, gpus)),
        setup="\n".join(wishes.setup),
        folder=shlex.quote(str(job.folder)),
        flags=" ".join(flags),
        words=shlex.join([*words, *(f"trainer.{key}={value}" for key, value in added.items())]),
        requeue=REQUEUE.format(stamp=STAMP) if wishes.requeue else "",
        stamp=STAMP,
        outcome=OUTCOME,
    )


def options(wishes: Wishes, nodes: int, tasks: int, gpus: int) -> list[str]:
    """Returns the options of sbatch that stand in the script."""
    named: dict[str, Any] = {
        "partition": wishes.partition,
        "account": wishes.account,
        "qos": wishes.qos,
        "time": wishes.time,
        "nodes": nodes,
        "ntasks-per-node": tasks,
        "gpus-per-node": gpus or None,
        "cpus-per-task": wishes.cpus_per_task,
        "mem": f"{wishes.mem_gb}G" if wishes.mem_gb else None,
        "signal": f"B:USR1@{wishes.signal_delay_s}",
    }
    chosen = [f"--{key}={value}" for key, value in named.items() if value is not None]
    return [*chosen, "--requeue" if wishes.requeue else "--no-requeue", *wishes.sbatch]


def submission(job: Job, name: str, after: str | None) -> list[str]:
    """Returns what sbatch is told of one job beside its script.

    Args:
        job: which one it is.
        name: shown by squeue.
        after: number of the job in Slurm that must finish before.
    """
    console = str(job.folder.absolute() / CONSOLE).replace("%", "%%")
    told = ["--parsable", f"--job-name={name}", f"--output={console}", "--open-mode=append"]
    return told + ([f"--dependency=afterok:{after}", "--kill-on-invalid-dep=yes"] if after else [])
