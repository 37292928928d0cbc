"""pyproject.toml and requirements.lock say the same, and every locked package carries hashes."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
REMEDY = "run make lock and hand in requirements.lock"


def asked():
    """The requirements of pyproject.toml, those of the developers included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for lines in project["optional-dependencies"].values() for line in lines)]
    return [Requirement(line) for line in lines]


def locked(text):
    """{package: [version of each marker]} and the packages without a hash."""
    versions, bare = {}, []
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        if found := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", block):
            versions.setdefault(canonicalize_name(found[1]), []).append(found[2])
            if "--hash=sha256:" not in block:
                bare.append(found[1])
    return versions, bare


def disagreements(requirements, versions):
    """Says what is asked for and not locked, or locked at a version that is not asked for."""
    said = []
    for requirement in requirements:
        found = versions.get(canonicalize_name(requirement.name), [])
        if not found or not all(requirement.specifier.contains(version, prereleases=True) for version in found):
            said.append(f"pyproject.toml asks for {requirement}, requirements.lock has {found or 'nothing'}: {REMEDY}")
    return said


def test_what_is_asked_for_is_locked():
    versions, _ = locked((ROOT / "requirements.lock").read_text())
    assert len(versions) > 50
    assert disagreements(asked(), versions) == []


def test_every_locked_package_has_a_hash():
    assert locked((ROOT / "requirements.lock").read_text())[1] == []


@pytest.mark.parametrize(
    ("lock", "wrong"),
    [("torch==2.14.0 \\\n    --hash=sha256:00", 0), ("torch==2.13.0 \\\n    --hash=sha256:00", 1), ("numpy==2.1", 1)],
)
def test_a_disagreement_is_noticed(lock, wrong):
    assert len(disagreements([Requirement("torch>=2.14")], locked(lock)[0])) == wrong


def test_a_missing_hash_is_noticed():
    assert locked("numpy==2.1\ntorch==2.14 \\\n    --hash=sha256:00")[1] == ["numpy"]


def test_the_environment_is_installed_with_its_hashes_checked():
    makefile = (ROOT / "Makefile").read_text()
    assert "pip sync --require-hashes" in makefile
    assert "-m pip install --quiet --require-hashes" in makefile
