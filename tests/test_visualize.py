"""Colours as VOC paints them, and sheets that hold what they say."""

from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image

from fcnseg.backbones.squeezenet import SqueezeNet
from fcnseg.data.dataset import Sample, SegmentationDataset
from fcnseg.fcn import FCN
from fcnseg.visualize import (
    ERROR_COLOURS,
    LINE,
    MARGIN,
    Shown,
    as_palette,
    as_rgb,
    colourise,
    grid,
    overlay,
    palette,
    predict_masks,
    predicted,
    prediction_grid,
    sample_grid,
    save_shown,
    with_legend,
)

COLOURS = {
    0: (0, 0, 0),
    1: (128, 0, 0),
    2: (0, 128, 0),
    3: (128, 128, 0),
    4: (0, 0, 128),
    8: (64, 0, 0),
    15: (192, 128, 128),
    20: (0, 64, 128),
    255: (224, 224, 192),
}
"""From VOC's devkit: background, aeroplane, bicycle, bird, boat, cat, person, tvmonitor, and void."""


@pytest.mark.parametrize(("label", "colour"), COLOURS.items())
def test_colours_are_vocs(label, colour):
    assert tuple(palette()[label]) == colour
    assert tuple(colourise(np.full((1, 1), label, np.uint8))[0, 0]) == colour


def test_every_label_has_a_colour_of_its_own():
    assert palette().shape == (256, 3)
    assert len(np.unique(palette(), axis=0)) == 256
    np.testing.assert_array_equal(palette(21), palette()[:21])


def test_another_void_is_painted_like_vocs():
    colours = colourise(np.array([[0, 21]], np.uint8), void=21)
    assert tuple(colours[0, 1]) == COLOURS[255]


def test_an_overlay_leaves_background_as_it_is_and_mixes_the_rest():
    image = np.full((2, 2, 3), 100, np.uint8)
    image[0] = (10, 200, 30)
    mask = np.array([[0, 15], [0, 1]], np.uint8)
    mixed = overlay(image, mask, 0.5)
    np.testing.assert_array_equal(mixed[:, 0], image[:, 0])
    assert tuple(mixed[0, 1]) == (101, 164, 79)
    assert tuple(mixed[1, 1]) == (114, 50, 50)
    assert (mixed.dtype, mixed.shape) == (np.uint8, image.shape)


def test_labels_beyond_8_bits_have_colours_and_any_void_has_vocs():
    mask = np.array([[-1, 255, 299, 65535]], np.int32)
    colours = colourise(mask, -1)[0]
    np.testing.assert_array_equal(colours[0], COLOURS[255])
    np.testing.assert_array_equal(colours[1:], palette(65536)[mask[0, 1:]])
    assert len(np.unique(palette(5000), axis=0)) == 5000
    assert tuple(colourise(np.array([[255]], np.int32), None)[0, 0]) == tuple(palette()[255])


@pytest.mark.parametrize(("channels", "shown"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (6, [0, 1, 2])])
def test_an_image_of_any_channels_has_a_picture(channels, shown):
    image = np.arange(2 * 3 * channels, dtype=np.uint8).reshape(2, 3, channels)
    np.testing.assert_array_equal(as_rgb(image), image[..., shown])


# ---- sheets

TITLES = ("image", "truth", "prediction")
NAMES = {0: "background", 15: "person"}


def flat(height, width, colour):
    return np.full((height, width, 3), colour, np.uint8)


def test_a_sheet_has_room_for_rows_titles_and_legend():
    rows = [
        [flat(50, 100, 1), flat(50, 100, 2), flat(50, 100, 3)],
        [flat(100, 40, 4), flat(100, 40, 5), flat(100, 40, 6)],
    ]
    sheet = grid(rows, TITLES, NAMES, side=200)
    lines = 1
    assert sheet.width == 3 * (200 + MARGIN) + MARGIN
    assert sheet.height == LINE + (100 + 200) + 3 * MARGIN + lines * LINE + MARGIN
    longer = grid(rows, TITLES, dict(enumerate("abcdefgh")), side=200)
    assert longer.height == sheet.height + 2 * LINE


def test_pictures_lie_in_rows_and_columns():
    colours = [[(10, 20, 30), (40, 50, 60), (70, 80, 90)], [(1, 2, 3), (4, 5, 6), (7, 8, 9)]]
    rows = [[flat(30, 60, colour) for colour in row] for row in colours]
    sheet = np.asarray(grid(rows, TITLES, NAMES, side=60))
    for row in range(2):
        for column in range(3):
            top, left = LINE + MARGIN + row * (30 + MARGIN), MARGIN + column * (60 + MARGIN)
            assert (sheet[top : top + 30, left : left + 60] == colours[row][column]).all()
            assert (sheet[top + 30, left : left + 60] == 255).all()


