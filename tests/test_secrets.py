"""No secret gets into a run folder."""

from dataclasses import asdict

import pytest

from fcnseg.secrets import check_secrets
from runs import SMALL, composed, main, said

SECRET = "0123456789abcdef-hidden"


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "api_key"])
def test_the_value_of_a_secret_variable_is_refused_and_not_repeated(name):
    config = asdict(composed("data.root=/data")) | {"row": f"https://user:{SECRET}@host"}
    with pytest.raises(ValueError, match=f"row holds the value of the environment variable {name}") as error:
        check_secrets(config, {name: SECRET})
    assert SECRET not in str(error.value)


def test_it_is_found_in_lists_and_names_too():
    for value in ([["a", SECRET]], {SECRET: 1}):
        with pytest.raises(ValueError, match=r"experiment\.paper"):
            check_secrets({"experiment": {"paper": value}}, {"X_TOKEN": SECRET})


def test_other_variables_and_short_values_do_not_matter():
    check_secrets(asdict(composed("data.root=/data")), {"HOME": "/data", "SSH_KEY": "data", "MONKEY": "/data/of/mine"})


def test_a_training_refuses_before_it_writes_anything(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    folder = tmp_path / "run"
    assert main("train", *SMALL, "data.root=${oc.env:WANDB_API_KEY}", f"hydra.run.dir={folder}") == 1
    printed = said(capsys.readouterr().err)
    assert "error: data.root holds the value of the environment variable WANDB_API_KEY" in printed
    assert SECRET not in printed
    assert not folder.exists()
