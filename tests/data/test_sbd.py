"""SBD: its masks read as they are, converted once, whoever else does it at the same time."""

import multiprocessing
import os
import re

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from fcnseg.data import sbd
from fcnseg.data.dataset import Pair
from fcnseg.data.sbd import convert_masks, find_sbd, read_mat, sbd_lists
from fcnseg.data.voc import open_split
from tiny_voc import sbd_labels, write_devkit, write_mat, write_sbd

TRAIN = ["2008_000007", "2008_000002"]


@pytest.fixture
def release(tmp_path):
    return write_sbd(tmp_path, TRAIN)


@pytest.fixture
def opened(tmp_path, release):
    devkit = str(write_devkit(tmp_path / "VOCdevkit"))
    return lambda split="sbd_train", cache=None: open_split(devkit, "2012", split, str(release), cache)


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


# ---- what is read


@pytest.mark.parametrize(
    ("split", "ids"),
    [("sbd_train", TRAIN), ("sbd_val", ["2008_000001"]), ("sbd_all", [*TRAIN, "2008_000001"])],
)
def test_the_lists_are_sbds_in_their_order(opened, split, ids):
    source = opened(split)
    assert [source.name(index) for index in range(len(source))] == ids


def test_images_and_masks_are_those_on_disk(opened, release):
    source = opened("sbd_all")
    for number in range(3):
        image, mask = source.read(number)
        np.testing.assert_array_equal(mask, sbd_labels(number))
        with Image.open(release / "dataset" / "img" / f"{source.name(number)}.jpg") as file:
            np.testing.assert_array_equal(image, np.asarray(file))


def test_the_root_is_the_release_or_its_data_set_or_what_holds_it(release):
    assert {find_sbd(root) for root in (release, release / "dataset", release.parent)} == {release / "dataset"}


def test_a_wrong_root_says_what_it_holds(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"data\.sbd_root=.*/nowhere is no folder; give the folder benchmark_REL"
    ):
        find_sbd(tmp_path / "nowhere")
    (tmp_path / "img").mkdir()
    with pytest.raises(FileNotFoundError, match=r"data\.sbd_root=.* holds no dataset/cls \(it holds img\); give the"):
        find_sbd(tmp_path)


def test_a_list_of_sbd_without_its_root_is_refused():
    with pytest.raises(ValueError, match=r"the split names sbd_val, a list of SBD: set data\.sbd_root to the folder"):
        sbd_lists(None, None)["sbd_val"]()


def test_a_missing_list_of_sbd_is_named(release):
    (release / "dataset" / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no list .*dataset/val\.txt"):
        sbd_lists(str(release), None)["sbd_all"]()


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint32])
def test_labels_are_bytes_whatever_their_type_on_disk(tmp_path, kind):
    write_mat(tmp_path / "a.mat", np.array([[0, 20], [3, 1], [0, 0]], kind))
    labels = read_mat(tmp_path / "a.mat")
    assert (labels.dtype, labels.tolist()) == (np.uint8, [[0, 20], [3, 1], [0, 0]])


# ---- what is refused


def truncated(path):
    path.write_bytes(path.read_bytes()[:-40])


def another_struct(path):
    savemat(path, {"GTinst": {"Segmentation": sbd_labels(0)}})


DAMAGE = {
    "cannot be read": {
        "truncated": truncated,
        "empty": lambda path: path.write_bytes(b""),
        "text": lambda path: path.write_text("<html>404</html>" * 20),
        "flipped": lambda path: path.write_bytes(path.read_bytes()[:160] + b"\0" * 9 + path.read_bytes()[169:]),
        "another struct": another_struct,
        "a table": lambda path: savemat(path, {"GTcls": sbd_labels(0)}),
        "a folder": lambda path: path.unlink() or path.mkdir(),
    },
    "must be rows of labels": {
        "void": lambda path: write_mat(path, np.full((4, 4), 255, np.uint8)),
        "negative": lambda path: write_mat(path, np.full((4, 4), -1, np.int16)),
        "fractions": lambda path: write_mat(path, np.zeros((4, 4))),
        "three axes": lambda path: write_mat(path, np.zeros((4, 4, 3), np.uint8)),
        "nothing": lambda path: write_mat(path, np.zeros((0, 4), np.uint8)),
        "words": lambda path: write_mat(path, np.array(["a", "b"], object)),
    },
}


@pytest.mark.parametrize(("message", "name"), [(message, name) for message in DAMAGE for name in DAMAGE[message]])
def test_a_damaged_mat_is_refused_by_its_path(opened, release, message, name):
    path = release / "dataset" / "cls" / f"{TRAIN[1]}.mat"
    DAMAGE[message][name](path)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} {message}.*restore it, or take {TRAIN[1]} out of"):
        opened()
    assert len(opened("sbd_val")) == 1  # which the damage does not concern


