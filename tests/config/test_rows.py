"""row= and scale= stand for overrides; the command line wins over them."""

import json
import re

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from fcnseg.config import CONF_DIR, EXPERIMENTS_DIR, TrainConfig, register, resolved
from fcnseg.config.rows import key_of, run_name, stands_for, with_row
from runs import SMALL, run

TABLES = sorted({path.stem for path in EXPERIMENTS_DIR.glob("*.yaml")} - {"squeezenet_voc", "bound_by_stride"})
TABLE = (
    "+experiment.rows={a: ['model=fcn16s', 'optimizer.lr=1e-3'], b: ['optimizer.lr=1e-2']}",
    "experiment.small=['data.crop=64', 'optimizer.lr=5']",
    "+experiment.small_rows={b: ['optimizer.lr=7']}",
    "small=['data.crop=32', 'data.batch_size=2']",
)


@pytest.mark.parametrize(
    ("row", "scale", "expected"),
    [
        (None, "full", "net_data"),
        ("16s", "full", "t2_16s"),
        ("16s", "small", "t2_16s_small"),
        (None, "small", "t2_small"),
    ],
)
def test_a_run_is_named_after_what_makes_it(row, scale, expected):
    assert run_name("t2", row, scale, "net_data") == expected


@pytest.fixture(scope="module", autouse=True)
def hydra():
    register()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        yield


def applied(*overrides, name="train"):
    config = compose(name, overrides=list(overrides))
    return with_row(config, overrides, lambda chosen: compose(name, overrides=chosen))


def meant(*overrides):
    return stands_for(compose("train", overrides=list(overrides)), overrides)


# ---- what a name stands for


def test_without_a_row_a_configuration_stays_as_it_is():
    config = compose("train")
    assert with_row(config, [], lambda chosen: pytest.fail("composed anew")) is config


def test_a_row_applies_its_overrides_groups_among_them():
    config = applied(*TABLE, "row=a")
    assert (config.model.name, config.model.output_stride, config.optimizer.lr) == ("fcn16s", 16, 1e-3)


def test_the_command_line_wins_over_a_row():
    config = applied(*TABLE, "row=a", "model=fcn8s")
    assert (config.model.name, config.optimizer.lr) == ("fcn8s", 1e-3)
    assert applied(*TABLE, "row=a", "optimizer.lr=3").optimizer.lr == 3


def test_the_small_form_comes_before_the_row_and_the_rows_small_form_after_it():
    assert meant(*TABLE, "scale=small") == ["data.batch_size=2", "data.crop=64", "optimizer.lr=5"]
    assert applied(*TABLE, "scale=small", "row=a").optimizer.lr == 1e-3
    assert applied(*TABLE, "scale=small", "row=b").optimizer.lr == 7
    assert applied(*TABLE, "scale=small", "row=b").data.crop == 64


@pytest.mark.parametrize(
    ("override", "key"),
    [("model=fcn8s", "model"), ("+a.b=1", "a.b"), ("++a=1", "a"), ("~data.crop", "data.crop"), ("a='x=y, z'", "a")],
)
def test_the_key_of_an_override(override, key):
    assert key_of(override) == key


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["row=9s"], "row=9s is no row of this experiment; there are: none"),
        ([*TABLE, "row=c"], "row=c is no row of this experiment; there are: a, b"),
        (["scale=tiny"], "scale must be one of full, small, not 'tiny'"),
        (["+experiment.rows={a: [model]}", "row=a"], "'model' is no override: write KEY=VALUE"),
        (["+experiment.rows={a: ['model=fcn4s']}", "row=a"], "row=a scale=full stands for model=fcn4s, but: "),
        (
            ["+experiment.rows={a: ['optimizer.rate=1']}", "row=a"],
            "scale=full stands for optimizer.rate=1, but: ",
        ),
    ],
)
def test_what_stands_for_nothing_is_refused(overrides, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        applied(*overrides)


# ---- the experiments


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_every_row_of_every_table_has_a_small_form(name):
    whole = compose(name, overrides=["scale=small"])
    for row in whole.experiment.rows:
        whole.row = row
        config = with_row(whole, ["scale=small"], lambda chosen: compose(name, overrides=chosen))
        for key in OmegaConf.missing_keys(config):
            OmegaConf.update(config, key, "said")
        assert resolved(config, TrainConfig).trainer.max_steps <= 3000


@pytest.mark.parametrize("name", TABLES)
def test_a_table_sweeps_all_its_rows(name):
    config = compose(name, return_hydra_config=True)
    assert config.hydra.mode.name == "MULTIRUN"
    assert config.hydra.sweeper.params.row.split(",") == list(config.experiment.rows)
    assert set(config.experiment.paper) <= set(config.experiment.rows)
    assert config.experiment.title
    assert config.experiment.source
    assert config.experiment.claim
    assert config.experiment.cost


# ---- the command


@pytest.mark.slow
def test_a_single_run_applies_its_row(tmp_path):
    done = run("train", *SMALL, *TABLE, "row=a", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["row"], results["scale"], results["model"]) == ("a", "full", "fcn16s")
