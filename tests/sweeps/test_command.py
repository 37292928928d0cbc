"""The command of a job says what the sweep was told, and nothing of other runs reaches it."""

import shlex
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from fcnseg.config import CONF_DIR, EXPERIMENTS_DIR
from fcnseg.sweeps.command import NOT_INHERITED, command, environment, places, quoted


def source(provider, path):
    return SimpleNamespace(provider=provider, path=str(path))


def hydra(*overrides, sources=()):
    return SimpleNamespace(
        runtime=SimpleNamespace(config_sources=[source("hydra", "hydra.conf"), source("main", CONF_DIR), *sources]),
        job=SimpleNamespace(config_name="t2_skips"),
        overrides=SimpleNamespace(hydra=list(overrides)),
    )


def test_a_job_is_a_single_run_in_its_own_folder(make_job):
    job = make_job(added=["init_from='x'"])
    assert command(job, hydra()) == [
        *(sys.executable, "-m", "fcnseg.train", "--config-name", "t2_skips", "seed=0", "init_from='x'"),
        *("hydra.mode=RUN", f"hydra.run.dir='{job.folder}'"),
    ]


def test_what_concerns_the_sweep_alone_is_not_passed_on(make_job):
    own = ["hydra.mode=MULTIRUN", "hydra/launcher=pool", "hydra.launcher.gpus=[0]", "hydra.sweep.dir=x"]
    own += ["hydra.run.dir=y", "hydra/sweeper=basic", "hydra.sweeper.max_batch_size=2"]
    words = command(make_job(), hydra(*own, "hydra.verbose=true"))
    assert words[5:7] == ["hydra.verbose=true", "seed=0"]
    assert not set(words) & set(own)


def test_other_folders_of_configurations_are_passed_on():
    sources = [source("command-line", "/my configs"), source("main", CONF_DIR), source("fcnseg", EXPERIMENTS_DIR)]
    assert places(sources) == ["--config-dir", "/my configs"]
    assert places([source("main", "/other")]) == ["--config-path", "/other"]


@pytest.mark.parametrize(
    "value",
    ["plain", "a b", "it's", 'say "x"', "row=32s,seed=0", "back\\slash", "end\\", "\\'", "${x}", "\\${x}", "[1]"],
)
def test_quoted_values_come_back_as_they_are(value):
    override = OverridesParser.create().parse_override(f"key={quoted(value)}")
    assert OmegaConf.create({"key": override.value()}).key == value


def test_no_shell_reads_the_words():
    words = ["a b", "it's", '"x"', "$HOME", "a,b=[1]"]
    echo = [sys.executable, "-c", "import sys; print(sys.argv[1:])", *words]
    assert subprocess.run(echo, capture_output=True, text=True, check=True).stdout.strip() == str(words)
    assert shlex.split(shlex.join(words)) == words


# ---- variables


def test_another_runs_variables_are_not_inherited(make_job):
    outer = dict.fromkeys([*NOT_INHERITED, "SLURM_NTASKS", "PMI_RANK", "PMIX_RANK"], "1") | {
        "PATH": "/bin",
        "WANDB_MODE": "offline",
    }
    kept = environment(make_job(), outer)
    assert kept == {"PATH": "/bin", "WANDB_MODE": "offline", "CUDA_VISIBLE_DEVICES": ""}
    assert {"LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED"} < set(
        outer
    )


def test_a_job_sees_its_own_devices_and_its_share_of_the_processors(make_job):
    job = make_job(devices=("2", "GPU-7"))
    kept = environment(job, {"CUDA_VISIBLE_DEVICES": "0,1,2"}, threads=3, launcher=11)
    assert kept == {"CUDA_VISIBLE_DEVICES": "2,GPU-7", "OMP_NUM_THREADS": "3", "FCNSEG_LAUNCHER": "11"}
    assert environment(job, {"OMP_NUM_THREADS": "1"}, threads=3)["OMP_NUM_THREADS"] == "1"