def test_a_folder_that_cannot_be_written_is_refused_with_the_key(opened, release):
    (release / "dataset" / "cls_png").write_text("in the way")  # the mode of a folder would not stop root
    with pytest.raises(ValueError, match=r"cannot be written as PNGs into .*/dataset/cls_png .*: set data\.cache to a"):
        opened()


def test_a_write_that_fails_is_refused_with_the_key_and_leaves_nothing(opened, release, monkeypatch):
    def full(self, path, *arguments, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(ValueError, match=r"No space left on device\): set data\.cache to .*, or make room"):
        opened()
    assert list((release / "dataset" / "cls_png").iterdir()) == []


# ---- the conversion


def test_masks_are_converted_beside_cls_or_in_the_users_folder(opened, release, tmp_path):
    beside, elsewhere = release / "dataset" / "cls_png", tmp_path / "new" / "cache"
    opened(cache=str(elsewhere))
    assert not beside.exists()
    opened()
    for folder in (beside, elsewhere / "cls_png"):
        assert set(times(folder)) == {f"{name}.png" for name in TRAIN}
        with Image.open(folder / f"{TRAIN[0]}.png") as file:
            assert file.mode == "L"


def test_masks_are_converted_once_and_again_when_the_source_is_newer_or_the_png_is_empty(opened, release):
    source = opened()
    before = times(release / "dataset" / "cls_png")
    opened()
    assert times(release / "dataset" / "cls_png") == before

    changed = release / "dataset" / "cls" / f"{TRAIN[0]}.mat"
    write_mat(changed, np.full(source.size(0), 7, np.uint8))
    later = before[f"{TRAIN[0]}.png"] + 10**9
    os.utime(changed, ns=(later, later))
    source.pairs[1].mask.write_bytes(b"")
    again = opened()
    assert (again.read(0)[1] == 7).all()
    np.testing.assert_array_equal(again.read(1)[1], sbd_labels(1))


def test_the_fingerprint_is_of_the_sources_not_of_the_conversion(opened, release):
    source = opened()
    before = source.fingerprint()
    Image.fromarray(sbd_labels(0)).save(source.pairs[0].mask, compress_level=9)
    assert opened().fingerprint() == before
    write_mat(release / "dataset" / "cls" / f"{TRAIN[0]}.mat", np.zeros((2, 2), np.uint8))
    assert source.fingerprint() != before


@pytest.mark.parametrize(("worth", "said"), [(2, True), (3, False)])
def test_a_long_conversion_is_announced_on_stderr_and_once(opened, release, monkeypatch, capsys, worth, said):
    monkeypatch.setattr(sbd, "WORTH_A_BAR", worth)
    opened()
    printed = capsys.readouterr()
    announced = f"converting 2 masks of SBD to PNG, once, into {release / 'dataset' / 'cls_png'}" in printed.err
    assert (printed.out, announced, bool(printed.err.strip())) == ("", said, said)
    opened()
    assert capsys.readouterr().err == ""


def convert_together(start, pairs, status):
    sbd.is_fresh = lambda mask, origin: False  # so that both write every file
    start.wait(20)
    convert_masks(pairs)
    status.value = 1


# Newer Pythons warn of a fork beside threads; the children touch nothing that the parent's threads hold.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_processes_that_convert_at_the_same_time_do_not_disturb_each_other(tmp_path):
    home = write_sbd(tmp_path, [f"2008_{number:06d}" for number in range(20)], ["2009_000001"]) / "dataset"
    masks = tmp_path / "cls_png"
    pairs = [Pair(mat.stem, mat, masks / f"{mat.stem}.png", mat) for mat in sorted((home / "cls").iterdir())]
    context = multiprocessing.get_context("fork")
    start, done = context.Barrier(3), [context.Value("i", 0) for _ in range(3)]
    processes = [context.Process(target=convert_together, args=(start, pairs, status)) for status in done]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [status.value for status in done] == [1, 1, 1]
    assert set(times(masks)) == {pair.mask.name for pair in pairs}
    for pair in pairs:
        with Image.open(pair.mask) as file:
            np.testing.assert_array_equal(np.asarray(file), read_mat(pair.origin))


# ---- the real masks


def test_the_real_masks_equal_the_mat_files(data_root, tmp_path):
    release = data_root / "benchmark_RELEASE"
    some = sbd_lists(str(release), str(tmp_path))["sbd_all"]()[::20]
    convert_masks(some)
    assert len(some) >= 25
    for pair in some:
        with Image.open(pair.mask) as file:
            np.testing.assert_array_equal(
                np.asarray(file), loadmat(pair.origin)["GTcls"]["Segmentation"].item(), strict=True
            )
