"""The drawn set: the same everywhere and for ever, void around every object, classes in balance."""

import hashlib
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fcnseg.data import shapes
from fcnseg.data.shapes import CLASSES, KINDS, Shapes, open_split

HEIGHT, WIDTH = 64, 80


@pytest.fixture(scope="module")
def masks():
    source = open_split("train", 500, HEIGHT, WIDTH, 0)
    return np.stack([source.read(index)[1] for index in range(500)])


def digest(*arrays):
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def shifted(masks, down, right):
    """The masks and the same masks moved, cut to the pixels which both have; `right` may be negative."""
    height, width = masks.shape[1:]
    here = masks[:, : height - down, max(0, -right) : width - max(0, right)]
    there = masks[:, down:, max(0, right) : width - max(0, -right)]
    return here, there


# ---- what an image is


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 150), (140, 47), (96, 128)])
def test_read_returns_an_rgb_image_and_a_mask_of_the_asked_size(height, width):
    source = open_split("val", 3, height, width, 5)
    image, mask = source.read(2)
    assert (image.shape, image.dtype) == ((height, width, 3), np.uint8)
    assert (mask.shape, mask.dtype) == ((height, width), np.uint8)
    assert image.flags.c_contiguous
    assert source.size(2) == (height, width)
    assert len(np.unique(mask)) > 1


def test_image_shows_its_objects():
    image, mask = open_split("train", 20, 96, 128, 0).read(7)
    for label in np.unique(mask[(mask > 0) & (mask < 255)]):
        inside, outside = image[mask == label].mean(0), image[mask == 0].mean(0)
        assert np.abs(inside - outside).max() > 10


def test_labels_are_classes_or_void(masks):
    assert set(np.unique(masks)) == {*range(21), 255}


def test_an_image_has_one_to_five_objects(masks):
    counts = [len(set(np.unique(mask)) - {0, 255}) for mask in masks]
    assert set(counts) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("split", ["train", "val"])
def test_twenty_images_in_a_row_show_every_class(split):
    source = open_split(split, 60, HEIGHT, WIDTH, 3)
    seen = np.unique([source.read(index)[1] for index in range(40, 60)])
    assert set(seen) == {*range(21), 255}


def test_classes_are_balanced(masks):
    counts = np.bincount(masks.ravel(), minlength=256)
    share = counts[1:21] / counts[1:21].mean()
    images = np.array([(masks == label).any((1, 2)).sum() for label in range(1, 21)])
    assert share.min() > 0.75, dict(zip(CLASSES[1:], share, strict=True))
    assert share.max() < 1.3, dict(zip(CLASSES[1:], share, strict=True))
    assert images.min() > 0.8 * images.mean()
    assert 0.5 < counts[0] / counts.sum() < 0.8


def test_no_texture_and_no_outline_belongs_to_one_class_alone():
    assert len(set(CLASSES)) == len(CLASSES) == 21
    assert CLASSES[0] == "background"
    for part in zip(*(kind[:2] for kind in KINDS), strict=True):
        assert min(Counter(part).values()) >= 2


# ---- void


def test_two_labels_are_never_closer_than_the_void_band_is_wide(masks):
    steps = [(down, right) for down in range(5) for right in range(-4, 5) if 0 < down**2 + right**2 < 25]
    for down, right in steps:
        here, there = shifted(masks, down, right)
        touching = (here != there) & (here != 255) & (there != 255)
        assert not touching.any(), (down, right, np.argwhere(touching)[0])


def test_the_void_band_is_about_five_pixels_wide_around_every_outline():
    for label in range(1, 21):
        item = shapes.Item(48.3, 47.6, 30.0, 0.4, label)
        mask = np.zeros((96, 96), np.uint8)
        shapes._paint(np.zeros((3, 96, 96), np.float32), mask, item, 0.0, np.random.default_rng(0))
        void = np.pad(mask == 255, 3)
        thick = np.lib.stride_tricks.sliding_window_view(void, (7, 7)).all((2, 3))
        assert thick.sum() < 0.03 * void.sum(), CLASSES[label]
        assert (mask == label).sum() > 600, CLASSES[label]


