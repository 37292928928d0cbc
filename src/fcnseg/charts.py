"""The picture of what a data set holds: pixels and images of each class, and the sizes of the images."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from PIL import Image, ImageColor, ImageDraw, ImageFont

from fcnseg.data.inspect import Statistics
from fcnseg.visualize import VOID_COLOUR, palette

MARGIN = 16
TOP = 64
"""Height of the titles."""
ROW = 26
"""Height of a class."""
NAMES, PANEL, NUMBERS = 150, 250, 70
"""Widths of the names, of the longest bar, and of the number beside it."""
CELLS, CELL = 24, 10
"""Cells along a side of a plot of sizes, and the side of one."""
SQUARE = CELLS * CELL
SIZES = SQUARE + 4 * ROW
"""Height of a plot of sizes with what is written around it."""
FAINTEST = 0.2
"""Of the colour of a cell that holds an image at all."""
COLOURS = {"train": "#1f77b4", "val": "#ff7f0e"}
MOST = 100
"""Classes that are drawn at most."""
RAREST = 1e-4
"""Share of pixels at which a bar, on its logarithmic scale, ends to be seen."""


def statistics_chart(title: str, classes: Sequence[str], parts: Mapping[str, Statistics]) -> Image.Image:
    """Draws the statistics of the parts of a data set side by side.

    Args:
        title: stands at the top.
        classes: names in the order of their labels; of more than MOST the most frequent are drawn.
        parts: train, val or both.
    """
    labels = _frequent(len(classes), parts)
    middle, right = NAMES + MARGIN, NAMES + PANEL + NUMBERS + 2 * MARGIN
    square = right + PANEL + NUMBERS + MARGIN
    height = TOP + max(ROW * len(labels), SIZES * max(1, len(parts)) - 2 * ROW) + MARGIN
    sheet = Image.new("RGB", (square + SQUARE + 3 * MARGIN, height), "white")
    pen = ImageDraw.Draw(sheet)
    _write_titles(pen, title, parts, {middle: "share of pixels (logarithmic)", right: "images with it"})
    _write_names(pen, labels, [*classes, "void"])
    for place, (part, content) in enumerate(parts.items()):
        shares = [content.pixels[label] / max(1, sum(content.pixels)) for label in labels]
        lengths = [max(0.0, 1 - math.log(share) / math.log(RAREST)) if share else 0.0 for share in shares]
        _draw_bars(pen, (middle, place), part, lengths, [f"{share:.2%}" for share in shares])
        present = [content.present[label] for label in labels]
        held = [count / max(1, content.masks) for count in present]
        _draw_bars(pen, (right, place), part, held, [f"{count:,}" for count in present])
    longest = max((side for content in parts.values() for size in content.sizes for side in size), default=1)
    for place, (part, content) in enumerate(parts.items()):
        _draw_sizes(pen, (square, TOP + SIZES * place), part, content.sizes, longest)
    return sheet


def _frequent(count: int, parts: Mapping[str, Statistics]) -> list[int]:
    """Returns the labels of the most frequent classes in their order, and that of void, which is the last."""
    pixels = [sum(content.pixels[label] for content in parts.values()) for label in range(count)]
    return [*sorted(sorted(range(count), key=lambda label: -pixels[label])[:MOST]), count]


def _write_titles(
    pen: ImageDraw.ImageDraw, title: str, parts: Mapping[str, Statistics], panels: Mapping[int, str]
) -> None:
    pen.text((MARGIN, 8), title, "black", _font(18))
    for left, said in panels.items():
        pen.text((left, TOP - 26), said, "black", _font())
    for place, (part, content) in enumerate(parts.items()):
        left = NAMES + PANEL + MARGIN + 200 * place
        pen.rectangle((left, 12, left + 12, 24), fill=COLOURS[part])
        pen.text((left + 18, 9), f"{part}: {content.masks:,} masks", "black", _font())


def _write_names(pen: ImageDraw.ImageDraw, labels: Sequence[int], names: Sequence[str]) -> None:
    colours = [*map(tuple, palette(len(names) - 1).tolist()), VOID_COLOUR]
    for row, label in enumerate(labels):
        top = TOP + ROW * row
        pen.rectangle((MARGIN, top + 4, MARGIN + 14, top + 18), fill=colours[label], outline="black")
        pen.text((MARGIN + 22, top + 2), names[label][:18], "black", _font())


def _draw_bars(
    pen: ImageDraw.ImageDraw, where: tuple[int, int], part: str, lengths: Sequence[float], numbers: Sequence[str]
) -> None:
    left, place = where
    for row, (length, number) in enumerate(zip(lengths, numbers, strict=True)):
        top = TOP + ROW * row + 11 * place
        end = left + round(PANEL * length)
        pen.rectangle((left, top + 1, end, top + 10), fill=COLOURS[part])
        pen.text((end + 4, top - 1), number, "black", _font(10))


def _draw_sizes(
    pen: ImageDraw.ImageDraw, where: tuple[int, int], part: str, sizes: Mapping[tuple[int, int], int], longest: int
) -> None:
    """Plots heights over widths: the more images a cell holds, the deeper its colour, by the root of their share."""
    (left, top), cells = where, Counter[tuple[int, int]]()
    for (height, width), count in sizes.items():
        cells[(width - 1) * CELLS // longest, CELLS - 1 - (height - 1) * CELLS // longest] += count
    for (column, row), count in cells.items():
        x, y = left + CELL * column, top + CELL * row
        share = FAINTEST + (1 - FAINTEST) * math.sqrt(count / max(cells.values()))
        pen.rectangle((x, y, x + CELL - 1, y + CELL - 1), fill=_faded(COLOURS[part], share))
    pen.line((left, top + SQUARE, left + SQUARE, top), fill="lightgrey")
    pen.rectangle((left - 1, top - 1, left + SQUARE, top + SQUARE), outline="black")
    pen.text((left, top - 20), f"sizes of {part}, height to {longest}", "black", _font())
    pen.text((left, top + SQUARE + 4), "0", "black", _font())
    pen.text((left + SQUARE, top + SQUARE + 4), f"width {longest}", "black", _font(), anchor="ra")
    often = [f"{width}x{height} ({count:,})" for (height, width), count in list(sizes.items())[:3]]
    pen.text((left, top + SQUARE + 22), ", ".join(often), "black", _font(11))


def _faded(colour: str, share: float) -> tuple[int, ...]:
    return tuple(round(255 + share * (part - 255)) for part in ImageColor.getrgb(colour))


def _font(size: int = 13) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
