"""Leaks: what both splits hold is found by id or by content, and stops the run, is removed, or is let through."""

import shutil

import pytest

from fcnseg.data import voc
from fcnseg.data.dataset import ImageFiles
from fcnseg.data.leaks import separated
from fcnseg.data.shapes import Shapes
from fcnseg.data.voc import open_split
from tiny_voc import write_devkit, write_list

IDS = [f"2012_{number:06d}" for number in range(5)]


@pytest.fixture
def devkit(tmp_path):
    """Train is the images 0, 1 and 2; val is 3 and 4."""
    return write_devkit(tmp_path / "VOCdevkit")


def split(devkit, name, ids=None):
    if ids is not None:
        write_list(devkit / "VOC2012", name, ids)
    return open_split(str(devkit), "2012", name)


def names(source):
    return [source.name(index) for index in range(len(source))]


@pytest.fixture
def leaky(devkit):
    return split(devkit, "train"), split(devkit, "held", [IDS[4], IDS[2], IDS[0]])


# ---- by id


@pytest.mark.parametrize("overlap", ["error", "remove", "allow"])
@pytest.mark.parametrize("overlap_by", ["ids", "contents"])
def test_splits_apart_are_left_as_they_are(devkit, overlap, overlap_by):
    train, val = split(devkit, "train"), split(devkit, "val")
    assert separated(train, val, overlap, overlap_by) is train
    assert train.remarks == {}


def test_ids_in_common_stop_the_run_with_their_number_and_the_key(leaky):
    message = (
        rf"^2 of the 3 training images are validation images too: {IDS[0]}, {IDS[2]}; .*set data\.overlap=remove to"
    )
    with pytest.raises(ValueError, match=message):
        separated(*leaky, "error", "ids")


def test_ids_in_common_are_removed_from_training_and_counted(leaky):
    train = separated(*leaky, "remove", "ids")
    assert (names(train), train.remarks) == ([IDS[1]], {"removed": 2})
    assert train.fingerprint() != leaky[0].fingerprint()
    assert (len(leaky[0]), len(leaky[1])) == (3, 3)  # neither changed


def test_ids_in_common_are_let_through_and_counted(leaky):
    train = separated(*leaky, "allow", "ids")
    assert (names(train), train.remarks) == (IDS[:3], {"overlap": 2})
    assert train.fingerprint() == leaky[0].fingerprint()


def test_a_training_set_that_is_all_validation_is_not_emptied(devkit):
    with pytest.raises(
        ValueError, match=r"^2 of the 2 training .*; choose other splits, or set data\.overlap=allow to"
    ):
        separated(split(devkit, "val"), split(devkit, "trainval"), "remove", "ids")


def test_many_ids_are_counted_and_not_all_named(devkit):
    home = devkit / "VOC2012"
    for number in range(50):
        for folder, end in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
            shutil.copy(home / folder / f"{IDS[0]}.{end}", home / folder / f"copy{number:02d}.{end}")
    copies = split(devkit, "copies", [f"copy{number:02d}" for number in range(50)])
    with pytest.raises(ValueError, match=r"^50 of the 50 .*, copy39 and 10 more; choose other splits"):
        separated(copies, copies, "error", "ids")


# ---- by content


@pytest.fixture
def renamed(devkit):
    """A training image that is a validation image under another id, and one that has only its size."""
    home = devkit / "VOC2012"
    for name in ("twin", "near"):
        shutil.copy(home / "JPEGImages" / f"{IDS[3]}.jpg", home / "JPEGImages" / f"{name}.jpg")
        shutil.copy(home / "SegmentationClass" / f"{IDS[3]}.png", home / "SegmentationClass" / f"{name}.png")
    near = home / "JPEGImages" / "near.jpg"
    near.write_bytes(near.read_bytes()[:-1] + b"!")
    return split(devkit, "train", [IDS[0], "twin", "near"]), split(devkit, "val")


def test_an_image_under_another_id_is_found_by_its_content_only(renamed):
    assert separated(*renamed, "error", "ids") is renamed[0]
    with pytest.raises(ValueError, match=rf"^1 of the 3 training images .*: twin \(validated on as {IDS[3]}\); choose"):
        separated(*renamed, "error", "contents")
    assert names(separated(*renamed, "remove", "contents")) == [IDS[0], "near"]


def test_an_id_in_common_counts_whatever_the_files_hold(leaky):
    train, val = leaky
    other = ImageFiles([val.pairs[1]._replace(image=val.pairs[0].image)], val.classes)
    assert separated(train, other, "remove", "contents").remarks == {"removed": 1}


# ---- drawn images


@pytest.mark.parametrize("overlap_by", ["ids", "contents"])
def test_drawn_splits_have_no_name_in_common(overlap_by):
    train, val = Shapes("train", 30, 32, 32, 0), Shapes("val", 30, 32, 32, 0)
    assert separated(train, val, "error", overlap_by) is train


@pytest.mark.parametrize("overlap", ["error", "remove"])
def test_a_drawn_split_validated_on_itself_is_found(overlap):
    drawn = Shapes("val", 4, 32, 32, 0)
    with pytest.raises(
        ValueError, match=r"^4 of the 4 .*shapes_val_000003; choose other splits, or set data\.overlap=al"
    ):
        separated(drawn, drawn, overlap, "ids")
    assert separated(drawn, drawn, "allow", "ids") is drawn


# ---- the real leaks


@pytest.fixture(scope="module")
def real(data_root):
    """Opens splits of the real trees, without the seconds that the conversion of masks takes: no mask is read here."""
    devkit, release = str(data_root / "VOCdevkit"), str(data_root / "benchmark_RELEASE")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voc, "convert_masks", lambda pairs: None)
        yield lambda split, partial=False: open_split(devkit, "2012", split, release, "/nowhere", partial)


@pytest.mark.parametrize(("val", "partial", "count"), [("val", False, 30), ("seg11valid", True, 2)])
def test_what_sbd_trains_on_and_voc_validates_on_is_found_and_removed(real, val, partial, count):
    train, held = real("sbd_train"), real(val, partial)
    common = sorted(set(names(train)) & set(names(held)))
    assert len(common) == count
    with pytest.raises(ValueError, match=rf"^{count} of the 450 training") as caught:
        separated(train, held, "error", "ids")
    assert all(name in str(caught.value) for name in common)
    clean = separated(train, held, "remove", "ids")
    assert (len(clean), clean.remarks["removed"]) == (450 - count, count)
    assert not set(names(clean)) & set(names(held))
    assert separated(clean, held, "error", "contents") is clean
    if count == 2:
        assert common == ["2007_008260", "2010_004479"]


def test_the_union_of_both_trees_without_val_has_no_leak(real):
    train, val = real("train + sbd_all - val"), real("val")
    assert len(train) == 1200
    assert separated(train, val, "error", "contents") is train
    assert {pair.mask.parent.name for pair in train.pairs} == {"SegmentationClass", "cls_png"}
