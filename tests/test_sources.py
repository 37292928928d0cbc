"""Opened images: looked up inside the package alone, by the keys that the data set knows."""

import os
import re
from dataclasses import replace

import numpy as np
import pytest

from fcnseg.config import CONF_DIR, DataConfig
from fcnseg.data.shapes import Shapes
from fcnseg.data.voc import open_split
from fcnseg.sources import find_opener, keep_decoded, open_source, survey_source
from runs import OUTSIDE, composed
from tiny_voc import write_devkit, write_list, write_sbd


def shapes(**changes):
    return replace(composed().data, **changes)


@pytest.mark.parametrize("name", [*OUTSIDE, "dataset", "sampler", "transforms", "sbd", "splits"])
def test_a_data_set_outside_the_package_is_refused(name):
    message = rf"data\.format={re.escape(name)} is no module of fcnseg\.data that opens a data set"
    with pytest.raises(ValueError, match=message):
        open_source(shapes(format=name), "train")


def test_every_choice_of_data_can_be_opened():
    for name in (path.stem for path in (CONF_DIR / "data").glob("*.yaml")):
        assert callable(find_opener(composed(f"data={name}", "data.root=/").data.format))


@pytest.mark.parametrize(("part", "count", "split"), [("train", 6, "train"), ("val", 5, "val")])
def test_a_part_takes_its_own_count_and_split(part, count, split):
    source = open_source(shapes(train_count=6, val_count=5), part)
    assert isinstance(source, Shapes)
    assert (len(source), source.split) == (count, split)


@pytest.mark.parametrize("key", ["height", "seed", "val_count"])
def test_a_missing_key_is_named(key):
    with pytest.raises(ValueError, match=rf"data=shapes needs data\.{key}: set it"):
        open_source(shapes(**{key: None}), "val")


def test_voc_needs_a_root():
    data = DataConfig(name="voc2012", format="voc", year="2012")
    with pytest.raises(ValueError, match=r"data=voc2012 needs data\.root: set it"):
        open_source(data, "train")


@pytest.mark.parametrize(("key", "value"), [("root", "/data"), ("year", "2012")])
def test_a_key_that_the_data_set_does_not_know_is_refused(key, value):
    with pytest.raises(ValueError, match=rf"data\.{key}={value} has no meaning for data=shapes: leave it out"):
        open_source(shapes(**{key: value}), "train")


def test_a_devkit_is_opened_by_its_root_and_year(tmp_path):
    root = str(write_devkit(tmp_path, year="2007"))
    data = DataConfig(name="voc2012", format="voc", root=root, year="2007", val_split="trainval")
    assert open_source(data, "val").pairs == open_split(root, "2007", "trainval").pairs


@pytest.mark.parametrize(("key", "value"), [("sbd_root", "/sbd"), ("cache", "/tmp"), ("partial", False)])
def test_keys_that_a_data_set_can_do_without_are_refused_only_where_they_mean_nothing(tmp_path, key, value):
    with pytest.raises(ValueError, match=rf"data\.{key}={value} has no meaning for data=shapes: leave it out"):
        open_source(shapes(**{key: value}), "val")
    data = composed("data=voc2012", f"data.root={write_devkit(tmp_path)}").data
    assert len(open_source(replace(data, **{key: value}), "train")) == 3


def test_images_are_kept_decoded_where_they_come_from_files_and_can_be_kept(tmp_path, monkeypatch):
    data = composed("data=voc2012", f"data.root={write_devkit(tmp_path)}", f"data.decoded={tmp_path}/kept").data
    source = open_source(data, "train")
    expected = source.read_image(1)
    keep_decoded(source, data)
    for _ in range(2):
        np.testing.assert_array_equal(source.read_image(1), expected)
    assert len(list((tmp_path / "kept").iterdir())) == 1
    (tmp_path / "file").touch()
    for place in ("file", "file/below"):
        with pytest.raises(
            ValueError, match=rf"data\.decoded={tmp_path}/{place}: {tmp_path}/file is no folder; name one"
        ):
            keep_decoded(source, replace(data, decoded=f"{tmp_path}/{place}"))
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with pytest.raises(
        ValueError, match=rf"data\.decoded={tmp_path}/new/one: {tmp_path} cannot be written to; name another"
    ):
        keep_decoded(source, replace(data, decoded=f"{tmp_path}/new/one"))
    keep_decoded(source, data)  # a folder that others have filled is read
    with pytest.raises(ValueError, match=r"data\.decoded=/x has no meaning for data=shapes: leave it out"):
        keep_decoded(open_source(shapes(), "val"), replace(data, name="shapes", decoded="/x"))


def test_a_choice_that_trains_on_sbd_asks_for_it(tmp_path):
    data = composed("data=voc2012_aug", f"data.root={write_devkit(tmp_path)}").data
    assert len(open_source(data, "val")) == 2
    with pytest.raises(ValueError, match=r"the split names sbd_all, a list of SBD: set data\.sbd_root"):
        open_source(data, "train")
    cached = replace(data, sbd_root=str(write_sbd(tmp_path, ["2012_000004", "a"], ["b"])), cache=str(tmp_path / "c"))
    assert [pair.name for pair in open_source(cached, "train").pairs[3:]] == ["a", "b"]
    assert (tmp_path / "c" / "cls_png" / "a.png").is_file()


# ---- surveyed: what is there, whether sound or not


def test_a_survey_takes_the_faults_and_gives_what_is_named(tmp_path):
    devkit = write_devkit(tmp_path)
    (devkit / "VOC2012" / "SegmentationClass" / "2012_000000.png").unlink()
    write_list(devkit / "VOC2012", "val", [])
    data = composed("data=voc2012", f"data.root={devkit}", "data.partial=true").data
    said = []
    assert len(survey_source(data, "train", said.append)) == 3
    assert said == []
    assert len(survey_source(data, "val", said.append)) == 0
    assert [(fault.kind, fault.path.name) for fault in said] == [("empty", "val.txt")]


def test_a_part_that_cannot_be_surveyed_is_a_fault_of_the_whole(tmp_path):
    said = []
    assert survey_source(composed("data=voc2012", f"data.root={tmp_path}").data, "train", said.append) is None
    assert [(fault.kind, fault.path) for fault in said] == [("split", tmp_path)]
    assert f"data.root={tmp_path} holds no VOC2012/ImageSets/Segmentation" in said[0].said


def test_drawn_images_are_surveyed_by_opening_them():
    said = []
    assert len(survey_source(shapes(val_count=5), "val", said.append)) == 5
    assert survey_source(shapes(val_count=0), "val", said.append) is None
    assert [fault.said for fault in said] == ["data.val_count must be >= 1, not 0"]


def test_keys_are_refused_before_a_survey():
    with pytest.raises(ValueError, match=r"data\.root=/data has no meaning for data=shapes: leave it out"):
        survey_source(shapes(root="/data"), "val", print)
