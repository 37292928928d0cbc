"""The command that builds dashboards: offline it writes what it would save."""

import json
import sys

import pytest

from fcnseg import dashboard
from runs import said


def test_a_dry_run_prints_the_specification(capsys):
    dashboard.main(["t2_skips", "--dry-run"])
    content = json.loads(capsys.readouterr().out)
    assert set(content) == {"workspace", "report"}
    assert content["workspace"]["entity"] == "ENTITY"


def test_it_can_go_to_a_file(tmp_path, capsys):
    dashboard.main(
        ["t2_skips", "--scale", "small", "--entity", "us", "--project", "ours", "--out", str(tmp_path / "a")]
    )
    content = json.loads((tmp_path / "a").read_text())
    assert (content["workspace"]["entity"], content["workspace"]["project"]) == ("us", "ours")
    assert capsys.readouterr().out == ""


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        dashboard.main([*arguments])
    assert stop.value.code == 1
    return said(capsys.readouterr().err)


def test_an_unknown_experiment_is_named(capsys):
    assert "there is no experiment t9" in refused(capsys, "t9", "--dry-run")


def test_without_the_package_the_remedy_is_named(capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "fcnseg.reports.dashboards", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "wandb_workspaces"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.delattr("fcnseg.reports.dashboards", raising=False)
    assert "pip install 'fcnseg[dashboard]'" in refused(capsys, "t2_skips", "--dry-run")


def test_without_an_account_the_remedy_is_named(capsys, monkeypatch):
    class NoAccount:
        def __init__(self):
            raise RuntimeError("api_key not configured")

    monkeypatch.setattr("wandb.Api", NoAccount)
    assert "wandb login, or --dry-run, or --out FILE" in refused(capsys, "t2_skips")
