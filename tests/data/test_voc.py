"""VOC devkits: what is read, and what is said when something is missing."""

import shutil

import numpy as np
import pytest
from PIL import Image

from fcnseg.data.voc import CLASSES, open_split
from tiny_voc import SIZES, picture, write_devkit, write_list


@pytest.fixture
def devkit(tmp_path):
    return write_devkit(tmp_path / "VOCdevkit")


def test_the_split_is_read_in_the_order_of_its_list(devkit):
    source = open_split(str(devkit), "2012", "val")
    assert [source.name(index) for index in range(len(source))] == ["2012_000003", "2012_000004"]
    assert [source.size(index) for index in range(len(source))] == list(SIZES[3:])
    assert (source.classes, source.void) == (CLASSES, 255)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_read_returns_the_photograph_and_the_labels(devkit, index):
    image, mask = open_split(str(devkit), "2012", "train").read(index)
    drawn, labels = picture(index)
    assert (image.dtype, mask.dtype) == (np.uint8, np.uint8)
    np.testing.assert_array_equal(mask, labels)
    assert image.shape == drawn.shape
    assert np.abs(image.astype(int) - drawn).mean() < 12  # a JPEG is not exact


@pytest.mark.parametrize("year", ["2007", "2012"])
def test_root_is_the_devkit_or_the_folder_of_a_year(tmp_path, year):
    devkit = write_devkit(tmp_path, year=year)
    whole = open_split(str(devkit), year, "trainval")
    assert len(whole) == 5
    assert whole.pairs == open_split(str(devkit / f"VOC{year}"), year, "trainval").pairs


def test_the_year_chooses_among_the_devkits(tmp_path):
    write_devkit(tmp_path, year="2007")
    write_devkit(tmp_path, year="2012")
    assert open_split(str(tmp_path), "2007", "val").name(0) == "2007_000003"


@pytest.mark.parametrize("end", ["\n", "\r\n", "  \n", "\n\n"])
def test_line_ends_and_blank_lines_do_not_matter(devkit, end):
    write_list(devkit / "VOC2012", "train", ["2012_000001", "2012_000000"], end)
    source = open_split(str(devkit), "2012", "train")
    assert [source.name(index) for index in range(2)] == ["2012_000001", "2012_000000"]


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data\.root=.*/nowhere is no folder; give the VOCdevkit folder"):
        open_split(str(tmp_path / "nowhere"), "2012", "train")


def test_a_root_without_the_year_says_what_it_holds(devkit):
    with pytest.raises(FileNotFoundError, match=r"VOC2011/ImageSets/Segmentation \(it holds VOC2012\); .*data\.year"):
        open_split(str(devkit), "2011", "train")


def test_a_missing_list_names_those_that_are_there(devkit):
    with pytest.raises(FileNotFoundError, match=r"tests\.txt; the splits there are: train, trainval, val"):
        open_split(str(devkit), "2012", "tests")


@pytest.mark.parametrize("content", [b"", b"\n \r\n"])
def test_an_empty_list_is_refused(devkit, content):
    write_list(devkit / "VOC2012", "train", []).write_bytes(content)
    with pytest.raises(ValueError, match=r"the list .*train\.txt is empty: "):
        open_split(str(devkit), "2012", "train")


def test_an_id_twice_is_refused(devkit):
    write_list(devkit / "VOC2012", "train", ["2012_000001", "2012_000000", "2012_000001"])
    with pytest.raises(ValueError, match=r"train\.txt names 2012_000001 more than once: remove"):
        open_split(str(devkit), "2012", "train")


def test_missing_images_and_masks_are_counted_and_named(devkit):
    home = devkit / "VOC2012"
    (home / "JPEGImages" / "2012_000000.jpg").unlink()
    (home / "SegmentationClass" / "2012_000002.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"^2 files .*2012_000000\.jpg.*2012_000002\.png; restore them"):
        open_split(str(devkit), "2012", "train")
    assert len(open_split(str(devkit), "2012", "val")) == 2


def test_a_missing_folder_of_masks_is_a_missing_file_each(devkit):
    shutil.rmtree(devkit / "VOC2012" / "SegmentationClass")
    with pytest.raises(FileNotFoundError, match=r"^5 files .*SegmentationClass/2012_000000\.png"):
        open_split(str(devkit), "2012", "trainval")


# ---- the real photographs


@pytest.mark.parametrize(("split", "count"), [("train", 700), ("val", 300), ("trainval", 1000)])
def test_the_real_splits_have_their_sizes(data_root, split, count):
    assert len(open_split(str(data_root / "VOCdevkit"), "2012", split)) == count


def test_real_images_and_masks_equal_the_files(data_root):
    source = open_split(str(data_root / "VOCdevkit"), "2012", "trainval")
    seen = set()
    for index in [0, *range(7, 1000, 83)]:
        image, mask = source.read(index)
        with Image.open(source.pairs[index].mask) as file:
            assert file.mode == "P"
            np.testing.assert_array_equal(mask, np.asarray(file))
        with Image.open(source.pairs[index].image) as file:
            np.testing.assert_array_equal(image, np.asarray(file))
        assert image.shape == (*source.size(index), 3)
        seen |= set(np.unique(mask).tolist())
    assert {0, 15, 255} <= seen <= {*range(21), 255}
