"""Augmentation: image and mask stay together, labels stay labels, and chance is a function of the draw alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcnseg.data.dataset import Draw
from fcnseg.data.transforms import FILL, GREY, PAPER_SHIFT, Augmentation, transforms

VARIED = {"scale": (0.5, 1.7), "crop": 24, "flip": True}
few = settings(max_examples=25, deadline=None, derandomize=True)
sides = st.integers(4, 60)
draws = st.builds(Draw, st.integers(0, 999), st.integers(0, 99), st.integers(0, 9999))


def augmented(image, mask, draw=Draw(0), seed=0, **options):  # noqa: B008
    return Augmentation(transforms(**options), seed)(image, mask, draw)


def places(height, width):
    """An image that says of each pixel where it was (row, column, mask), and a mask that says it too."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, (rows * 7 + columns * 3) % 200], axis=2).astype(np.uint8)
    return image, image[..., 2].copy()


def noise(height, width, labels=(0, 5, 20, 255), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), np.uint8), rng.choice(np.array(labels, np.uint8), (height, width))


# ---- masks hold labels


@few
@given(height=sides, width=sides, draw=draws)
@pytest.mark.parametrize("options", [VARIED, {"image_side": 17}, {"image_side": 90}, {"scale": (0.3, 3.0)}])
def test_no_label_appears_that_was_not_there(options, height, width, draw):
    image, mask = noise(height, width, labels=(0, 5, 20), seed=height * width)
    changed, labels = augmented(image, mask, draw, **options)
    padding = {255} if "crop" in options else set()
    assert set(np.unique(labels)) <= set(np.unique(mask)) | padding
    assert (changed.dtype, labels.dtype) == (np.uint8, np.uint8)
    assert changed.shape == (*labels.shape, 3)


@few
@given(draw=draws, factor=st.floats(0.3, 3.0))
def test_void_next_to_a_class_stays_void_or_that_class(draw, factor):
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    _, labels = augmented(np.zeros((40, 40, 3), np.uint8), mask, draw, scale=(factor, factor))
    rows, columns = np.nonzero(labels == 255)
    assert set(np.unique(labels)) == {0, 255}
    assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)  # a full square still
    assert np.ptp(rows) + 1 == pytest.approx(20 * factor, abs=1.5)


# ---- image and mask stay together


@few
@given(height=st.integers(1, 60), width=st.integers(1, 60), draw=draws, crop=st.integers(1, 50))
def test_flip_and_crop_move_image_and_mask_together(height, width, draw, crop):
    image, labels = augmented(*places(height, width), draw, crop=crop, flip=True)
    inside = labels != 255
    np.testing.assert_array_equal(image[inside][:, 2], labels[inside])
    assert (image[~inside] == FILL).all()
    rows, columns = image[..., 0][inside].astype(int), image[..., 1][inside].astype(int)
    np.testing.assert_array_equal((rows * 7 + columns * 3) % 200, labels[inside])
    assert inside.sum() == min(height, crop) * min(width, crop)
    assert len(set(zip(rows, columns, strict=True))) == inside.sum()  # no pixel twice


@few
@given(height=st.integers(8, 100), width=st.integers(8, 100), draw=draws)
@pytest.mark.parametrize("options", [{"scale": (0.4, 2.5)}, {"image_side": 30}, {"image_side": 200}])
def test_resizing_moves_image_and_mask_together(options, height, width, draw):
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    for place in (rows, columns):
        image, mask = augmented(np.stack([place] * 3, axis=2), place, draw, **options)
        assert np.abs(image[..., 0].astype(int) - mask).max() <= 2


