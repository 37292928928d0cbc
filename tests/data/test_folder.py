"""Your own images: which file goes with which mask, which image is for what, and what is wrong with either."""

import re
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from fcnseg import build
from fcnseg.data.dataset import Source
from fcnseg.data.folder import open_split
from fcnseg.sources import open_source, survey_source
from runs import composed
from toy_folder import CLASSES, toy, write_toy


@pytest.fixture
def root(tmp_path):
    return write_toy(tmp_path / "toy")


def opened(root, part="train", train="all", val="0.25", **keys):
    return open_split(part, train, val, **{"classes": CLASSES, "root": str(root)} | keys)


def names(*arguments, **keys):
    return [pair.name for pair in opened(*arguments, **keys).pairs]


def refusal(error, *arguments, **keys):
    with pytest.raises(error) as caught:
        opened(*arguments, **keys)
    return str(caught.value)


def grey(path, value=0, shape=(6, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)


# ---- what is read


def test_images_and_masks_are_read_as_labels(root):
    source = opened(root)
    assert isinstance(source, Source)
    assert (source.classes, source.void) == (CLASSES, 255)
    for index, pair in enumerate(source.pairs):
        image, mask = source.read(index)
        drawn = toy(int(pair.name.removeprefix("shot")))
        assert np.abs(image.astype(int) - drawn[0]).mean() < 25  # a JPEG of noise
        np.testing.assert_array_equal(mask, drawn[1])
        assert source.size(index) == mask.shape


def test_every_format_and_any_void(tmp_path):
    image, mask = toy(1)
    mask = np.where(mask == 255, 9, mask).astype(np.uint8)
    for number, (kind, labels) in enumerate([("png", "png"), ("bmp", "bmp"), ("tif", "tiff"), ("npy", "npy")]):
        for folder, pixels, ending in (("photos", image, kind), ("labels", mask, labels)):
            path = tmp_path / folder / f"a b{number}.{ending}"
            path.parent.mkdir(exist_ok=True)
            np.save(path, pixels) if ending == "npy" else Image.fromarray(pixels).save(path)
    source = opened(tmp_path, images="photos", masks="labels", void=9, val="x.txt")
    assert len(source) == 4
    for index in range(4):
        read = source.read(index)
        np.testing.assert_array_equal(read[0], image)
        np.testing.assert_array_equal(read[1], np.where(mask == 9, 255, mask))


def test_absolute_folders_need_no_root(root):
    assert names(".", images=str(root / "images"), masks=str(root / "masks")) == names(root)


# ---- which images are for what


def test_a_fraction_is_held_out_of_training(root):
    train, val = names(root), names(root, "val")
    assert sorted(train + val) == [f"shot{number:02d}" for number in range(1, 13)]
    assert 0 < len(val) < len(train)
    assert names(root, "val", val="0.9") != val


def test_further_images_do_not_reshuffle_the_others(root):
    before = {part: set(names(root, part)) for part in ("train", "val")}
    for number in range(60):
        for folder, kind in (("images", "jpg"), ("masks", "png")):
            shutil.copy(root / folder / f"shot01.{kind}", root / folder / f"more{number}.{kind}")
    after = {part: set(names(root, part)) for part in ("train", "val")}
    assert before["train"] < after["train"]
    assert before["val"] < after["val"]
    assert 5 <= len(after["val"]) <= 30  # a quarter of 72, as chance has it


def test_folders_are_splits_and_the_same_name_in_two_of_them_is_two_images(tmp_path):
    for part in ("train", "val"):
        write_toy(tmp_path / part, 3)
        for folder in ("images", "masks"):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
            shutil.move(tmp_path / part / folder, tmp_path / "set" / folder / part)
    keys = {"train": "train", "val": "val"}
    train, val = (opened(tmp_path / "set", part, **keys) for part in ("train", "val"))
    assert [pair.name for pair in train.pairs] == ["train/shot01", "train/shot02", "train/shot03"]
    assert val.pairs[0].mask == tmp_path / "set" / "masks" / "val" / "shot01.png"
    assert set(names(tmp_path / "set", "val", train="train", val="0.5")) < {pair.name for pair in train.pairs}


def test_masks_may_lie_together_where_images_have_folders(root):
    (root / "images" / "day").mkdir()
    for number in (1, 2):
        shutil.move(root / "images" / f"shot0{number}.jpg", root / "images" / "day")
    source = opened(root, train="day", val="x.txt")
    assert [pair.name for pair in source.pairs] == ["day/shot01", "day/shot02"]
    assert source.pairs[1].mask == root / "masks" / "shot02.png"


def test_lists_name_ids_with_or_without_endings_and_folders(root):
    for folder, kind in (("images", "jpg"), ("masks", "png")):
        (root / folder / "night").mkdir()
        shutil.move(root / folder / f"shot03.{kind}", root / folder / "night")
    (root / "train.txt").write_bytes(b"shot02\r\nshot01.jpg\r\nnight\\shot03\r\n")
    (root / "val.txt").write_text("shot04\n\nshot05\n")
    keys = {"train": "train.txt", "val": "val.txt"}
    assert names(root, **keys) == ["shot02", "shot01", "night/shot03"]
    assert names(root, "val", **keys) == ["shot04", "shot05"]


def test_a_name_is_the_same_however_its_accents_are_written(root):
    decomposed, composed_ = (unicodedata.normalize(form, "café") for form in ("NFD", "NFC"))
    shutil.copy(root / "images" / "shot01.jpg", root / "images" / f"{decomposed}.jpg")
    shutil.copy(root / "masks" / "shot01.png", root / "masks" / f"{composed_}.png")
    (root / "train.txt").write_text(f"{decomposed}\n", encoding="utf-8")
    source = opened(root, train="train.txt", val="x.txt")
    assert source.pairs[0].name == composed_
    source.read(0)


def test_other_files_do_not_count(root):
    for name in ("images/notes.txt", "images/.shot90.jpg", "masks/Thumbs.db"):
        (root / name).write_bytes(b"x")
    (root / "images" / "folder.png").mkdir()
    assert len(names(root)) + len(names(root, "val")) == 12


# ---- what does not pair up


def test_images_without_masks_and_masks_without_images_are_counted_and_named(root):
    (root / "masks" / "shot03.png").unlink()
    (root / "masks" / "shot05.png").unlink()
    (root / "images" / "shot07.jpg").unlink()
    said = refusal(ValueError, root)
    assert "data.train_split=all does not pair up: 1 of 12 have no image: shot07" in said
    assert "2 of 12 have no mask: shot03, shot05; the first is" in said
    assert str(root / "masks") in said


def test_several_files_of_one_name_are_counted_and_named(root):
    grey(root / "images" / "shot03.bmp")
    grey(root / "masks" / "shot05.tif")
    assert "1 of 12 have several images: shot03; 1 of 12 have several masks: shot05" in refusal(ValueError, root)


def test_a_jpeg_is_no_mask(root):
    shutil.move(root / "masks" / "shot03.png", root / "masks" / "shot03.jpg")
    assert re.search(r"have no mask: shot03;.*\.bmp, \.npy\):", refusal(ValueError, root))


def test_what_a_list_names_in_vain_is_counted_and_named(root):
    (root / "val.txt").write_text("shot01\nshot77\nshot78\nelsewhere/shot01\n")
    said = refusal(ValueError, root, "val", val="val.txt")
    assert "data.val_split=val.txt does not pair up: 3 of 4 have no image: shot77, shot78, elsewhere/shot01" in said


@pytest.mark.parametrize(("folder", "key"), [("images", "data.images"), ("masks", "data.masks")])
def test_a_missing_folder_is_named_with_its_key(root, folder, key):
    shutil.rmtree(root / folder)
    assert re.search(rf"there is no folder {root / folder}: set data\.root, or {key} below", refusal(OSError, root))


def test_a_split_that_is_not_there_is_refused_with_the_choices(root):
    (root / "images" / "day").mkdir()
    (root / "val.txt").write_text("shot01\n")
    said = refusal(FileNotFoundError, root, train="night")
    assert re.search(r"data\.train_split=night is no folder in .*choose among all, day, val\.txt", said)
    assert f"there is no list {root / 'test.txt'}" in refusal(FileNotFoundError, root, "val", val="test.txt")


def test_folders_of_folders_are_refused_with_the_choices(tmp_path):
    for folder in ("images", "masks"):
        grey(tmp_path / folder / "train" / "a.png")
    said = refusal(ValueError, tmp_path)
    assert "train has no image: data.train_split=all, and data.val_split=0.25 leaves it none" in said
    assert "choose among all, train" in said
    assert "val has no image: data.val_split=all: choose" in refusal(ValueError, tmp_path, "val", val="all")


def test_a_fraction_that_leaves_nothing_says_so(root):
    said = refusal(ValueError, root, "val", val="0.0001")
    left = "and data.val_split=0.0001 leaves it none: take another fraction, or choose"
    assert f"val has no image: data.train_split=all, {left}" in said


def test_a_fraction_for_training_is_refused_with_the_remedy(root):
    said = refusal(ValueError, root, train="0.75")
    rest = "data.val_split=0.25 instead, and data.train_split=all, which gives the rest"
    assert said == f"data.train_split=0.75: say {rest}"


def test_a_check_hears_of_every_fault_and_goes_on(root):
    (root / "masks" / "shot03.png").unlink()
    grey(root / "images" / "shot05.bmp")
    faults = []
    data = composed("data=folder", f"data.root={root}", "data.classes=[a,b,c]", "data.val_split=val.txt").data
    source = survey_source(data, "train", faults.append)
    assert len(source) == 10
    assert [fault.kind for fault in faults] == ["pairs", "missing", "repeated"]
    assert faults[1].path == root / "masks" / "shot03"


# ---- from the configuration to batches


def test_the_keys_of_the_configuration_arrive(root):
    data = composed("data=folder", f"data.root={root}", "data.classes=[a,b,c]", "data.void=2").data
    assert [data.train_split, data.val_split, data.channels] == ["all", "0.2", 3]
    train, val = (open_source(data, part) for part in ("train", "val"))
    assert len(train) + len(val) == 12
    assert train.classes == ("a", "b")


def test_classes_must_be_said(root):
    with pytest.raises(ValueError, match=r"data=folder needs data\.classes: set it"):
        open_source(composed("data=folder", f"data.root={root}", "data.classes=null").data, "val")


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
@pytest.mark.parametrize("batching", ["crop", "pad"])
def test_any_channels_and_many_classes_become_batches(tmp_path, channels, batching):
    rng = np.random.default_rng(channels)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(8):
        height = 20 + number % 2
        np.save(tmp_path / "images" / f"{number}.npy", rng.integers(0, 256, (height, 30, channels), np.uint8))
        mask = rng.choice(np.array([0, 255, 299, 65535], np.uint16), (height, 30))
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    config = composed("data=folder", f"data.root={tmp_path}", "data.void=65535", "data.workers=0", "data.val_split=0.4")
    config.backbone.in_channels = config.data.channels = channels
    config.data.classes = [f"class {label}" for label in range(300)]
    config.data.batching, config.data.batch_size = batching, 2
    config.data.crop, config.data.scale = (40, config.data.scale) if batching == "crop" else (None, None)
    data = build.build_data(config)
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape[:2] == (2, channels)
    assert str(batch.images.dtype) == "torch.uint8"
    assert str(batch.targets.dtype) == "torch.int32"
    assert data.val.source.void == -1
    assert set(batch.targets.unique().tolist()) <= {-1, 0, 255, 299}
    task = build.build_task(config, data.val.source)
    loss = task.loss(task.model.scores(batch.images), task.model.upsample, batch.targets)
    assert (loss.total / loss.weight).item() == pytest.approx(np.log(300), rel=0.5)
    task.confusion.update(task(batch.images).argmax(1), batch.targets)
    assert int(task.confusion.matrix.sum()) == int((batch.targets >= 0).sum())
