"""No secret gets into a run folder."""

from dataclasses import asdict

import pytest

from fcnseg.console import reported
from fcnseg.notice import warn
from fcnseg.secrets import check_secrets, masked
from runs import SMALL, composed, main, said

SECRET = "0123456789abcdef-hidden"
NAMES = (
    "WANDB_API_KEY",
    "HF_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "DB_PASSWORD",
    "api_key",
    "PGPASSWORD",
    "CLIENTSECRET",
    "GITHUBTOKEN",
    "API_KEYS",
    "MYSQL_PWD",
    "OPENAI_APIKEY",
    "DBPASSWD",
)


@pytest.mark.parametrize("name", NAMES)
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
    check_secrets({"root": "/home/me/data"}, {"PWD": "/home/me", "OLDPWD": "/home/me/data", "KEYBOARD": "/home/me"})


def test_a_training_refuses_before_it_writes_anything(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    folder = tmp_path / "run"
    assert main("train", *SMALL, "data.root=${oc.env:WANDB_API_KEY}", f"hydra.run.dir={folder}") == 1
    printed = said(capsys.readouterr().err)
    assert "error: data.root holds the value of the environment variable WANDB_API_KEY" in printed
    assert SECRET not in printed
    assert not folder.exists()


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("train", "trainer.max_steps"),
        ("evaluate", "trainer.devices"),
        ("check", "data.workers"),
        ("show", "n"),
        ("evaluate", "data.root"),
    ],
)
def test_no_command_prints_a_secret_that_does_not_fit_its_key(tmp_path, monkeypatch, capsys, command, key):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    override = f"{key}=${{oc.env:WANDB_API_KEY}}"
    arguments = ["checkpoint=none.ckpt"] if command == "evaluate" else []
    assert main(command, override, *arguments, f"hydra.run.dir={tmp_path / 'run'}") == 1
    printed = capsys.readouterr()
    assert f"error: {key} holds the value of the environment variable WANDB_API_KEY" in said(printed.err)
    assert SECRET not in printed.err + printed.out


def test_what_is_printed_names_the_variable_instead(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DB_PASSWORD", SECRET)
    assert masked(f"{SECRET}, {SECRET}", {"DB_PASSWORD": SECRET}) == "$DB_PASSWORD, $DB_PASSWORD"
    with pytest.raises(SystemExit), reported(tmp_path / "run"):
        raise ValueError(f"no host db:{SECRET}@host")
    warn(f"no host db:{SECRET}@host")
    assert capsys.readouterr().err.count("no host db:$DB_PASSWORD@host") == 2
