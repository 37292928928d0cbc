"""A finer net finds the finished run of the coarser one, of the same backbone, data, recipe and seed."""

import json
import os
from dataclasses import asdict

import pytest

from fcnseg import lineage
from fcnseg.build import build_data
from fcnseg.lineage import ancestors, coarser_stride, find_stage, from_stage
from fcnseg.recipe import departures
from fcnseg.results import config_hash, fingerprints, stage_hash
from runs import composed

STAGED = ("recipe.staged=true", "backbone=squeezenet", "data.train_count=6", "data.val_count=2")


def staged(*overrides):
    return composed(*STAGED, *overrides)


def finished(folder, config, **changes):
    """Writes what a finished run of this configuration would have left."""
    content = {
        "stage_hash": stage_hash(asdict(config)),
        "output_stride": config.model.output_stride,
        "data_fingerprint": fingerprints(build_data(config)),
        "model": config.model.name,
        "row": config.row,
        "seed": config.seed,
        "config_hash": config_hash(asdict(config)),
        "departures": departures(config),
        "commit": "4567",
    }
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(content | changes))
    return folder


# ---- whether one is needed


@pytest.mark.parametrize(
    ("overrides", "stride"),
    [
        (["model=fcn8s"], 16),
        (["model=fcn16s"], None),  # SqueezeNet's coarsest
        (["model=fcn8s", "recipe.staged=false"], None),
        (["model=fcn8s_atonce"], None),
        (["model=fcn16s", "backbone=vgg16", "backbone.weights=none"], 32),
    ],
)
def test_the_net_before(overrides, stride):
    assert coarser_stride(staged(*overrides)) == stride


# ---- which runs fit


def test_what_the_stages_have_in_common():
    coarse = staged("model=fcn16s", "optimizer.lr=1", "trainer.max_steps=7", "row=null", "data.root=/a")
    assert stage_hash(asdict(coarse)) == stage_hash(asdict(staged("model=fcn8s", "init_from=/a")))


@pytest.mark.parametrize("other", ["seed=1", "model.train=head", "data.image_side=64", "loss.reduction=sum"])
def test_what_sets_trainings_apart(other):
    assert stage_hash(asdict(staged(other))) != stage_hash(asdict(staged()))


def test_a_neighbour_is_found(tmp_path):
    run = finished(tmp_path / "coarse", staged("model=fcn16s"))
    found = from_stage(staged("model=fcn8s"), tmp_path / "fine")
    assert found.init_from == str(run)


def test_runs_and_sweeps_below_the_working_directory_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = finished(tmp_path / "multirun" / "t2" / "full" / "row=16s", staged("model=fcn16s"))
    assert from_stage(staged("model=fcn8s"), tmp_path / "far" / "run").init_from == str(sweep.relative_to(tmp_path))


@pytest.mark.parametrize(
    ("overrides", "changes"),
    [
        (["model=fcn16s", "seed=1"], {}),
        (["model=fcn8s"], {}),
        (["model=fcn16s"], {"data_fingerprint": {"train": "other", "val": "other"}}),
        (["model=fcn16s"], {"stage_hash": None}),
    ],
)
def test_another_run_is_not(tmp_path, overrides, changes):
    finished(tmp_path / "coarse", staged(*overrides), **changes)
    assert from_stage(staged("model=fcn8s"), tmp_path / "fine").init_from is None


def test_the_latest_of_several_is_taken(tmp_path):
    for age, name in enumerate(["b", "c", "a"]):
        path = finished(tmp_path / name, staged("model=fcn16s")) / "results.json"
        os.utime(path, (1000 - age, 1000 - age))
    config = staged("model=fcn8s")
    assert find_stage(config, 16, [(tmp_path, "*")]) == tmp_path / "b"


def test_a_trial_of_another_length_is_not_taken_for_the_run(tmp_path):
    run = finished(tmp_path / "coarse", staged("model=fcn16s"))
    trial = finished(tmp_path / "trial", staged("model=fcn16s", "trainer.max_steps=2", "optimizer.lr=5"))
    assert from_stage(staged("model=fcn8s"), tmp_path / "fine").init_from == str(run)
    short = staged("model=fcn8s", "trainer.max_steps=3", "optimizer.lr=4")
    assert from_stage(short, tmp_path / "fine").init_from == str(trial)
    with pytest.raises(ValueError, match="only runs of another length or rate of fcn16s: name one by init_from="):
        from_stage(staged("model=fcn8s", "optimizer.lr=4"), tmp_path / "fine")


def test_several_runs_that_differ_are_named(tmp_path):
    for steps in (2, 3):
        finished(tmp_path / str(steps), staged("model=fcn16s", f"trainer.max_steps={steps}"))
    with pytest.raises(ValueError, match=r"several finished runs of fcn16s.*/2.*/3"):
        from_stage(staged("model=fcn8s", "trainer.max_steps=9"), tmp_path / "fine")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"output_stride": 16}', "\xff"])
def test_a_damaged_result_is_passed_over(tmp_path, content):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "results.json").write_bytes(content.encode("latin-1"))
    assert from_stage(staged("model=fcn8s"), tmp_path / "fine").init_from is None


def test_what_was_said_stays(tmp_path):
    finished(tmp_path / "coarse", staged("model=fcn16s"))
    assert from_stage(staged("model=fcn8s", "init_from=/other"), tmp_path / "fine").init_from == "/other"


def test_a_continued_run_keeps_its_stage(tmp_path, monkeypatch):
    finished(tmp_path / "coarse", staged("model=fcn16s"))
    (tmp_path / "fine").mkdir()
    (tmp_path / "fine" / "config.yaml").write_text("init_from: /before\n")
    assert from_stage(staged("model=fcn8s"), tmp_path / "fine").init_from == "/before"


def test_data_are_opened_only_for_a_run_that_fits(tmp_path, monkeypatch):
    finished(tmp_path / "coarse", staged("model=fcn16s", "seed=1"))
    monkeypatch.setattr(lineage, "build_data", lambda config: pytest.fail("opened"))
    assert from_stage(staged("model=fcn8s"), tmp_path / "fine").init_from is None


# ---- where a run comes from


def test_ancestors_are_named_latest_first(tmp_path):
    first = finished(tmp_path / "32s", staged("model=fcn16s"), lineage=[])
    second = finished(tmp_path / "16s", staged("model=fcn8s"), lineage=ancestors(str(first)))
    named = ancestors(str(second / "checkpoints" / "last.ckpt"))
    assert [each["model"] for each in named] == ["fcn8s", "fcn16s"]
    assert named[1]["folder"] == str(first)
    assert set(named[0]) == {"folder", "model", "row", "seed", "config_hash", "commit"}


@pytest.mark.parametrize("source", [None, "fcn8s-heavy-pascal", "/nowhere/net.caffemodel"])
def test_what_is_no_run_has_no_past(source):
    assert ancestors(source) == []
