"""Hydra imports the launchers for every command of its, so they must cost nothing."""

import subprocess
import sys

from runs import surroundings


def test_the_plugins_import_nothing_heavy():
    code = "import sys, hydra_plugins.fcnseg_pool, hydra_plugins.fcnseg_slurm; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env=surroundings(), capture_output=True, text=True, check=True)
    loaded = set(eval(done.stdout))
    assert "fcnseg.sweeps.launcher" in loaded
    assert not {"torch", "numpy", "lightning", "rich", "PIL"} & loaded
