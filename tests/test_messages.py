"""What the user can mend is one line."""

import pytest

from fcnseg.messages import complained


@pytest.mark.parametrize("error", [ValueError("side must be [positive]"), FileNotFoundError("there is no file a.png")])
def test_a_complaint_is_one_line_and_status_1(error, capsys):
    with pytest.raises(SystemExit) as stopped, complained():
        raise error
    assert stopped.value.code == 1
    assert capsys.readouterr().err == f"error: {error}\n"


def test_the_whole_story_is_told_on_request(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="mended"), complained():
        raise ValueError("can be mended")


def test_bugs_are_not_hidden():
    with pytest.raises(TypeError), complained():
        raise TypeError("a bug")
