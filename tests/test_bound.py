"""The bound by stride: from the command line to what the report reads, and the numbers of the paper's images."""

import json

import numpy as np
import pytest
from PIL import Image

from fcnseg.config import BoundConfig
from fcnseg.reports.experiment import read_experiment
from fcnseg.reports.summary import summarise
from runs import bound, main
from tiny_voc import write_devkit, write_mask

FACTS = {128: 54.3, 64: 72.4, 32: 86.2, 16: 95.0, 8: 98.9, 4: 99.7}
"""Measured once, independently, on the 736 masks of the paper's validation images."""


@pytest.fixture
def command(capsys):
    """Runs the command in this process; returns its exit status and what it printed."""

    def run(*arguments):
        status = main("bound", *arguments)
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def test_each_factor_gets_a_folder_that_the_report_reads(tmp_path, command):
    devkit = write_devkit(tmp_path / "data", year="2011")
    status, printed = command(
        *("-cn", "bound_by_stride", f"data.root={devkit}", "data.val_split=val", "factors=[8,1]"),
        f"hydra.run.dir={tmp_path / 'runs'}",
    )
    assert status == 0
    assert "factor    8: mean IU" in printed
    fine = json.loads((tmp_path / "runs" / "1" / "results.json").read_text())
    assert fine["row"] == "1"
    assert (fine["mean_iu"], fine["num_images"], fine["scale"]) == (1.0, 2, "full")
    summary = summarise(read_experiment("bound_by_stride"), tmp_path / "runs")
    lines = {line.row: line for line in summary.lines}
    assert list(lines) == ["128", "64", "32", "16", "8", "4", "1"]
    assert lines["8"].measures["mean_iu"].paper == 96.4
    assert 0 < lines["8"].measures["mean_iu"].mean < 100
    assert lines["128"].missing == ("not run",)


def test_masks_need_no_images(tmp_path, command):
    (tmp_path / "masks").mkdir()
    mask = np.zeros((20, 30), np.uint8)
    mask[5:15, 5:25] = 3
    for name in "ab":
        write_mask(tmp_path / "masks" / f"{name}.png", mask)
    status, _ = command(f"masks={tmp_path / 'masks'}", "factors=[2]", f"hydra.run.dir={tmp_path / 'runs'}")
    content = json.loads((tmp_path / "runs" / "2" / "results.json").read_text())
    assert (status, content["num_images"], content["data"]) == (0, 2, "masks")
    assert content["per_class_iu"]["bird"] > 0.8
    assert content["per_class_iu"]["cow"] is None


def test_drawn_shapes_are_bounded_too_and_small_takes_fifty(tmp_path, command):
    options = ("data.height=32", "data.width=48", "data.val_count=60", "factors=[4]", "scale=small")
    status, _ = command(*options, f"hydra.run.dir={tmp_path / 'runs'}")
    content = json.loads((tmp_path / "runs" / "4" / "results.json").read_text())
    assert (status, content["num_images"], content["split_counts"]) == (0, 50, {"val": 60})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("masks=nowhere",), "masks=nowhere holds no PNG"),
        (("factors=[0]", "data.val_count=1"), "factors must be at least 1"),
        (("scale=medium",), "scale must be full or small, not 'medium'"),
        (("-cn", "t1_backbones", "data.root=x"), "run it with python -m fcnseg.train"),
    ],
)
def test_what_cannot_be_is_said(tmp_path, command, arguments, said):
    status, printed = command(*arguments, f"hydra.run.dir={tmp_path / 'runs'}")
    assert status == 1
    assert said in printed
    assert "Traceback" not in printed


def test_training_does_not_take_the_bound_for_its_own(tmp_path, capsys):
    assert main("train", "-cn", "bound_by_stride", "data.root=x", f"hydra.run.dir={tmp_path / 'runs'}") == 1
    assert "run it with python -m fcnseg.bound" in capsys.readouterr().err


def test_a_mask_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.png"):
        bound.bound(BoundConfig(masks=str(tmp_path)), tmp_path / "runs")


@pytest.mark.slow
def test_the_papers_images_give_what_was_measured_before(tmp_path, data_root):
    masks = data_root / "seg11valid_masks"
    found = bound.bound(BoundConfig(masks=str(masks)), tmp_path)
    assert {content["num_images"] for content in found} == {736}
    for content in found:
        assert 100 * content["mean_iu"] == pytest.approx(FACTS[content["factor"]], abs=0.06)


def test_a_tenth_of_the_papers_images_gives_about_the_same(tmp_path, data_root):
    (tmp_path / "masks").mkdir()
    for path in sorted((data_root / "seg11valid_masks").glob("*.png"))[::12]:
        with Image.open(path) as picture:
            write_mask(tmp_path / "masks" / path.name, np.array(picture))
    found = bound.bound(BoundConfig(masks=str(tmp_path / "masks"), factors=[32, 8]), tmp_path / "runs")
    assert [100 * each["mean_iu"] for each in found] == pytest.approx([FACTS[32], FACTS[8]], abs=4)