def test_the_legend_shows_each_class_in_its_colour_and_void():
    sheet = np.asarray(grid([[flat(60, 400, 255)] * 3], TITLES, NAMES, side=400))
    top = LINE + MARGIN + 60 + MARGIN
    for place, label in enumerate((0, 15, 255)):
        assert tuple(sheet[top + 7, MARGIN + 150 * place + 7]) == COLOURS[label]


def test_small_pictures_are_enlarged_without_mixing_colours():
    mask = colourise(np.array([[0, 1], [15, 20]], np.uint8))
    sheet = np.asarray(grid([[mask]], ("truth",), {}, side=40))
    picture = sheet[LINE + MARGIN : LINE + MARGIN + 40, MARGIN : MARGIN + 40]
    np.testing.assert_array_equal(picture, mask.repeat(20, 0).repeat(20, 1))


def test_a_legend_below_a_picture_shows_its_classes_and_grows_with_it():
    small, large = (
        np.asarray(with_legend(flat(side, 2 * side, 90), {1: "aeroplane", 15: "person"})) for side in (200, 2000)
    )
    for sheet, side in ((small, 200), (large, 2000)):
        assert (sheet[:side, : 2 * side] == 90).all()
        assert sheet.shape[1] == 2 * side
        for label in (1, 15):
            assert (sheet[side:] == COLOURS[label]).all(2).sum() > 100
    assert large.shape[0] - 2000 > 3 * (small.shape[0] - 200)


def test_a_legend_may_be_wider_than_its_picture_or_absent():
    sheet = np.asarray(with_legend(flat(10, 8, 90), {20: "tvmonitor"}))
    assert sheet.shape[1] > 60
    assert (sheet[:10, 8:] == 255).all()
    assert with_legend(flat(10, 8, 90), {}).size == (8, 10)


# ---- predictions


class Source:
    """Five flat images, each with its number as grey value and in its mask."""

    classes = ("background", "aeroplane", "bicycle", "bird", "boat")
    void = 255

    def __len__(self):
        return 5

    def read(self, index):
        mask = np.full((40, 60), index, np.uint8)
        mask[:5] = self.void
        return flat(40, 60, 50 * index), mask

    def name(self, index):
        return str(index)

    def size(self, index):
        return 40, 60

    def fingerprint(self):
        return ""


@pytest.fixture
def always_boat():
    net = FCN(SqueezeNet(), 5, 16)
    torch.nn.init.constant_(net.score_fr.bias[4:], 1.0)
    return net.train()


def test_predictions_are_masks_and_leave_the_net_in_training(always_boat):
    masks = predict_masks(always_boat, [flat(40, 60, 0), flat(33, 20, 9)])
    assert [(mask.shape, mask.dtype) for mask in masks] == [((40, 60), np.uint8), ((33, 20), np.uint8)]
    assert all((mask == 4).all() for mask in masks)
    assert always_boat.training
    predict_masks(always_boat.eval(), [flat(33, 20, 9)])
    assert not always_boat.training


def test_a_sheet_of_many_classes_and_channels():
    net = FCN(SqueezeNet(in_channels=5), 300, 16)
    torch.nn.init.constant_(net.score_fr.bias[255:256], 9.0)

    class Many(Source):
        classes, void = tuple(f"class {label}" for label in range(300)), -1

        def read(self, index):
            mask = np.full((40, 60), 299, np.int32)
            mask[:5] = self.void
            return np.full((40, 60, 5), 77, np.uint8), mask

    dataset = SegmentationDataset(Many(), lambda image, mask, draw: (image, mask))
    assert predict_masks(net, [dataset.source.read(0)[0]])[0].dtype == np.int32
    sheet = np.asarray(prediction_grid(predicted(net, dataset, 1), dataset.source, side=60))
    middle = LINE + MARGIN + 20
    shown = [tuple(sheet[middle, MARGIN + column * (60 + MARGIN) + 30]) for column in range(3)]
    assert shown == [(77,) * 3, tuple(palette(300)[299]), tuple(palette()[255])]


def test_a_sheet_of_predictions_shows_images_spread_over_the_set(always_boat):
    dataset = SegmentationDataset(Source(), lambda image, mask, draw: (image, mask))
    sheet = np.asarray(prediction_grid(predicted(always_boat, dataset, 3), dataset.source, side=60))
    for row, index in enumerate((0, 2, 4)):
        middle = LINE + MARGIN + row * (40 + MARGIN) + 20
        shown = [tuple(sheet[middle, MARGIN + column * (60 + MARGIN) + 30]) for column in range(3)]
        assert shown == [(50 * index,) * 3, COLOURS[index], COLOURS[4]]


