"""The house rules: layers, imports, sizes, and a lock that agrees with the project."""

import ast
import json
import os
import re
import statistics
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
FILES = sorted(SOURCE.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [Requirement(line) for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]]


def python(*arguments, **options):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False, **options
    )


# ---- imports


def test_each_layer_imports_only_from_those_below():
    contract = python("-c", "from importlinter.cli import lint_imports; exit(lint_imports(no_cache=True))", cwd=ROOT)
    assert contract.returncode == 0, contract.stdout + contract.stderr
    assert "0 broken" in contract.stdout


def test_every_module_has_its_layer():
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    named = {name for layer in layers for name in re.split(r"[|:\s]+", layer)}
    modules = {f"fcnseg.{path.stem}" for path in (SOURCE / "fcnseg").iterdir() if not path.name.startswith(("_", "py"))}
    assert modules <= named


COMMANDS = ["fcnseg.train", "fcnseg.evaluate", "fcnseg.predict", "fcnseg.prediction.inputs"]


@pytest.mark.parametrize("module", ["fcnseg", *COMMANDS, "hydra_plugins.fcnseg_searchpath"])
def test_importing_loads_nothing_heavy(module):
    done = python("-c", f"import {module}, sys, json; print(json.dumps(list(sys.modules)))", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert module in loaded
    assert loaded.isdisjoint({"torch", "lightning", "numpy", "torchvision", "albumentations", "cv2", "PIL", "wandb"})


# ---- sizes


@cache
def tree(path):
    return ast.parse(path.read_text())


def functions():
    """Name and length of every function, the docstring not counted."""
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                said = node.body[0] if ast.get_docstring(node) is not None else None
                explained = said.end_lineno - said.lineno + 1 if said else 0
                yield f"{path.name}:{node.name}", node.end_lineno - node.lineno + 1 - explained


def lengths():
    return {str(path.relative_to(SOURCE)): len(path.read_text().splitlines()) for path in FILES}


def test_no_function_is_longer_than_40_lines_and_the_median_at_most_10():
    found = list(functions())
    assert [(name, lines) for name, lines in found if lines > 40] == []
    assert statistics.median(lines for _, lines in found) <= 10


def test_no_file_is_longer_than_300_lines_and_the_median_at_most_120():
    assert {name: lines for name, lines in lengths().items() if lines > 300} == {}
    assert statistics.median(lengths().values()) <= 120


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_file_says_what_it_is(path):
    assert ast.get_docstring(tree(path))


def test_nothing_is_a_bag_of_odds_and_ends():
    names = {part for path in FILES for part in path.relative_to(SOURCE).with_suffix("").parts}
    assert names.isdisjoint({"utils", "util", "helpers", "common", "misc"})


# ---- the lock


@cache
def locked():
    """Version of each package in the lock; several where they differ by platform."""
    pins = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", (ROOT / "requirements.lock").read_text(), re.M)
    found = {}
    for name, version in pins:
        found.setdefault(canonicalize_name(name), []).append(Version(version))
    return found


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_the_lock_holds_every_direct_dependency_in_its_range(requirement):
    versions = locked()[canonicalize_name(requirement.name)]
    assert all(version in requirement.specifier for version in versions), (requirement, versions)


def test_the_lock_names_no_index_and_no_address():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?://|git\+|file:|@ |^\s*--(?!hash=)", text, re.M)


def test_every_locked_package_has_a_hash():
    entries = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / "requirements.lock").read_text())
    pins = [entry for entry in entries if "==" in entry and not entry.startswith("#")]
    assert len(pins) >= len(locked()) > 20
    assert [entry.splitlines()[0] for entry in pins if "--hash=sha256:" not in entry] == []
