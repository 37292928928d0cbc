"""A real Slurm of two nodes on this machine: munged, slurmctld and two slurmd, all of them below one folder.

Works as root in a container, without systemd, control groups or accounting.
"""

import atexit
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from fcnseg.interruption import SIGNAL_AT_PARENTS_DEATH
from warm import free_port

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
NODES = ("node1", "node2")
PATHS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
HOSTS, MARK = Path("/etc/hosts"), "# made by the tests of fcnseg"

SETTINGS = """
ClusterName=fcnseg
SlurmctldHost=localhost
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ReturnToService=2
KillWait=10
OverTimeLimit=0
JobRequeue=1
"""
"""task/none and linuxproc do without control groups."""


def missing():
    """Names the programs that are not installed."""
    return [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name, path=PATHS) is None]


class Cluster:
    """Two nodes of two processors each, while the context is open.

    Attributes:
        folder: of settings, logs and state.
        environment: with which the client programs find this cluster and no other.
    """

    def __init__(self, folder):
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": PATHS}
        self._daemons, self._ports = [], [free_port() for _ in NODES]

    def __enter__(self):
        atexit.register(self._stop)  # a session that breaks off may close no fixtures
        with contextlib.ExitStack() as stack:
            stack.callback(self._stop)
            self._start()
            stack.pop_all()
        return self

    def __exit__(self, *error):
        self._stop()
        atexit.unregister(self._stop)

    def _start(self):
        folder = self.folder
        folder.chmod(0o755)  # munged refuses a folder that others cannot pass through
        (folder / "state").mkdir()
        nodes = "\n".join(
            f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000"
            for name, port in zip(NODES, self._ports, strict=True)
        )
        partition = f"PartitionName=both Nodes={','.join(NODES)} Default=YES MaxTime=INFINITE State=UP"
        settings = SETTINGS.format(port=free_port(), folder=folder)
        (folder / "slurm.conf").write_text(f"{settings}{nodes}\n{partition}\n")
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        _write_hosts([f"127.0.0.1 {name} {MARK}" for name in NODES])
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={folder}/munge.{end}" for option, end in files.items()]
        self._begin("munged", "--foreground", "--force", *options)
        self._until("munge.socket is there", lambda: (folder / "munge.socket").exists())
        self._begin("slurmctld", "-D", "-i", "-L", str(folder / "slurmctld.log"))
        for name in NODES:
            self._begin("slurmd", "-D", "-N", name, "-L", str(folder / f"{name}.log"))
        self._until("both nodes are idle", lambda: self.ask("sinfo", "-h", "-o", "%D %t") == "2 idle")

    def _begin(self, program, *options):
        command = [shutil.which(program, path=PATHS), *options]
        own = {"env": os.environ | self.environment, "start_new_session": True, "preexec_fn": _end_with_parent}
        with (self.folder / f"{program}.{len(self._daemons)}.out").open("w") as output:
            self._daemons.append(subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **own))

    def _until(self, what, holds, timeout=30):
        end = time.monotonic() + timeout
        while not holds():
            gone = [each.args[0] for each in self._daemons if each.poll() is not None]
            if gone or time.monotonic() > end:
                logs = "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in self.folder.glob("*.[ol][uo]*"))
                raise RuntimeError(f"Slurm did not start ({gone or 'too slow'}): waited until {what}\n{logs}")
            time.sleep(0.1)

    def _stop(self):
        """Ends the jobs, then the daemons, then whatever still names this folder."""
        if len(self._daemons) > 1:
            with contextlib.suppress(subprocess.SubprocessError):
                self.ask("scancel", "--user=root", "--signal=KILL", "--full")
                self.ask("scancel", "--user=root")
        for number, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
            for each in reversed(self._daemons):
                if each.poll() is None:
                    each.send_signal(number)
            for each in self._daemons:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    each.wait(patience)
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        _write_hosts([])

    def processes(self):
        """Returns what runs with the settings of this cluster, this process's own children excepted."""
        mark, found = f"SLURM_CONF={self.folder}/slurm.conf".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def ask(self, program, *options, timeout=30):
        """Runs a client program and returns what it says; with its errors, which it may well have before the start."""
        command = [shutil.which(program, path=PATHS), *options]
        about = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "timeout": timeout, "check": False}
        done = subprocess.run(command, env=os.environ | self.environment, text=True, **about)
        return done.stdout.strip()

    def job(self, number):
        """Returns the fields that scontrol shows of a job."""
        shown = self.ask("scontrol", "--oneliner", "show", "job", str(number))
        return dict(field.split("=", 1) for field in shown.split(" ") if "=" in field)

    def rank(self, number, rank):
        """Returns the process of a job that has a rank; None if there is none now."""
        marks = {f"SLURM_JOB_ID={number}".encode(), f"SLURM_PROCID={rank}".encode(), b"SLURM_STEP_ID=0"}
        for process in self.processes():
            with contextlib.suppress(OSError):
                own, words = (
                    Path(f"/proc/{process}/{name}").read_bytes().split(b"\0") for name in ("environ", "cmdline")
                )
                if marks <= set(own) and b"fcnseg.train" in words and b"srun" not in words[0]:
                    return process
        return None

    def restart(self, number):
        """Starts a job that was queued again, for which Slurm would wait two minutes.

        Some seconds it needs: a start within the second in which the first one ended counts as that one's, and fails.
        """
        self.wait(number, "PENDING")
        time.sleep(3)
        self.ask("scontrol", "update", f"JobId={number}", "StartTime=now")

    def wait(self, number, *states, timeout=180):
        """Waits until a job is in one of the states, and returns its fields."""
        end = time.monotonic() + timeout
        while (fields := self.job(number)).get("JobState") not in states:
            if time.monotonic() > end:
                raise TimeoutError(f"job {number} is not {states} but {fields}\n{self.ask('squeue')}")
            time.sleep(0.2)
        return fields


def _end_with_parent():
    """Has the system end a daemon when the process of the tests is gone, killed even."""
    ctypes.CDLL(None).prctl(SIGNAL_AT_PARENTS_DEATH, int(signal.SIGTERM))


def _write_hosts(lines):
    """Replaces the lines that these tests have in the file of host names; in place, since it may be mounted."""
    kept = [line for line in HOSTS.read_text().splitlines() if MARK not in line]
    text = "\n".join([*kept, *lines]) + "\n"
    if text != HOSTS.read_text():
        HOSTS.write_text(text)


if __name__ == "__main__":  # for a look by hand: python tests/slurm_cluster.py FOLDER COMMAND...
    Path(sys.argv[1]).mkdir(parents=True)
    with Cluster(Path(sys.argv[1]).resolve()) as cluster:
        sys.exit(subprocess.run(sys.argv[2:], env=os.environ | cluster.environment, check=False).returncode)
