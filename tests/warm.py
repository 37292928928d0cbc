"""Trainings in processes that can be killed, forked from one that has done the imports, and the comparison of runs.

Nothing is computed before the fork, so that no thread is lost by it.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import time
import warnings
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_only

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["warm", "runs", "fcnseg.build", "fcnseg.visualize", "fcnseg.console"])


def command(arguments, output, environment):
    """Runs fcnseg.train as its command line would, with stdout and stderr in a file."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(environment)
    rank_zero_only.rank = int(environment.get("LOCAL_RANK", "0"))  # set at the import in a process of its own
    os.setpgid(0, 0)
    multiprocessing.set_start_method("fork", force=True)  # of loader workers, as in a command
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    sys.argv = ["fcnseg.train", *arguments]
    from fcnseg import train

    train.main()


class Training:
    """One or more processes of one training.

    Attributes:
        processes: by rank.
        output: file of what they print.
    """

    def __init__(self, folder, arguments, processes=1, wrapper=command, **environment):
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder, self.output = folder, folder.parent / f"{folder.name}.out"
        self.start = self.output.stat().st_size if self.output.exists() else 0
        several = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(processes)}
        arguments = [*arguments, f"trainer.devices={processes}", f"hydra.run.dir={folder}"]
        self.processes = []
        for rank in range(processes):
            own = several | {"LOCAL_RANK": str(rank), "NODE_RANK": "0"} if processes > 1 else {}
            each = CONTEXT.Process(target=wrapper, args=(arguments, str(self.output), environment | own))
            each.start()
            self.processes.append(each)

    def wait(self, timeout=240):
        """Returns the exit status of the first process, as a shell would say it."""
        for each in self.processes:
            each.join(timeout)
            if each.exitcode is None:
                self.kill()
                raise TimeoutError(f"still running after {timeout} s:\n{self.said()}")
        return self.processes[0].exitcode

    def kill(self, number=signal.SIGKILL):
        """Sends a signal to every process and, with SIGKILL, to its loader workers too."""
        for each in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.pid, number)
        if number == signal.SIGKILL:
            for each in self.processes:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(each.pid, number)
                each.join()

    def said(self):
        """Returns what was printed since this training began, as one line."""
        return " ".join(self.output.read_text()[self.start :].split()) if self.output.exists() else ""

    def until(self, condition, timeout=180):
        """Waits until something holds; False if the training ended before."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if condition():
                return True
            if not any(each.is_alive() for each in self.processes):
                return condition()
            time.sleep(0.01)
        raise TimeoutError(self.said())


def finished(folder, arguments, processes=1):
    """Trains to the end and returns what was printed."""
    training = Training(folder, arguments, processes)
    status = training.wait()
    assert status == 0, training.said()
    return training.said()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def steps_of(folder):
    """Returns the step of the last checkpoint; 0 if there is none."""
    path = Path(folder) / "checkpoints" / "last.ckpt"
    if not path.exists():
        return 0
    return torch.load(path, weights_only=True)["global_step"]
