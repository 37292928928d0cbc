"""Composes configurations and runs the commands: in this process, which saves the imports, or in one of their own."""

import copy
import functools
import hashlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import torch
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.singleton import Singleton
from omegaconf import OmegaConf

from fcnseg.config import CONF_DIR, register

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", ".*deprecated by PEP 585")  # beartype's, of OmegaConf's DictConfig
    from fcnseg import bound, check, evaluate, predict, show, train

COMMANDS = {"train": train.main, "evaluate": evaluate.main, "check": check.main, "show": show.main}
COMMANDS |= {"bound": bound.main, "predict": predict.main}
SOURCE = CONF_DIR.parent / "src"
SMALL = (
    *("data.height=32", "data.width=48", "data.train_count=6", "data.val_count=5", "data.crop=32", "data.batch_size=2"),
    *("data.workers=0", "trainer.max_steps=2", "trainer.val_every=1", "trainer.limit_val_batches=2"),
    *("trainer.log_every=1", "trainer.accelerator=cpu", "trainer.progress=false"),
)
"""Overrides for a training of drawn shapes that takes a second."""


OUTSIDE = [
    "os",
    "../x",
    "..",
    "os.path",
    "fcnseg.data.voc",
    "voc.os",
    "lightning.pytorch.trainer.trainer.os",
    "",
    "Voc",
]
"""Names that a lookup inside the package must not find."""


def composed(*overrides):
    """Returns the configuration that a training with these overrides would run with, as plain dataclasses."""
    return copy.deepcopy(_composed(overrides))


@functools.cache
def _composed(overrides):
    chosen = tuple(each for each in overrides if (CONF_DIR / each.partition("=")[0]).is_dir())
    config = copy.deepcopy(_groups(chosen))
    for override in OverridesParser.create().parse_overrides([each for each in overrides if each not in chosen]):
        OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    return OmegaConf.to_object(config)


@functools.cache
def _groups(chosen):
    """Composes with choices of groups only, which takes most of the time."""
    register()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose("train", overrides=list(chosen))


def trained(folder, *overrides):
    """Trains in this process and returns what results.json says."""
    folder.mkdir(parents=True, exist_ok=True)
    with mock.patch.dict(os.environ):
        return train.train(composed(*overrides), folder)


def state_of(folder):
    """Returns the net's tensors in a run's last checkpoint."""
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def equal_states(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def outcome(folder):
    """Returns all that a run computed, without times: what an interrupted run must leave to the last bit."""
    results = json.loads((folder / "results.json").read_text())
    parts = {"results": {key: value for key, value in results.items() if key not in ("seconds", "dirty", "commit")}}
    parts["metrics"] = (folder / "metrics.csv").read_text().splitlines()
    parts["picture"] = (folder / "predictions" / "grid.png").read_bytes()
    for name in ("last", "best"):
        content = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        content["progress"].pop("elapsed_s")
        kept = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch", "progress")
        parts[name] = {key: content[key] for key in kept}
    return parts


def unequal(first, second, where=""):
    """Names every place where two outcomes differ by a bit."""
    if isinstance(first, torch.Tensor):
        same = torch.equal(first, second) and first.dtype == second.dtype
        return [] if same else [where]
    if isinstance(first, dict):
        if first.keys() != second.keys():
            return [f"{where}: {first.keys() ^ second.keys()}"]
        return [each for key in first for each in unequal(first[key], second[key], f"{where}.{key}")]
    if isinstance(first, list | tuple):
        if len(first) != len(second):
            return [f"{where}: {len(first)} and {len(second)}"]
        pairs = enumerate(zip(first, second, strict=True))
        return [each for index, pair in pairs for each in unequal(*pair, f"{where}[{index}]")]
    return [] if first == second or (first != first and second != second) else [f"{where}: {first} and {second}"]


def main(module, *arguments):
    """Runs a command in this process, command line and all; returns its exit status."""
    state = Singleton.get_state()
    try:
        with mock.patch.dict(os.environ), mock.patch.object(sys, "argv", [f"fcnseg.{module}", *arguments]):
            COMMANDS[module]()
    except SystemExit as stop:
        return stop.code
    finally:
        Singleton.set_state(state)
    return 0


def run(module, *arguments, cwd, **environment):
    """Runs a command in a process of its own, from a folder outside the repository."""
    command = [sys.executable, "-m", f"fcnseg.{module}", *arguments]
    options = {"capture_output": True, "text": True, "timeout": 540, "check": False}
    return subprocess.run(command, cwd=cwd, env=surroundings() | environment, **options)


def surroundings():
    """Returns the environment of a command in a process of its own."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("HYDRA_FULL_ERROR", "LOCAL_RANK")}
    paths = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    return inherited | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "COLUMNS": "200", "PYTHONPATH": paths}


def said(text):
    """Returns what a command printed, as one line without colours and without breaks."""
    return " ".join(text.split())


def snapshot(folder):
    """Returns a digest of every file in a folder."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
