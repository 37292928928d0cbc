"""Splits: what an expression means, what is said of a wrong one, and the numbers of images that the papers name."""

from functools import partial

import pytest

from fcnseg.data.dataset import Pair
from fcnseg.data.sbd import sbd_lists
from fcnseg.data.splits import SEG11VALID, combine, listed, parse, read_list
from fcnseg.data.voc import devkit_lists
from tiny_voc import write_list


def pairs(folder, ids, tmp_path):
    return [Pair(each, tmp_path / folder / f"{each}.jpg", tmp_path / folder / f"{each}.png") for each in ids]


@pytest.fixture
def lists(tmp_path):
    named = {"train": "bac", "val": "de", "sbd_all": "fcda", "odd-name": "z"}
    return {name: partial(pairs, name, ids, tmp_path) for name, ids in named.items()}


# ---- what an expression means


@pytest.mark.parametrize(
    ("split", "ids"),
    [
        ("train", "bac"),
        ("  train ", "bac"),
        ("train + val", "bacde"),
        ("val+train", "debac"),
        ("train + sbd_all", "bacfd"),
        ("sbd_all+train", "fcdab"),
        ("train + sbd_all - val", "bacf"),
        ("sbd_all-val", "fca"),
        ("train - val + val", "bacde"),
        ("train - train + val", "de"),
        ("odd-name", "z"),
    ],
)
def test_lists_are_joined_from_left_to_right_and_an_id_counts_once(lists, split, ids):
    assert "".join(pair.name for pair in combine(split, lists)) == ids


def test_the_first_mask_of_an_id_wins(lists):
    assert [pair.mask.parent.name for pair in combine("train + sbd_all", lists)] == ["train"] * 3 + ["sbd_all"] * 2
    assert [pair.mask.parent.name for pair in combine("sbd_all + train", lists)] == ["sbd_all"] * 4 + ["train"]


def test_an_id_is_taken_out_wherever_its_mask_is_from(lists):
    assert {pair.name: pair.mask.parent.name for pair in combine("val + train - sbd_all", lists)} == {
        "e": "val",
        "b": "train",
    }


def test_a_list_that_is_not_named_is_not_read(lists):
    def fail():
        raise AssertionError("read without need")

    assert len(combine("train", lists | {"sbd_all": fail})) == 3


# ---- what is said of a wrong one


@pytest.mark.parametrize(
    "split",
    ["", " ", "train val", "+ train", "train +", "train + + val", "train - - val", "-train", "+", "train+val val"],
)
def test_what_is_no_expression_is_refused_with_the_names_there_are(lists, split):
    with pytest.raises(
        ValueError, match=r"names with \+ or - between them, .*; the splits there are: odd-name, sbd_all"
    ):
        parse(split, lists)


def test_unknown_names_are_refused_with_those_there_are(lists):
    message = (
        r"val_split='train \+ valid - odd' names valid, odd, which is no list here; the splits there are: odd-name, "
    )
    with pytest.raises(ValueError, match=message):
        combine("train + valid - odd", lists)


def test_a_split_of_nothing_is_refused(lists):
    with pytest.raises(ValueError, match=r"the split 'val - val' holds no image"):
        combine("val - val", lists)


def test_a_list_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"the list .*train\.txt cannot be read as UTF-8 text"):
        read_list(tmp_path / "train.txt")


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no list .*/train\.txt: restore it"):
        read_list(tmp_path / "train.txt")


def test_all_faults_of_a_list_go_to_who_takes_them(tmp_path):
    path, said = tmp_path / "train.txt", []
    path.write_bytes(b"b\r\na\r\nb\r\na\r\n")
    assert read_list(path, said.append) == ["b", "a"]
    assert [(fault.kind, fault.path, fault.harmless) for fault in said] == [
        ("repeated", path, False),
        ("line ends", path, True),
    ]
    assert "names a, b more than once" in said[0].said
    said.clear()
    for content in (b"\n", b"\xff\xfe"):
        path.write_bytes(content)
        assert read_list(path, said.append) == []
    assert read_list(tmp_path / "nowhere.txt", said.append) == []
    assert [fault.kind for fault in said] == ["empty", "unreadable", "missing"]


def test_lists_that_give_nothing_were_spoken_of_before(lists):
    assert combine("none + none", {"none": list}) == []
    assert len(combine("none + train", lists | {"none": list})) == 3


def test_a_mark_of_the_encoding_is_no_part_of_an_id(tmp_path):
    (tmp_path / "train.txt").write_bytes("\ufeffä b\r\n".encode())
    assert read_list(tmp_path / "train.txt") == ["ä b"]


@pytest.mark.parametrize(("most", "said"), [(2, "a, b and 1 more"), (3, "a, b, c"), (9, "a, b, c")])
def test_names_in_a_message_are_limited(most, said):
    assert listed(["a", "b", "c"], most) == said


# ---- the papers' numbers


def test_the_papers_validation_list_has_736_ids():
    ids = read_list(SEG11VALID)
    assert len(ids) == 736
    assert ids == sorted(ids)
    assert (ids[0], ids[-1]) == ("2007_000033", "2011_003271")


def test_lists_of_the_real_sizes_give_the_usual_10582(tmp_path):
    """With made-up ids: of VOC train 352 are not in SBD, of VOC val 1125 are, as the sizes demand."""
    numbers = {"train": range(1464), "val": range(2000, 3449)}
    sbd = [*range(352, 1464), *range(2000, 3125), *range(5000, 14118)]
    home, release = tmp_path / "VOC2012", tmp_path / "benchmark_RELEASE" / "dataset"
    (home / "ImageSets" / "Segmentation").mkdir(parents=True)
    (release / "cls").mkdir(parents=True)
    for split, chosen in numbers.items():
        write_list(home, split, [f"{number:06d}" for number in chosen])
    for split, chosen in (("train", sbd[2857:]), ("val", sbd[:2857])):
        (release / f"{split}.txt").write_text("\n".join(f"{number:06d}" for number in chosen))
    lists = {**devkit_lists(home), **sbd_lists(str(release.parent), None)}
    assert len(combine("sbd_train", lists)) == 8498
    assert len(combine("seg11valid", lists)) == 736
    assert len(combine("train + sbd_all - val", lists)) == 10582