@few
@given(height=st.integers(1, 60), width=st.integers(1, 60), draw=draws, shift=st.integers(1, 40))
def test_a_shift_moves_image_and_mask_together_by_whole_pixels(height, width, draw, shift):
    image, labels = augmented(*places(height, width), draw, shift=shift)
    assert labels.shape == (height, width)
    kept = labels != 255
    assert (image[~kept] == FILL).all()
    rows, columns = np.nonzero(kept)
    moves = {
        (int(row), int(column))
        for row, column in zip(rows - image[kept][:, 0], columns - image[kept][:, 1], strict=True)
    }
    assert len(moves) <= 1
    for row, column in moves:
        assert max(abs(row), abs(column)) <= shift
        assert len(rows) == (height - abs(row)) * (width - abs(column))


def test_shifts_of_the_paper_reach_both_ends():
    image, mask = places(80, 90)
    moves = [np.argwhere(augmented(image, mask, Draw(0, epoch), shift=PAPER_SHIFT)[1] != 255) for epoch in range(400)]
    tops = {int(kept[:, 0].min()) for kept in moves} | {-(79 - int(kept[:, 0].max())) for kept in moves}
    assert (min(tops), max(tops)) == (-32, 32)


def test_without_options_nothing_changes():
    image, mask = noise(9, 14)
    changed, labels = augmented(image, mask)
    np.testing.assert_array_equal(changed, image)
    np.testing.assert_array_equal(labels, mask)


# ---- other channels, more classes


@few
@given(height=sides, width=sides, draw=draws)
@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_any_number_of_channels_and_labels_beyond_8_bits_go_through(channels, height, width, draw):
    rng = np.random.default_rng(height * width)
    image = rng.integers(0, 256, (height, width, channels), np.uint8)
    mask = rng.choice(np.array([0, 255, 256, 70000, -1], np.int32), (height, width))
    for options in ({"crop": 24, "flip": True}, VARIED, {"image_side": 17}, {"shift": 5}):
        changed, labels = augmented(image, mask, draw, void=-1, channels=channels, **options)
        assert (changed.dtype, labels.dtype) == (np.uint8, np.int32)
        assert changed.shape == (*labels.shape, channels)
        assert set(np.unique(labels)) <= set(np.unique(mask)) | {-1}


@pytest.mark.parametrize("options", [{"crop": 9}, {"shift": 3}])
@pytest.mark.parametrize("channels", [1, 4, 6])
def test_what_is_outside_an_image_of_other_channels_is_grey(channels, options):
    black = np.zeros((5, 5, channels), np.uint8), np.zeros((5, 5), np.int32)
    image, mask = augmented(*black, void=-1, channels=channels, **options)
    assert set(np.unique(mask)) == {-1, 0}
    assert (image[mask == -1] == GREY).all()
    assert (image[mask == 0] == 0).all()


# ---- sizes


@few
@given(height=sides, width=sides, draw=draws, crop=st.integers(1, 50))
def test_a_crop_has_its_size_whatever_the_image(height, width, draw, crop):
    image, mask = augmented(*noise(height, width), draw, crop=crop, scale=(0.5, 2.0), flip=True)
    assert image.shape == (crop, crop, 3)
    assert mask.shape == (crop, crop)


@pytest.mark.parametrize(("height", "width", "expected"), [(60, 80, (30, 40)), (80, 60, (40, 30)), (20, 10, (40, 20))])
def test_the_longer_side_is_resized(height, width, expected):
    assert augmented(*noise(height, width), image_side=40)[1].shape == expected


def test_random_scales_reach_both_ends_and_no_further():
    image, mask = noise(100, 100)
    one = Augmentation(transforms(scale=(0.5, 2.0)), 0)
    found = [one(image, mask, Draw(index))[1].shape[0] / 100 for index in range(200)]
    assert 0.495 <= min(found) < 0.54
    assert 1.9 < max(found) <= 2.005


def test_an_image_that_is_large_enough_is_cut_without_a_copy():
    image, mask = noise(30, 40)
    changed, labels = augmented(image, mask, crop=24)
    assert np.shares_memory(changed, image)
    assert np.shares_memory(labels, mask)


