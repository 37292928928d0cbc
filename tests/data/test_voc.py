"""VOC devkits: what is read, and what is said when something is missing."""

import shutil

import numpy as np
import pytest
from PIL import Image

from fcnseg.data.sbd import sbd_lists
from fcnseg.data.splits import combine
from fcnseg.data.voc import CLASSES, devkit_lists, missing_files, open_split
from tiny_voc import SIZES, picture, sbd_labels, write_devkit, write_list, write_sbd


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
    message = (
        r"='tests' names tests, .*; the splits there are: sbd_all, sbd_train, sbd_val, seg11valid, train, trainval, val"
    )
    with pytest.raises(ValueError, match=message):
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
    message = r"^2 of the 3 .*val_split='train' .*: 2012_000000, 2012_000002; .*00\.jpg; restore .* data\.partial=true"
    with pytest.raises(FileNotFoundError, match=message):
        open_split(str(devkit), "2012", "train")
    assert len(open_split(str(devkit), "2012", "val")) == 2


def test_a_missing_folder_of_masks_is_a_missing_file_each(devkit):
    shutil.rmtree(devkit / "VOC2012" / "SegmentationClass")
    with pytest.raises(FileNotFoundError, match=r"^5 of the 5 .*SegmentationClass/2012_000000\.png"):
        open_split(str(devkit), "2012", "trainval")


def test_the_folder_of_another_year_has_other_lists(tmp_path):
    home = write_devkit(tmp_path) / "VOC2012"
    message = (
        r"VOC2012 holds no VOC2011/ImageSets.* for the paper's validation .* data=voc2012 data\.val_split=seg11valid"
    )
    with pytest.raises(FileNotFoundError, match=message):
        open_split(str(home), "2011", "train")
    renamed = home.rename(tmp_path / "my devkit")
    assert len(open_split(str(renamed), "2011", "train")) == 3  # it can be any year's


# ---- the paper's validation images, SBD, and trees with a part of the images


def seg11valid(devkit, *names):
    """Moves images under ids of the paper's list."""
    home = devkit / "VOC2012"
    for number, name in enumerate(names):
        for folder, end in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
            (home / folder / f"2012_{number:06d}.{end}").rename(home / folder / f"{name}.{end}")


def test_the_papers_validation_images_are_taken_from_the_devkit(devkit):
    seg11valid(devkit, "2011_003271", "2007_000033")
    with pytest.raises(
        FileNotFoundError, match=r"^734 of the 736 .*'seg11valid' .*: 2007_000042, .* and 714 more; the fir"
    ):
        open_split(str(devkit), "2012", "seg11valid")
    there = open_split(str(devkit), "2012", "seg11valid", partial=True)
    assert ([there.name(0), there.name(1)], there.remarks) == (["2007_000033", "2011_003271"], {"missing": 734})
    np.testing.assert_array_equal(there.read(0)[1], picture(1)[1])


def test_of_a_partial_split_something_must_be_there(devkit):
    with pytest.raises(FileNotFoundError, match=r"^736 of the 736 .*out of the list$"):
        open_split(str(devkit), "2012", "seg11valid", partial=True)


def test_a_whole_split_that_may_be_partial_misses_nothing(devkit):
    assert open_split(str(devkit), "2012", "train", partial=True).remarks == {"missing": 0}
    assert open_split(str(devkit), "2012", "train").remarks == {}


def test_both_trees_make_one_split_with_vocs_masks_first(devkit, tmp_path):
    release = write_sbd(tmp_path, ["2009_000009", "2012_000001", "2012_000003"], ["2012_000004", "2008_000008"])
    source = open_split(str(devkit), "2012", "train + sbd_all - val", str(release))
    ids = ["2012_000000", "2012_000001", "2012_000002", "2009_000009", "2008_000008"]
    assert [source.name(index) for index in range(len(source))] == ids
    np.testing.assert_array_equal(source.read(1)[1], picture(1)[1])  # with void, so VOC's
    np.testing.assert_array_equal(source.read(4)[1], sbd_labels(4))
    made = {path.stem for path in (release / "dataset" / "cls_png").iterdir()}
    assert made == {"2009_000009", "2008_000008"}  # what the split needs, and no more


def test_files_that_sbd_lacks_are_counted_and_named(devkit, tmp_path):
    release = write_sbd(tmp_path, ["2009_000009", "2009_000010", "2009_000011"])
    (release / "dataset" / "cls" / "2009_000010.mat").unlink()
    (release / "dataset" / "img" / "2009_000011.jpg").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"^2 of the 3 .*: 2009_000010, 2009_000011; .*/cls/2009_000010\.mat; rest"
    ):
        open_split(str(devkit), "2012", "sbd_train", str(release))
    assert not (release / "dataset" / "cls_png").exists()
    there = open_split(str(devkit), "2012", "sbd_train", str(release), partial=True)
    assert ([there.name(0), len(there)], there.remarks) == (["2009_000009", 1], {"missing": 2})


# ---- the real photographs


@pytest.mark.parametrize(("split", "count"), [("train", 700), ("val", 300), ("trainval", 1000)])
def test_the_real_splits_have_their_sizes(data_root, split, count):
    assert len(open_split(str(data_root / "VOCdevkit"), "2012", split)) == count


def test_the_real_trees_have_the_papers_numbers_of_images_or_those_of_the_part(data_root, tmp_path):
    """8498, 736 and 10,582 on the whole releases; else those of the part that lies here."""
    home, release = data_root / "VOCdevkit" / "VOC2012", str(data_root / "benchmark_RELEASE")
    lists = {**devkit_lists(home), **sbd_lists(release, str(tmp_path))}
    splits = [combine(split, lists) for split in ("sbd_train", "seg11valid", "train + sbd_all - val")]
    counts = [len(pairs) - len(missing_files(pairs)) for pairs in splits]
    assert counts in ([8498, 736, 10582], [450, 229, 1200])


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
