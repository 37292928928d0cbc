"""The script that Slurm runs for one job of a sweep: what it asks for, and how it ends."""

import shlex
from collections.abc import Sequence
from typing import Any

from fcnseg.config import TrainerConfig
from fcnseg.sweeps.command import own_devices
from fcnseg.sweeps.job import CONSOLE, Job
from fcnseg.sweeps.wishes import Wishes

SCRIPT, OUTCOME, STAMP = "slurm.sh", "slurm.end", ".slurm.start"
"""Files in a job's folder: the script, the job's number and exit status at its end, and what tells when it began."""

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


def sized(wishes: Wishes, trainer: TrainerConfig) -> tuple[int, int, int]:
    """Returns a job's nodes, processes on each, and GPUs on each.

    Raises:
        ValueError: the configuration does not say how many processes there are.
    """
    nodes, own = wishes.nodes or trainer.num_nodes, own_devices(trainer)
    on_cpu = trainer.accelerator == "cpu" or wishes.gpus_per_node == 0
    tasks = own if on_cpu else wishes.gpus_per_node or own
    if not isinstance(tasks, int) or tasks < 1:
        raise ValueError(
            f"trainer.devices={trainer.devices} does not say how many processes each node has: set it to a number, or "
            "set hydra.launcher.gpus_per_node"
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
