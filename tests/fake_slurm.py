"""Programs that answer like Slurm's, for tests without one: a folder to put on PATH."""

SBATCH = """
[ -e "$HERE/refusal" ] && { cat "$HERE/refusal" >&2; exit 1; }
number=$(( $(cat "$HERE/submitted" 2>/dev/null || echo 0) + 1 ))
echo $number > "$HERE/submitted"
echo "sbatch $*" >> "$HERE/calls"
env > "$HERE/environment"
echo "$number|PENDING" >> "$HERE/queue"
echo "$number;cluster"
"""
SQUEUE = """
[ -e "$HERE/silent" ] && { echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; }
case "$*" in *%j*) cat "$HERE/names" 2>/dev/null || true;; *) cat "$HERE/queue" 2>/dev/null || true;; esac
"""
SACCT = """[ -e "$HERE/accounting" ] || { echo "Slurm accounting storage is disabled" >&2; exit 1; }
cat "$HERE/accounting"
"""
SRUN = 'while [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n'
TELLS = 'echo "$(basename "$0") $*" >> "$HERE/calls"\n'
PROGRAMS = {"sbatch": SBATCH, "squeue": SQUEUE, "sacct": SACCT, "srun": SRUN, "scancel": TELLS, "scontrol": TELLS}


class FakeSlurm:
    """The programs in a folder of their own, and what they were told."""

    def __init__(self, folder):
        self.folder = folder
        for name, text in PROGRAMS.items():
            path = folder / name
            path.write_text(f"#!/bin/bash\nHERE={folder}\n{text}")
            path.chmod(0o755)

    def queue(self, **states):
        """Says what squeue answers: queue(_1="RUNNING")."""
        lines = [f"{number[1:]}|{state}\n" for number, state in states.items()]
        (self.folder / "queue").write_text("".join(lines))

    def calls(self):
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []
