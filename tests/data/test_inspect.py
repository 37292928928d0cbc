"""Inspection: every kind of damage is found and said of its path, and the statistics are those of the files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from damaged import DAMAGES, files, unknown_label
from fcnseg.data.faults import Fault
from fcnseg.data.inspect import Inspection, Seen, conclude, inspect_images, leaks, statistics
from fcnseg.data.shapes import Shapes
from fcnseg.data.voc import CLASSES, survey_split
from tiny_voc import SIZES, picture, sbd_labels, write_devkit, write_list, write_sbd


@pytest.fixture
def devkit(tmp_path):
    return write_devkit(tmp_path / "VOCdevkit")


def inspect(devkit, *parts, **options):
    """Surveys and reads some parts of a devkit; that its few images lack classes is left out."""
    said = []
    seen = {part: list(inspect_images(survey_split(str(devkit), "2012", part, report=said.append))) for part in parts}
    found = conclude(CLASSES, seen, said, **options)
    return replace(found, remarks=tuple(remark for remark in found.remarks if remark.kind != "classes"))


# ---- what is wrong


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_found_and_its_path_named(unprivileged, damage):
    do, kind, harmless, _ = DAMAGES[damage]
    devkit = write_devkit(unprivileged)
    path = do(files(devkit, 0))
    found = inspect(devkit, "train")
    told, silent = (found.remarks, found.faults) if harmless else (found.faults, found.remarks)
    assert [fault.kind for fault in told] == [kind]
    assert str(path) in told[0].said
    assert silent == ()


def test_sound_images_have_no_faults_and_no_remarks(devkit):
    found = inspect(devkit, "train", "val")
    assert (found.faults, found.remarks) == ((), ())


def test_faults_of_image_and_mask_are_both_said(devkit):
    it = files(devkit, 1)
    it.image.unlink()
    unknown_label(it)
    found = inspect(devkit, "train")
    assert [(fault.kind, fault.path) for fault in found.faults] == [("missing", it.image), ("mask", it.mask)]


def test_an_image_of_two_lists_tells_its_faults_once(devkit):
    it = files(devkit, 0)
    it.mask.unlink()
    assert len(inspect(devkit, "train", "trainval", "val").faults) == 1


def test_every_id_that_comes_twice_is_named_and_the_images_are_read_all_the_same(devkit):
    names = [files(devkit, index).name for index in (0, 1, 2)]
    write_list(devkit / "VOC2012", "train", [*names, *names[:2]])
    files(devkit, 2).mask.unlink()
    repeated, missing = inspect(devkit, "train").faults
    assert f"names {names[0]}, {names[1]} more than once" in repeated.said
    assert missing.kind == "missing"


def test_a_mask_of_void_alone_is_worth_a_remark(devkit):
    it = files(devkit, 0)
    Image.fromarray(np.full(SIZES[0], 255, np.uint8)).save(it.mask)
    (remark,) = inspect(devkit, "train").remarks
    assert (remark.kind, remark.path) == ("void", it.mask)


def test_a_photograph_with_alpha_is_a_fault_and_a_grey_one_is_none(devkit):
    first, second = files(devkit, 0), files(devkit, 1)
    Image.new("RGBA", SIZES[0][::-1]).save(first.image, "PNG")
    Image.new("L", SIZES[1][::-1]).save(second.image)
    (fault,) = inspect(devkit, "train").faults
    assert (fault.kind, fault.path) == ("channels", first.image)
    assert "has mode RGBA and becomes RGB" in fault.said
    assert fault.said.endswith("save it as RGB, or keep all bands of your own images by data.channels=4")


def test_a_source_without_files_is_read_too():
    seen = list(inspect_images(Shapes("val", 3, 32, 48, 0), workers=2))
    assert [each.name for each in seen] == [f"shapes_val_{index:06d}" for index in range(3)]
    assert all(each.size == (32, 48) and sum(each.counts) == 32 * 48 for each in seen)


def test_an_image_that_a_source_cannot_read_is_a_fault():
    class Broken(Shapes):
        def read(self, index):
            raise ValueError("not today")

    (seen,) = inspect_images(Broken("val", 1, 32, 48, 0))
    assert [fault.said for fault in seen.faults] == ["not today"]


# ---- SBD's masks are read where they are


def surveyed(devkit, release, report):
    return survey_split(str(devkit), "2012", "train + sbd_all", str(release), None, report)


def test_nothing_is_converted_and_damaged_mat_files_are_named(devkit, tmp_path):
    release = write_sbd(tmp_path, ["2009_000009", "2009_000010"])
    damaged = release / "dataset" / "cls" / "2009_000010.mat"
    damaged.write_bytes(damaged.read_bytes()[:100])
    seen = list(inspect_images(surveyed(devkit, release, lambda fault: None)))
    assert [fault.path for each in seen for fault in each.faults] == [damaged]
    assert seen[3].counts == tuple(np.bincount(sbd_labels(0).ravel(), minlength=22))
    assert not (release / "dataset" / "cls_png").exists()


def test_faults_of_all_lists_are_said(devkit, tmp_path):
    release = write_sbd(tmp_path, ["a"], ["b"])
    for home, name in ((devkit / "VOC2012" / "ImageSets" / "Segmentation", "train"), (release / "dataset", "val")):
        (home / f"{name}.txt").write_text("")
    (release / "dataset" / "train.txt").unlink()
    said = []
    assert len(surveyed(devkit, release, said.append)) == 0
    assert [(fault.kind, fault.path.name) for fault in said] == [
        ("empty", "train.txt"),
        ("missing", "train.txt"),
        ("empty", "val.txt"),
    ]
    said.clear()
    surveyed(devkit, tmp_path / "nowhere", said.append)
    assert [(fault.kind, fault.path) for fault in said[1:]] == [("missing", tmp_path / "nowhere")]


# ---- a part of the images may be missing


def test_a_partial_split_may_lack_images_and_counts_them(devkit):
    files(devkit, 0).image.unlink()
    files(devkit, 1).mask.unlink()
    found = inspect(devkit, "train", partial=True)
    assert (found.faults, found.parts["train"].missing, found.parts["train"].images) == ((), 2, 3)
    files(devkit, 2).mask.unlink()
    assert len(inspect(devkit, "train", partial=True).faults) == 3  # of nothing nothing is learnt


# ---- training images that are validation images


@pytest.fixture
def leaking(devkit):
    """A devkit whose second training image is a validation image's copy, and whose third is a validation image."""
    first, copy, same, held_out = files(devkit, 0), files(devkit, 1), files(devkit, 2), files(devkit, 0, "val")
    copy.image.write_bytes(held_out.image.read_bytes())
    copy.mask.write_bytes(held_out.mask.read_bytes())
    write_list(devkit / "VOC2012", "val", [held_out.name, same.name])
    return first, copy, same, held_out


def test_leaks_by_id_and_by_content_are_faults_with_both_paths(devkit, leaking):
    _, copy, same, held_out = leaking
    twin, shared = inspect(devkit, "train", "val").faults
    assert (twin.kind, twin.path, shared.kind, shared.path) == ("overlap", copy.image, "overlap", same.image)
    assert f"with the same pixels, as {held_out.image}" in twin.said
    assert "data.overlap=remove data.overlap_by=contents" in twin.said
    assert "under the same id: take it out of one of the lists, or set data.overlap=remove" in shared.said


@pytest.mark.parametrize(
    ("overlap", "overlap_by", "faults", "left"),
    [("error", "ids", 2, 3), ("allow", "ids", 0, 3), ("remove", "ids", 1, 2), ("remove", "contents", 0, 1)],
)
def test_leaks_that_training_takes_care_of_are_remarks(devkit, leaking, overlap, overlap_by, faults, left):
    found = inspect(devkit, "train", "val", overlap=overlap, overlap_by=overlap_by)
    assert (len(found.faults), len(found.remarks)) == (faults, 2 - faults)
    assert (found.parts["train"].images, found.parts["val"].images) == (left, 2)


def test_equal_pixels_in_unequal_files_are_a_leak_that_training_does_not_remove(devkit, leaking):
    _, copy, _, _ = leaking
    copy.image.write_bytes(copy.image.read_bytes() + b"\0")
    (fault,) = inspect(devkit, "train", "val", overlap="remove", overlap_by="contents").faults
    assert fault.path == copy.image


def test_a_split_that_is_removed_wholly_is_a_fault(devkit):
    write_list(devkit / "VOC2012", "val", [files(devkit, index).name for index in range(3)])
    (fault,) = inspect(devkit, "train", "val", overlap="remove").faults
    assert (fault.kind, fault.said) == ("empty", "all 3 training images are validation images too: choose other splits")


def test_images_that_cannot_be_read_are_nobodys_twins(devkit):
    broken = [Seen(name, files(devkit, 0).image) for name in "ab"]
    assert leaks(broken[:1], broken[1:], "error", "ids") == []


# ---- statistics


def test_statistics_are_those_of_the_files(devkit):
    found = inspect(devkit, "train")
    labels = [picture(number)[1] for number in range(3)]
    counts = [np.bincount(np.where(mask == 255, 21, mask).ravel(), minlength=22) for mask in labels]
    content = found.parts["train"]
    assert content.pixels == tuple(np.sum(counts, 0))
    assert content.present == tuple(np.sum([each > 0 for each in counts], 0))
    assert content.sizes == dict.fromkeys(SIZES[:3], 1)
    assert (content.images, content.masks, content.missing) == (3, 3, 0)


def test_classes_without_a_training_image_are_worth_a_remark(devkit):
    seen = {"train": list(inspect_images(survey_split(str(devkit), "2012", "train")))}
    (remark,) = conclude(CLASSES, seen, []).remarks
    assert (remark.kind, remark.path, remark.harmless) == ("classes", files(devkit, 0).image.parent, True)
    assert "holds bicycle, bird, boat, " in remark.said
    assert "tvmonitor" not in remark.said
    two = {"train": [seen["train"][0]._replace(counts=(5, 1, 0))]}
    assert conclude(CLASSES[:2], two, []).remarks == ()
    assert conclude(CLASSES, {"val": seen["train"]}, []).remarks == ()


def test_statistics_of_nothing_are_zeros():
    empty = statistics([], 2)
    assert (empty.images, empty.pixels, empty.present, empty.sizes) == (0, (0, 0, 0), (0, 0, 0), {})
    fault = Fault("split", Path("nowhere"), "gone")
    assert conclude((), {}, [fault]) == Inspection((), {}, (fault,), ())


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_number_of_workers_does_not_matter(devkit, workers):
    source = survey_split(str(devkit), "2012", "trainval")
    assert list(inspect_images(source, workers)) == list(inspect_images(source))