def test_a_small_image_lies_anywhere_in_its_crop():
    black = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), np.uint8)
    corners = {tuple(np.argwhere(augmented(*black, Draw(0, turn), crop=5)[1] == 0)[0]) for turn in range(200)}
    assert corners == {(row, column) for row in range(4) for column in range(3)}


def test_the_padding_of_a_small_image_is_the_void_of_the_data_set():
    image, mask = augmented(*noise(5, 5, labels=(0, 1)), crop=9, void=21)
    assert (mask == 21).sum() == 81 - 25
    assert (image[mask == 21] == FILL).all()


# ---- chance


def samples(one, chosen):
    image, mask = noise(40, 50)
    return [b"".join(part.tobytes() for part in one(image, mask, draw)) for draw in chosen]


def test_a_draw_gives_the_same_sample_in_any_order_and_from_a_fresh_instance():
    chosen = [Draw(index, epoch, turn) for index in range(3) for epoch in range(3) for turn in range(3)]
    one = Augmentation(transforms(**VARIED), 7)
    first = samples(one, chosen)
    assert samples(one, chosen[::-1]) == first[::-1]
    assert samples(Augmentation(transforms(**VARIED), 7), chosen[5:9]) == first[5:9]
    assert len(set(first)) == len(chosen)


def test_another_seed_gives_another_sample():
    chosen = [Draw(index) for index in range(5)]
    found = [one for seed in range(3) for one in samples(Augmentation(transforms(**VARIED), seed), chosen)]
    assert len(set(found)) == 15


def test_global_generators_have_no_part_in_it():
    import random

    one, chosen = Augmentation(transforms(**VARIED), 7), [Draw(index) for index in range(4)]
    first = samples(one, chosen)
    random.seed(1)
    np.random.seed(1)
    assert samples(one, chosen) == first


@pytest.fixture(scope="module")
def chances():
    """Whether flipped, and the row and column of the crop, for 3000 draws of an image with 4x4 crops."""
    image, mask = places(11, 11)
    one = Augmentation(transforms(crop=8, flip=True), 3)
    results = [one(image, mask, Draw(number % 50, number // 500, number))[0] for number in range(3000)]
    flips = np.array([result[0, 0, 1] > result[0, 1, 1] for result in results]).astype(int)
    corners = np.array([result[..., :2].reshape(-1, 2).min(0) for result in results])
    return flips, corners[:, 0], corners[:, 1]


def chi_square(first, second):
    """Pearson's statistic of the hypothesis that two series of small numbers are independent."""
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    return ((table - expected) ** 2 / expected).sum()


def test_flips_are_fair(chances):
    assert abs(chances[0].mean() - 0.5) < 3.3 * 0.5 / np.sqrt(3000)


@pytest.mark.parametrize("axis", [1, 2])
def test_every_crop_is_as_likely(chances, axis):
    counts = np.bincount(chances[axis])
    assert len(counts) == 4
    assert ((counts - 750) ** 2 / 750).sum() < 16.3  # 0.1 % with 3 degrees of freedom


@pytest.mark.parametrize(("first", "second", "limit"), [(0, 1, 16.3), (0, 2, 16.3), (1, 2, 27.9)])
def test_flip_row_and_column_are_independent(chances, first, second, limit):
    assert chi_square(chances[first], chances[second]) < limit  # 0.1 % with 3 and with 9 degrees of freedom


@pytest.mark.parametrize(("part", "limit"), [(0, 10.8), (1, 27.9), (2, 27.9)])
def test_draws_that_follow_each_other_are_independent(chances, part, limit):
    assert chi_square(chances[part][:-1], chances[part][1:]) < limit


# ---- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_side": 0}, "data.image_side must be positive"),
        ({"crop": -1}, "data.crop must be positive"),
        ({"scale": (0.0, 1.0)}, "data.scale must be positive"),
        ({"scale": (1.0, -1.0)}, "data.scale must be positive"),
    ],
)
def test_what_is_not_positive_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        transforms(**options)
