"""results.json: complete or not there, valid JSON, and a hash of what was computed."""

import json
import os
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from fcnseg.build import build_data
from fcnseg.metrics import ConfusionMatrix
from fcnseg.results import (
    config_hash,
    identity,
    labels,
    provenance,
    score_fields,
    validation_fields,
    write_json,
)
from fcnseg.task import Validation
from runs import composed
from tiny_voc import write_devkit

UNHASHED = {
    "data.root",
    "data.images",
    "data.masks",
    "data.sbd_root",
    "data.cache",
    "data.decoded",
    "data.workers",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.progress",
}
UNHASHED |= {"trainer.save_steps", "trainer.save_minutes", "trainer.on_nonfinite"}
UNHASHED |= {"trainer.log_every", "logger.name", "logger.project", "logger.offline"}
UNHASHED |= {"logger.group", "logger.job_type", "logger.tags", "logger.artifact", "small"}
UNHASHED |= {"backbone.padding_mode", "backbone.checkpointing", "recipe.source"}
BY_NAME = {"backbone.weights"}


def leaves(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def changed(config, key, value="changed"):
    copy = json.loads(json.dumps(config))
    node = copy
    *path, last = key.split(".")
    for part in path:
        node = node[part]
    node[last] = value
    return copy


@pytest.fixture(scope="module")
def config():
    return asdict(composed())


def scores(targets, predictions, classes=3):
    confusion = ConfusionMatrix(classes, 255)
    confusion.update(torch.tensor([predictions]), torch.tensor([targets]))
    return confusion.compute()


# ---- the hash


def test_the_hash_ignores_places_devices_workers_and_loggers_and_nothing_else(config):
    ignored = {key for key in leaves(config) if config_hash(changed(config, key)) == config_hash(config)}
    told = ("experiment.", "recipe.lr.", "recipe.steps")  # what a recipe lists; what was taken from it stands elsewhere
    assert {key for key in ignored if not key.startswith(told)} == UNHASHED


def test_the_hash_ignores_the_text_of_an_experiment(config):
    assert config_hash(changed(config, "experiment.title", "Table 3")) == config_hash(config)


def test_the_hash_takes_the_name_of_a_weights_file_and_not_its_folder(config):
    files = ["none", "imagenet", "/here/a.pt", "b.pt"]
    assert len({config_hash(changed(config, "backbone.weights", file)) for file in files}) == 4
    assert config_hash(changed(config, "backbone.weights", "/there/a.pt")) == config_hash(
        changed(config, "backbone.weights", "/here/a.pt")
    )
    assert config_hash(changed(config, "backbone.weights", None)) == config_hash(config)  # none


def test_the_hash_takes_the_run_that_a_net_started_from_and_not_where_it_lies(config, tmp_path):
    for name, own in (("here", "aa"), ("there", "aa"), ("other", "bb")):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        (tmp_path / name / "results.json").write_text(json.dumps({"config_hash": own}))
    places = (
        tmp_path / "here",
        tmp_path / "there",
        tmp_path / "here" / "checkpoints" / "last.ckpt",
        tmp_path / "other",
    )
    here, there, file, other = (config_hash(changed(config, "init_from", str(place))) for place in places)
    assert here == there == file != other
    assert config_hash(config) != here == config_hash(config, start="aa")


def test_the_hash_takes_the_name_of_what_is_no_run(config):
    assert config_hash(changed(config, "init_from", "/here/a.caffemodel")) == config_hash(config, start="a.caffemodel")


def test_the_hash_does_not_depend_on_the_order_of_keys(config):
    backwards = dict(reversed(config.items()))
    assert config_hash(backwards) == config_hash(config)
    assert re.fullmatch("[0-9a-f]{16}", config_hash(config))


# ---- fields


def test_scores_are_fractions_under_their_public_names():
    fields = score_fields(scores([[0, 0, 1, 2]], [[0, 1, 1, 2]]), ("background", "cat", "dog"))
    assert fields["pixel_acc"] == 0.75
    assert fields["mean_acc"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert fields["mean_iu"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert fields["fw_iu"] == pytest.approx((2 * 0.5 + 0.5 + 1) / 4)
    assert fields["per_class_iu"] == {"background": 0.5, "cat": 0.5, "dog": 1.0}


def test_a_class_that_does_not_occur_is_null():
    fields = score_fields(scores([[0, 0]], [[0, 0]]), ("background", "cat", "dog"))
    assert fields["per_class_iu"] == {"background": 1.0, "cat": None, "dog": None}
    assert "NaN" not in json.dumps(fields, allow_nan=False)


def test_scores_of_nothing_are_null():
    fields = score_fields(scores([[255]], [[0]]), ("background", "cat", "dog"))
    assert [fields[key] for key in ("pixel_acc", "mean_acc", "mean_iu", "fw_iu")] == [None] * 4


def test_classes_beyond_the_data_sets_are_numbered():
    fields = score_fields(scores([[0]], [[0]]), ("background",))
    assert list(fields["per_class_iu"]) == ["background", "class 1", "class 2"]


@pytest.mark.parametrize(("loss", "written"), [(0.25, 0.25), (float("nan"), None), (float("inf"), None)])
def test_a_validation_tells_its_counts(loss, written):
    validation = Validation(scores([[0, 1]], [[0, 1]], 2), [[1, 0], [0, 1]], 7, loss, 30)
    fields = validation_fields(validation, ("background", "cat"))
    assert fields["confusion_matrix"] == [[1, 0], [0, 1]]
    assert (fields["num_images"], fields["val_loss"], fields["steps"]) == (7, written, 30)


def test_the_identity_of_a_run():
    fields = identity(composed("recipe=pami_heavy", "data.flip=true", "row=b", "seed=5"), "imagenet")
    expected = {"recipe": "pami_heavy+modified", "departures": ["data.flip"], "experiment": None, "row": "b", "seed": 5}
    expected |= {"model": "fcn8s", "backbone": "squeezenet", "output_stride": 8, "data": "shapes"}
    expected |= {"weights_from": "imagenet", "schema_version": 1, "scale": "full"}
    expected |= {"group": None, "job_type": "b", "tags": ["fcn8s", "squeezenet", "pami_heavy"]}
    assert {key: fields[key] for key in expected} == expected
    assert set(fields) - set(expected) == {"config_hash", "stage_hash", "commit", "dirty"}


def test_what_a_run_is_among_many():
    chosen = composed("logger.group=g", "logger.job_type=t", "logger.tags=[x]", "row=b")
    assert labels(chosen) == {"group": "g", "job_type": "t", "tags": ["x"]}
    assert labels(composed())["job_type"] == "fcn8s_squeezenet"


def test_a_split_that_lacks_images_says_how_many(tmp_path):
    root = f"data.root={write_devkit(tmp_path)}"
    (tmp_path / "VOC2012" / "JPEGImages" / "2012_000001.jpg").unlink()
    data = build_data(composed("data=voc2012", root, "data.partial=true"))
    fields = provenance(data, "cpu")
    assert fields["split_counts"] == {"train": 2, "val": 2}
    assert fields["split_missing"] == {"train": 1, "val": 0}
    whole = provenance(build_data(composed("data=voc2012", root), parts=("val",)), "cpu")
    assert set(whole) == {"split_counts", "data_fingerprint", "device"}


# ---- the file


def test_the_file_holds_the_content(tmp_path):
    write_json(tmp_path / "results.json", {"mean_iu": 0.5, "matrix": [[1]], "row": None})
    assert json.loads((tmp_path / "results.json").read_text()) == {"mean_iu": 0.5, "matrix": [[1]], "row": None}
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize("content", [{"mean_iu": float("nan")}, {"folder": Path("a")}])
def test_content_that_is_no_json_leaves_the_old_file(tmp_path, content):
    write_json(tmp_path / "results.json", {"mean_iu": 0.5})
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "results.json", content)
    assert json.loads((tmp_path / "results.json").read_text()) == {"mean_iu": 0.5}


def test_an_interrupted_write_leaves_no_half_file(tmp_path, monkeypatch):
    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_json(tmp_path / "results.json", {"mean_iu": 0.5})
    assert list(tmp_path.iterdir()) == []
