"""The commit is recorded where a repository tracks the source, and nowhere else."""

import re
import subprocess

import pytest

from fcnseg import revision
from fcnseg.revision import code_changes, code_version


def git(folder, *arguments):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=folder, check=True)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """The source in a repository, committed."""
    path = tmp_path / "src" / "revision.py"
    path.parent.mkdir()
    path.write_text("1")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--no-verify", "-m", "first")
    monkeypatch.setattr(revision, "__file__", str(path))
    return path


def test_the_commit_and_changes_to_the_source_are_recorded(source):
    clean = code_version()
    source.write_text("2")
    assert re.fullmatch("[0-9a-f]{40}", clean["commit"])
    assert clean["dirty"] is False
    assert code_version() == clean | {"dirty": True}


def test_results_are_no_change_of_the_source(source):
    results = source.parent.parent / "experiments" / "results"
    results.mkdir(parents=True)
    (results / "infer.jsonl").write_text("{}")
    (results.parent / "table.yaml").write_text("")
    git(source.parent.parent, "add", ".")
    git(source.parent.parent, "commit", "--quiet", "--no-verify", "-m", "results")
    (results / "infer.jsonl").write_text("{}{}")
    (results / "train.jsonl").write_text("{}")
    assert (code_version()["dirty"], code_changes()) == (False, None)
    (results.parent / "table.yaml").write_text("1")
    assert code_version()["dirty"] is True
    assert "infer.jsonl" not in code_changes()


def test_source_that_a_repository_does_not_track_is_not_its_commit(tmp_path, monkeypatch):
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--no-verify", "--allow-empty", "-m", "first")
    (tmp_path / "revision.py").write_text("an installed copy, say in .venv")
    monkeypatch.setattr(revision, "__file__", str(tmp_path / "revision.py"))
    assert code_version() == {"commit": None, "dirty": None}


def test_outside_a_repository_the_commit_is_null(tmp_path, monkeypatch):
    monkeypatch.setattr(revision, "__file__", str(tmp_path / "revision.py"))
    assert code_version() == {"commit": None, "dirty": None}


@pytest.fixture
def changed(source, monkeypatch):
    """A repository whose source has one change with a secret in it."""
    monkeypatch.setenv("MY_TOKEN", "tell-nobody-of-this")
    assert code_changes() is None
    source.write_text("token = 'tell-nobody-of-this'")


@pytest.mark.usefixtures("changed")
def test_changes_are_told_without_secrets():
    told = code_changes()
    assert "+token = '$MY_TOKEN'" in told
    assert "-1" in told


@pytest.mark.usefixtures("changed")
def test_long_changes_are_cut_off():
    assert code_changes(largest=20).endswith("... cut off after 20 characters\n")
    assert len(code_changes(largest=20)) < 60


def test_source_that_nobody_tracks_has_no_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(revision, "__file__", str(tmp_path / "revision.py"))
    assert code_changes() is None
