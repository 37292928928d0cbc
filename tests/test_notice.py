"""Warnings go to stderr and show no secret."""

from fcnseg.notice import warn
from runs import said


def test_a_warning_is_one_line_on_stderr_without_secrets(capsys, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "tell-nobody-of-this")
    warn("the service refused tell-nobody-of-this [/red]")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said(printed.err) == "warning: the service refused $MY_TOKEN [/red]"
    assert printed.err.count("\n") == 1
