"""The picture of statistics: bars as long as what they stand for, and a circle for each size."""

import numpy as np
import pytest

from fcnseg.charts import COLOURS, MARGIN, MOST, NAMES, PANEL, ROW, SQUARE, TOP, statistics_chart
from fcnseg.data.inspect import Statistics

CLASSES = ("background", "cat", "dog")
TRAIN = Statistics(8, 0, 8, (9900, 99, 0, 1), (8, 4, 0, 1), {(300, 400): 8})
VAL = Statistics(4, 0, 4, (1, 1, 1, 1), (4, 4, 4, 4), {(300, 400): 1, (100, 100): 3})


def drawn(**parts):
    return np.asarray(statistics_chart("data=pets", CLASSES, parts)).astype(int)


def lengths(sheet, part, left, places=(0, 1)):
    """How long the bar of each class is in the panel that starts at a column."""
    colour = [int(COLOURS[part][index : index + 2], 16) for index in (1, 3, 5)]
    rows = [TOP + ROW * row + 11 * places[part == "val"] + 5 for row in range(4)]
    return [int((sheet[row, left : left + PANEL + 1] == colour).all(1).sum()) for row in rows]


@pytest.mark.parametrize(
    ("part", "content", "shares", "images"),
    [("train", TRAIN, [1.0, 0.5, 0, 0], [1, 0.5, 0, 1 / 8]), ("val", VAL, [0.85] * 4, [1] * 4)],
)
def test_bars_are_as_long_as_what_they_stand_for(part, content, shares, images):
    sheet = drawn(train=TRAIN, val=VAL)
    middle, right = NAMES + MARGIN, NAMES + PANEL + 70 + 2 * MARGIN
    assert np.allclose(lengths(sheet, part, middle), np.array(shares) * PANEL, atol=3)
    assert np.allclose(lengths(sheet, part, right), np.array(images) * PANEL, atol=2)


def test_sizes_are_circles_in_a_square_of_the_longest_side():
    sheet = drawn(val=VAL)
    orange = (sheet == [255, 127, 14]).all(2)
    left = sheet.shape[1] - SQUARE - 3 * MARGIN
    small = orange[
        TOP + SQUARE * 3 // 4 - 25 : TOP + SQUARE * 3 // 4 + 25, left + SQUARE // 4 - 25 : left + SQUARE // 4 + 25
    ]
    large = orange[TOP + SQUARE // 4 - 15 : TOP + SQUARE // 4 + 15, left + SQUARE - 15 : left + SQUARE + 15]
    assert small.sum() > large.sum() > 10  # three images of four have the small size


@pytest.mark.parametrize("parts", [{}, {"train": Statistics(0, 0, 0, (0,) * 4, (0,) * 4, {})}])
def test_nothing_can_be_drawn_too(parts):
    assert (drawn(**parts) == 255).mean() > 0.9


def test_of_very_many_classes_the_most_frequent_are_drawn():
    count = 3000
    pixels = (*range(count), 0)
    many = Statistics(1, 0, 1, pixels, (1,) * (count + 1), {(1, 1): 1})
    sheet = statistics_chart("many", [f"class {label}" for label in range(count)], {"train": many})
    assert sheet.height == TOP + ROW * (MOST + 1) + MARGIN
