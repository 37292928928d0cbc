"""What a report says beside its table: remarks, classes, confusions."""

import json

import numpy as np
import pytest

from fcnseg.disk import read_json
from fcnseg.reports.summary import confusion, per_class, summarise, worst_confusions
from sweeps import CLASSES, write_job


def remarks(experiment, runs):
    return " ".join(summarise(experiment, runs).remarks)


def test_limits_of_the_numbers_are_said(experiment, tmp_path):
    runs = tmp_path / "runs"
    write_job(runs / "a", "32s", 0, 0.4)
    said = remarks(experiment, runs)
    assert "One seed a row" in said
    assert "small form" in said
    assert "different" not in said
    assert "several states" not in said
    write_job(runs / "b", "32s", 1, 0.4, commit="fedcba", num_images=20, scale="full")
    said = remarks(experiment, runs)
    assert "One seed a row" not in said
    assert "Rows were scored on different numbers of validation images" in said
    assert "several states of the source" in said


def test_other_images_of_the_same_number_are_noticed(experiment, tmp_path):
    write_job(tmp_path / "a", "32s", 0, 0.4)
    write_job(tmp_path / "b", "16s", 0, 0.4, data_fingerprint={"train": "a", "val": "c"})
    assert "different validation images" in remarks(experiment, tmp_path)


def test_the_command_has_what_all_jobs_were_told_and_nobodys_places(experiment, runs):
    for number, job in enumerate(sorted((runs / "small").iterdir())):
        told = [
            "scale=small",
            "data.root=/home/me/VOC",
            "data=voc2012_aug",
            f"seed={number}",
            "row=8s",
            "data.workers=2",
        ]
        told += ["backbone.weights=none", "backbone.mean=[1, 2]", "hydra.launcher.n_jobs=2"]
        note = read_json(job / "job.json") | {"overrides": told}
        (job / "job.json").write_text(json.dumps(note))
    assert summarise(experiment, runs).command == (
        "python -m fcnseg.train -cn t2 scale=small data.root=... data=voc2012_aug backbone.weights=none "
        "'backbone.mean=[1, 2]'"
    )


def test_errors_are_among_the_remarks(summary):
    assert summary.remarks[-1] == "8s, seed 1: ValueError: out of memory"
    assert (summary.scale, summary.rows) == ("small", ["32s", "16s", "8s"])


def test_classes_are_means_over_seeds_and_absent_ones_have_none(summary):
    names, found = per_class(summary)
    assert names == list(CLASSES)
    assert found["16s"][:2] == pytest.approx([54.5, 49.5])
    assert found["16s"][-1] is None


def test_confusions_are_shares_of_the_true_class(summary):
    names, shares = confusion(summary, "16s")
    assert names == list(CLASSES)
    np.testing.assert_allclose(shares.sum(1), [1, 1, 1, 1, 0])
    assert confusion(summary, "fixed") is None


def test_matrices_of_different_classes_are_not_added(experiment, tmp_path):
    write_job(tmp_path / "a", "32s", 0, 0.4)
    write_job(tmp_path / "b", "32s", 1, 0.4, confusion_matrix=[[1, 0], [0, 1]])
    assert confusion(summarise(experiment, tmp_path), "32s") is None


def test_the_worst_confusions_are_named():
    shares = np.array([[0.9, 0.1, 0.0], [0.3, 0.7, 0.0], [0.0, 0.0, 1.0]])
    assert worst_confusions("abc", shares) == ["b taken for a, 30%", "a taken for b, 10%"]
