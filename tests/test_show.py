"""The picture of what a training sees: its own first batches, or validation images, with masks and legend."""

from itertools import chain, islice

import numpy as np
import pytest
from PIL import Image

from damaged import cut_image, files
from fcnseg.build import build_data
from fcnseg.data.jitter import jittered
from fcnseg.visualize import LINE, MARGIN, colourise, sample_grid
from runs import composed, main, said, show
from tiny_voc import SIZES, write_devkit

DRAWN = ("data.height=32", "data.width=48", "data.train_count=6", "data.val_count=5", "data.crop=32", "data.workers=0")


@pytest.fixture
def shown(tmp_path, capsys):
    """Runs the command in this process; returns its picture as an array."""

    def run(*arguments):
        folder = tmp_path / f"show{len(list(tmp_path.iterdir()))}"
        assert main("show", *DRAWN, *arguments, f"hydra.run.dir={folder}") == 0
        (picture,) = folder.iterdir()
        assert said(capsys.readouterr().out) == f"picture {picture}"
        with Image.open(picture) as file:
            assert (file.format, file.mode) == ("PNG", "RGB")
            return np.asarray(file)

    return run


def test_the_pictures_are_the_first_batches_of_the_training(shown):
    settings = composed(*DRAWN, "data.batch_size=2", "seed=3")
    data = build_data(settings)
    loader = data.train_dataloader()
    batches = list(islice(loader, 2))
    samples = show.first_of_training(data, 4)
    assert [sample.name for sample in samples] == [name for batch in batches for name in batch.names]
    seen = chain(*(jittered(batch.images, batch.jitter) for batch in batches))
    for sample, image, target in zip(samples, seen, chain(*(batch.targets for batch in batches)), strict=True):
        np.testing.assert_allclose(sample.image.transpose(2, 0, 1), image, atol=0.51)
        np.testing.assert_array_equal(sample.mask, target)
    sheet = sample_grid(samples, data.val.source, 64)
    np.testing.assert_array_equal(shown("data.batch_size=2", "seed=3", "n=4", "side=64"), np.asarray(sheet))


def test_a_picture_holds_images_beside_their_masks(shown):
    data = build_data(composed(*DRAWN, "data.batch_size=2"))
    (sample,) = show.first_of_training(data, 1)
    sheet = shown("data.batch_size=2", "n=1", "side=32")
    top = LINE + MARGIN
    np.testing.assert_array_equal(sheet[top : top + 32, MARGIN : MARGIN + 32], sample.image)
    left = 2 * MARGIN + 32
    np.testing.assert_array_equal(sheet[top : top + 32, left : left + 32], colourise(sample.mask, 255))


def test_more_images_than_an_epoch_has_go_on_with_the_next_one():
    data = build_data(composed(*DRAWN, "data.batch_size=2"))
    samples = show.first_of_training(data, 9)
    assert sorted(sample.name for sample in samples[:6]) == [f"shapes_train_{index:06d}" for index in range(6)]
    again = {sample.name: sample for sample in samples[:6]}
    assert any(not np.array_equal(again[each.name].image, each.image) for each in samples[6:])


def test_the_seed_changes_what_is_seen_and_the_same_one_shows_it_again(shown):
    first, again, other = (shown("n=2", "side=32", f"seed={seed}") for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()


def test_validation_images_are_shown_as_they_are_from_all_over_the_set():
    data = build_data(composed(*DRAWN), ("val",))
    assert [sample.index for sample in show.spread(data, 3)] == [0, 2, 4]
    samples = show.spread(data, 50)
    assert [sample.index for sample in samples] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(samples[1].image, data.val.source.read(1)[0])


def test_a_recipe_of_whole_images_shows_them_whole(tmp_path):
    devkit = write_devkit(tmp_path / "devkit")
    keys = ["recipe=pami_heavy", "data=voc2012", f"data.root={devkit}", "n=4", "side=80"]
    assert main("show", *keys, f"hydra.run.dir={tmp_path / 'picture'}") == 0
    data = build_data(composed(*keys[:3]))
    samples, source = show.first_of_training(data, 4), data.val.source
    assert {sample.mask.shape for sample in samples} <= set(SIZES)
    with Image.open(tmp_path / "picture" / "train.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(sample_grid(samples, source, 80)))


def test_the_validation_split_needs_no_training_images(tmp_path):
    devkit = write_devkit(tmp_path / "devkit")
    files(devkit, 0).mask.unlink()
    assert main("show", "data=voc2012", f"data.root={devkit}", "split=val", f"hydra.run.dir={tmp_path / 'val'}") == 0
    assert (tmp_path / "val" / "val.png").is_file()


def test_a_damaged_image_is_one_line(tmp_path, capsys):
    devkit = write_devkit(tmp_path / "devkit")
    path = cut_image(files(devkit, 0))
    assert main("show", "data=voc2012", f"data.root={devkit}", f"hydra.run.dir={tmp_path / 'no'}") == 1
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {path} cannot be read as an image")
    assert printed.count("\n") == 1
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("n=0", "error: n must be at least 1, not 0"),
        ("side=3", "error: side must be at least 16, not 3"),
        ("seed=-1", "error: seed must be at least 0, not -1"),
        (
            "split=test",
            "error: split must be train or val, not 'test': data.train_split and data.val_split choose lists",
        ),
        ("data.crop=0", "error: data.crop must be positive, not 0"),
    ],
)
def test_wrong_keys_are_one_line(tmp_path, capsys, argument, message):
    keys = [*DRAWN[:-2], argument, f"hydra.run.dir={tmp_path / 'no'}"]
    assert main("show", *keys) == 1
    assert said(capsys.readouterr().err) == message
    assert not (tmp_path / "no").exists()
