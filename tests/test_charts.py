"""The picture of statistics: bars as long as what they stand for, and cells for the sizes."""

import numpy as np
import pytest

from fcnseg.charts import (
    CELL,
    CELLS,
    COLOURS,
    MARGIN,
    MOST,
    NAMES,
    PANEL,
    ROW,
    SIZES,
    SQUARE,
    TOP,
    statistics_chart,
)
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


def cells(sheet, place=0):
    """The colours of the cells of a plot of sizes, from its lower left corner on, [width][height]."""
    left, top = sheet.shape[1] - SQUARE - 3 * MARGIN, TOP + SIZES * place
    middles = sheet[top + 2 : top + SQUARE : CELL, left + CELL // 2 : left + SQUARE : CELL]
    return middles[::-1].transpose(1, 0, 2)


def test_sizes_are_cells_in_a_square_of_the_longest_side():
    found = cells(drawn(val=VAL))
    assert found.shape[:2] == (CELLS, CELLS)
    tinted = {(int(column), int(row)) for column, row in np.argwhere((found != found.max(2, keepdims=True)).any(2))}
    assert tinted == {(CELLS // 4 - 1, CELLS // 4 - 1), (CELLS - 1, CELLS * 3 // 4 - 1)}  # 100 and 300 of 400 pixels
    common, rare = found[CELLS // 4 - 1, CELLS // 4 - 1], found[CELLS - 1, CELLS * 3 // 4 - 1]
    assert tuple(common) == (255, 127, 14)  # three images of four
    assert 14 < rare[2] < 200


def test_each_part_has_its_own_sizes_on_the_same_scale():
    sheet = drawn(train=TRAIN, val=VAL)
    assert (cells(sheet)[CELLS - 1, CELLS * 3 // 4 - 1] == [31, 119, 180]).all()
    assert (cells(sheet, 1)[CELLS // 4 - 1, CELLS // 4 - 1] == [255, 127, 14]).all()


@pytest.mark.parametrize("parts", [{}, {"train": Statistics(0, 0, 0, (0,) * 4, (0,) * 4, {})}])
def test_nothing_can_be_drawn_too(parts):
    assert (drawn(**parts) == 255).mean() > 0.9


def test_of_very_many_classes_the_most_frequent_are_drawn():
    count = 3000
    pixels = (*range(count), 0)
    many = Statistics(1, 0, 1, pixels, (1,) * (count + 1), {(1, 1): 1})
    sheet = statistics_chart("many", [f"class {label}" for label in range(count)], {"train": many})
    assert sheet.height == TOP + ROW * (MOST + 1) + MARGIN
