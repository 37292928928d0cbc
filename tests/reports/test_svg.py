"""Charts: round ticks, lines where the numbers say, text that cannot become markup."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from fcnseg.reports.curves import Chart, Curve
from fcnseg.reports.svg import WIDTH, bar_chart, compact, dash, heat_map, line_chart, short, style, ticks
from sweeps import HOSTILE

SVG = "{http://www.w3.org/2000/svg}"


def parsed(text):
    return ElementTree.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 400, [0, 100, 200, 300, 400]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (19.8, 46.7, [10, 20, 30, 40, 50]),
        (5, 5, [5, 5.01, 5.02, 5.03, 5.04, 5.05]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3, 7, [-4, -2, 0, 2, 4, 6, 8]),
    ],
)
def test_ticks_are_round_and_cover_the_range(low, high, expected):
    found = ticks(low, high)
    assert found == pytest.approx(expected)
    assert found[0] <= low
    assert found[-1] >= high


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0"), (0.25, "0.25"), (4000, "4000"), (12500, "12.5k"), (2e6, "2M"), (3e9, "3G")]
)
def test_numbers_of_axes_are_short(value, said):
    assert compact(value) == said


@pytest.mark.parametrize(("low", "high"), [(3.4519, 3.4522), (7.0, 7.0), (0.0, 0.0), (-5.0, -5.0)])
def test_numbers_that_hardly_differ_have_an_axis_of_different_labels(low, high):
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert len({compact(value) for value in found}) == len(found) >= 2
    assert found[-1] - found[0] >= 0.0099 * abs(high)


def test_no_two_rows_look_alike():
    assert len({(style(place), dash(place)) for place in range(64)}) == 64


def test_a_line_goes_where_its_points_are():
    chart = Chart("Loss", "iterations", "loss", (Curve("b", [(0.0, 0.0), (100.0, 10.0)]), Curve("a", [(50.0, 5.0)])))
    tree = parsed(line_chart("x", chart, ["a", "b"]))
    (line,) = [path for path in tree.iter(f"{SVG}path") if "line" in path.get("class")]
    assert line.get("class") == "line c1"
    assert line.get("stroke-dasharray")
    left, bottom, right, top = map(float, re.findall(r"[\d.]+", line.get("d")))
    assert (left, right) == (46, WIDTH - 22)
    assert bottom > top
    dot = tree.find(f"{SVG}circle")
    assert float(dot.get("cx")) == pytest.approx((left + right) / 2, abs=0.1)
    assert float(dot.get("cy")) == pytest.approx((bottom + top) / 2, abs=0.1)
    assert tree.get("aria-labelledby") == "x-title x-said"
    assert "b ends at 10" in tree.find(f"{SVG}desc").text


def test_bars_are_as_long_as_their_values_and_missing_ones_are_not_drawn():
    tree = parsed(bar_chart("x", "IU", ["cat", HOSTILE], {"a": [50.0, None], "b": [100.0, 0.0]}, ["a", "b"]))
    bars = list(tree.iter(f"{SVG}rect"))
    widths = [float(bar.get("width")) for bar in bars]
    assert widths == pytest.approx([155, 310, 0.5])
    assert [bar.find(f"{SVG}title").text for bar in bars][:2] == ["cat, a: 50.0 %", "cat, b: 100.0 %"]


def test_cells_of_a_confusion_matrix_are_as_strong_as_the_root_of_their_shares():
    shares = np.array([[0.75, 0.25], [0.0, 1.0]])
    tree = parsed(heat_map("x", "t", "s", ["cat", "<dog>"], shares))
    cells = [cell for cell in tree.iter(f"{SVG}rect") if cell.get("class") == "heat"]
    assert [float(cell.get("fill-opacity")) for cell in cells] == [0.87, 0.5, 1.0]
    assert cells[1].find(f"{SVG}title").text == "cat, taken for <dog>: 25.0%"


def test_long_names_are_shortened():
    assert short("pottedplant") == "pottedplant"
    assert short("a very long name of a class") == "a very long n…"