def test_a_sheet_of_predictions_shows_their_errors(always_boat):
    dataset = SegmentationDataset(Source(), lambda image, mask, draw: (image, mask))
    sheet = np.asarray(prediction_grid(predicted(always_boat, dataset, 3), dataset.source, side=60))
    left = MARGIN + 4 * (60 + MARGIN) + 30
    for row, kind in enumerate(("invented", "confused", "right")):
        top = LINE + MARGIN + row * (40 + MARGIN)
        assert tuple(sheet[top + 20, left]) == ERROR_COLOURS[kind]
        assert tuple(sheet[top + 2, left]) == COLOURS[255]


def test_a_small_set_is_shown_whole(always_boat):
    dataset = SegmentationDataset(Source(), lambda image, mask, draw: (image, mask))
    few, many = (prediction_grid(predicted(always_boat, dataset, count), dataset.source, side=60) for count in (5, 50))
    assert few.tobytes() == many.tobytes()


def test_what_is_shown_is_saved_for_reports(tmp_path, always_boat):
    class Named(Source):
        def read(self, index):
            image, mask = super().read(index)
            mask = mask.copy()
            mask[:5] = 255
            return image, mask

        def name(self, index):
            return f"../a b/{index}"

    dataset = SegmentationDataset(Named(), lambda image, mask, draw: (image, mask))
    save_shown(predicted(always_boat, dataset, 2), tmp_path / "predictions", 255)
    names = [f"..%2Fa%20b%2F{index}" for index in (0, 4)]
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    files = ("{}.png", "truth/{}.png", "images/{}.jpg")
    assert found == {f"predictions/{file.format(name)}" for file in files for name in names}
    with Image.open(tmp_path / "predictions" / f"{names[1]}.png") as picture:
        assert (picture.mode, np.unique(picture).tolist()) == ("P", [4])
        assert tuple(picture.getpalette()[12:15]) == COLOURS[4]
    with Image.open(tmp_path / "predictions" / "truth" / f"{names[0]}.png") as picture:
        assert np.unique(picture).tolist() == [0, 255]
        assert tuple(picture.convert("RGB").getpixel((0, 0))) == COLOURS[255]


@pytest.mark.parametrize("name", ["図" * 60, "ж" * 100, "a" * 250, "a" * 198 + "é"])
def test_ids_of_any_length_and_script_are_saved_apart(tmp_path, name):
    pixel = np.zeros((2, 2), np.uint8)
    shown = [Shown(each, np.zeros((2, 2, 3), np.uint8), pixel, pixel) for each in (name, f"{name}2")]
    save_shown(shown, tmp_path, 255)
    found = [path.name for path in tmp_path.glob("*.png")]
    assert len(set(found)) == 2
    assert all(len(each.encode()) <= 204 for each in found)
    assert all(unquote(each, errors="strict") for each in found)


def test_labels_beyond_a_byte_are_saved_as_colours():
    picture = as_palette(np.array([[299, -1]], np.int32), -1)
    assert [picture.getpixel((column, 0)) for column in (0, 1)] == [tuple(palette(300)[299]), COLOURS[255]]


# ---- images with their masks


def samples(count, name="a"):
    return [
        Sample(flat(20, 40, 6 * index), np.full((20, 40), index % 5, np.uint8), index, name) for index in range(count)
    ]


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 1), (5, 2), (16, 3), (40, 4)])
def test_a_sheet_of_samples_is_about_as_wide_as_high_and_leaves_none_out(count, columns):
    sheet = np.asarray(sample_grid(samples(count), Source(), side=40))
    assert sheet.shape[1] == 2 * columns * (40 + MARGIN) + MARGIN
    for index in range(count):
        top = LINE + MARGIN + index // columns * (20 + LINE + MARGIN)
        left = MARGIN + index % columns * 2 * (40 + MARGIN)
        assert tuple(sheet[top + 10, left + 20]) == (6 * index,) * 3
        assert tuple(sheet[top + 10, left + 20 + 40 + MARGIN]) == tuple(palette()[index % 5])


def test_captions_stand_below_their_pictures_and_stay_within_them():
    long, short = (np.asarray(sample_grid(samples(1, name), Source(), side=40)) for name in ("a_very_long_id" * 9, ""))
    below = slice(LINE + MARGIN + 20, LINE + MARGIN + 20 + LINE)
    assert (long[below, MARGIN : MARGIN + 40] < 128).any()
    assert (short[below, MARGIN : MARGIN + 40] == 255).all()
    assert (long[below, MARGIN + 41 : 2 * MARGIN + 39] == 255).all()