def test_the_void_band_of_a_disc_lies_half_inside_and_half_outside():
    disc = CLASSES.index("striped disc")
    mask = np.zeros((96, 96), np.uint8)
    item = shapes.Item(48.3, 47.6, 30.0, 0.0, disc)
    shapes._paint(np.zeros((3, 96, 96), np.float32), mask, item, 0.0, np.random.default_rng(0))
    radii = [np.sqrt((mask == disc).sum() / np.pi), np.sqrt((mask > 0).sum() / np.pi)]
    np.testing.assert_allclose(radii, [27.5, 32.5], atol=0.15)


def test_the_edge_of_the_image_is_no_outline(masks):
    edge = np.concatenate([masks[:, 0].ravel(), masks[:, -1].ravel(), masks[:, :, 0].ravel()])
    assert ((edge > 0) & (edge < 255)).any()


# ---- the same everywhere


def test_reads_are_the_same_in_any_order_and_from_any_copy():
    source = open_split("train", 30, HEIGHT, WIDTH, 2)
    first = [digest(*source.read(index)) for index in range(4)]
    longer = Shapes("train", 3000, HEIGHT, WIDTH, 2)
    assert [digest(*longer.read(index)) for index in (3, 2, 1, 0)] == first[::-1]
    assert [digest(*pickle.loads(pickle.dumps(source)).read(index)) for index in range(4)] == first


def test_another_process_draws_the_same():
    code = (
        "import hashlib; from fcnseg.data.shapes import open_split;"
        "image, mask = open_split('val', 9, 64, 96, 1).read(8);"
        "print(hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest())"
    )
    folder = str(Path(shapes.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": folder, "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert run.stdout.strip() == digest(*open_split("val", 9, 64, 96, 1).read(8))


def test_a_recorded_mask_has_not_changed():
    _, mask = open_split("train", 100, 96, 128, 0).read(12)
    recorded = "6b98a05863d6d7bb2083184abbfa24a5f5e15bd058fc2cf773dc2bc08eb2b671"
    assert digest(mask) == recorded, "masks changed: raise DRAWING in data/shapes.py and record the new hash"


def test_splits_and_seeds_have_no_image_in_common():
    sources = [("train", 0), ("val", 0), ("train", 1), ("val", 1)]
    reads = [open_split(split, 9, 48, 48, seed).read(index) for split, seed in sources for index in range(9)]
    assert len({digest(image) for image, _ in reads}) == 36
    assert len({digest(mask) for _, mask in reads}) == 36


# ---- names, sizes, errors


def test_names_and_length():
    source = open_split("train", 13, HEIGHT, WIDTH, 0)
    assert (len(source), source.name(12)) == (13, "shapes_train_000012")
    assert (source.classes, source.void) == (CLASSES, 255)


@pytest.mark.parametrize("method", ["read", "name", "size"])
@pytest.mark.parametrize("index", [-1, 4])
def test_an_index_outside_is_refused(method, index):
    with pytest.raises(IndexError, match=f"shapes_val has images 0 to 3, not {index}"):
        getattr(open_split("val", 4, HEIGHT, WIDTH, 0), method)(index)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("test", 4, 64, 64, 0), "the split of data=shapes must be train or val, not 'test'"),
        (("train", 0, 64, 64, 0), "data.train_count must be >= 1, not 0"),
        (("val", -3, 64, 64, 0), "data.val_count must be >= 1, not -3"),
        (("train", 4, 5, 64, 0), "data.height must be >= 32, not 5"),
        (("train", 4, 64, 31, 0), "data.width must be >= 32, not 31"),
        (("train", 4, 64, 64, -1), "data.seed must be >= 0, not -1"),
    ],
)
def test_wrong_arguments_name_the_key_and_the_remedy(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        open_split(*arguments)


def test_the_fingerprint_follows_everything_that_defines_the_set(monkeypatch):
    arguments = [("train", 4, 64, 96, 0), ("val", 4, 64, 96, 0), ("train", 5, 64, 96, 0)]
    arguments += [("train", 4, 65, 96, 0), ("train", 4, 64, 97, 0), ("train", 4, 64, 96, 1)]
    prints = [open_split(*each).fingerprint() for each in arguments]
    assert prints == [open_split(*each).fingerprint() for each in arguments]
    monkeypatch.setattr(shapes, "DRAWING", shapes.DRAWING + 1)
    prints.append(open_split(*arguments[0]).fingerprint())
    assert len(set(prints)) == len(prints)
    assert all(len(each) == 16 and int(each, 16) >= 0 for each in prints)
