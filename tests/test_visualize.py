"""Colours as VOC paints them, and sheets that hold what they say."""

import numpy as np
import pytest
import torch

from fcnseg.backbones.squeezenet import SqueezeNet
from fcnseg.data.dataset import SegmentationDataset
from fcnseg.fcn import FCN
from fcnseg.visualize import LINE, MARGIN, colourise, grid, overlay, palette, predict_masks, prediction_grid

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


def test_a_sheet_of_predictions_shows_images_spread_over_the_set(always_boat):
    dataset = SegmentationDataset(Source(), lambda image, mask, draw: (image, mask))
    sheet = np.asarray(prediction_grid(always_boat, dataset, count=3, side=60))
    for row, index in enumerate((0, 2, 4)):
        middle = LINE + MARGIN + row * (40 + MARGIN) + 20
        shown = [tuple(sheet[middle, MARGIN + column * (60 + MARGIN) + 30]) for column in range(3)]
        assert shown == [(50 * index,) * 3, COLOURS[index], COLOURS[4]]


def test_a_small_set_is_shown_whole(always_boat):
    dataset = SegmentationDataset(Source(), lambda image, mask, draw: (image, mask))
    few, many = (prediction_grid(always_boat, dataset, count=count, side=60) for count in (5, 50))
    assert few.tobytes() == many.tobytes()
