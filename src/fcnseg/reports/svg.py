"""Charts as SVG, drawn by hand: they scale, follow the page's colours, and say in words what they show."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from fcnseg.reports.curves import Chart
from fcnseg.reports.summary import Matrix

WIDTH = 420
"""Of every chart, in its own units; the page scales it."""

COLOURS = 8
"""Colours that the page's style has for rows, told apart by dashes where they repeat or cannot be seen."""

DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "1 2", "12 4", "6 2 2 2 2 2")
"""Of the lines of rows, in the order of their colours."""


LEAST_RANGE = 0.01
"""Of an axis, over its largest number: less would draw steep curves of differences that mean nothing."""


def drawing(identity: str, title: str, said: str, height: float, parts: Sequence[str]) -> str:
    """Wraps the parts of a chart.

    Args:
        identity: unique in the page.
        title: of the chart, for those who do not see it.
        said: what it shows, likewise.
        height: in the chart's units.
        parts: what is drawn.
    """
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-labelledby="{identity}-title {identity}-said">'
        f'<title id="{identity}-title">{escape(title)}</title><desc id="{identity}-said">{escape(said)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def style(place: int) -> str:
    """Returns the class of a row's colour."""
    return f"c{place % COLOURS}"


def dash(place: int) -> str:
    """Returns the attribute that draws a row's dashes."""
    pattern = DASHES[(place + place // COLOURS) % len(DASHES)]  # so that no colour repeats with its dashes
    return f' stroke-dasharray="{pattern}"' if pattern else ""


def swatch(place: int) -> str:
    """Draws the sample of a row's line for a legend."""
    return (
        '<svg viewBox="0 0 30 10" width="30" height="10" aria-hidden="true">'
        f'<path class="line {style(place)}" d="M0 5H30"{dash(place)}/></svg>'
    )


# ---- axes


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns round numbers that cover a range, about as many as wanted, and more where it is next to nothing."""
    high = max(high, low + (LEAST_RANGE * max(abs(low), abs(high)) or 1.0))
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * number for number in range(first, max(last, first + 1) + 1)]


def compact(value: float) -> str:
    """Writes a number of an axis in few letters."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:.4g}"


def text(x: float, y: float, said: str, anchor: str = "start", more: str = "") -> str:
    """Writes a label."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(said)}</text>'


# ---- charts


def line_chart(identity: str, chart: Chart, rows: Sequence[str]) -> str:
    """Draws curves; a row's runs share its colour.

    Args:
        identity: unique in the page.
        chart: what to draw.
        rows: all rows of the table, whose places choose the colours.
    """
    left, right, top, bottom, height = 46, 22, 10, 38, 250
    points = [point for curve in chart.curves for point in curve.points]
    across = ticks(0.0, max(x for x, _ in points))
    up = ticks(min(y for _, y in points), max(y for _, y in points))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - across[0]) / (across[-1] - across[0]) * (WIDTH - left - right),
            height - bottom - (y - up[0]) / (up[-1] - up[0]) * (height - top - bottom),
        )

    parts = [_rule(place(across[0], y), place(across[-1], y)) for y in up]
    parts += [text(left - 5, place(0, y)[1] + 4, compact(y), "end") for y in up]
    parts += [text(place(x, up[0])[0], height - bottom + 15, compact(x), "middle") for x in across]
    parts += [text((left + WIDTH - right) / 2, height - 5, chart.across, "middle")]
    parts += [
        text(
            12,
            (top + height - bottom) / 2,
            chart.up,
            "middle",
            f' transform="rotate(-90 12 {(top + height - bottom) / 2:g})"',
        )
    ]
    for curve in chart.curves:
        number = rows.index(curve.row)
        parts.append(_curve([place(x, y) for x, y in curve.points], number))
    return drawing(identity, f"{chart.title} over {chart.across}", _said_of(chart), height, parts)


def _rule(start: tuple[float, float], end: tuple[float, float]) -> str:
    return f'<path class="rule" d="M{start[0]:.1f} {start[1]:.1f}L{end[0]:.1f} {end[1]:.1f}"/>'


def _curve(places: Sequence[tuple[float, float]], number: int) -> str:
    if len(places) == 1:
        return f'<circle class="dot {style(number)}" cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3"/>'
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    return f'<path class="line {style(number)}" d="M{path}"{dash(number)}/>'


def _said_of(chart: Chart) -> str:
    ends = [f"{curve.row} ends at {compact(curve.points[-1][1])}" for curve in chart.curves]
    return f"Vertical: {chart.up}. Horizontal: {chart.across}. {'; '.join(ends)}."


def bar_chart(
    identity: str, title: str, names: Sequence[str], found: Mapping[str, Sequence[float | None]], rows: Sequence[str]
) -> str:
    """Draws shares in percent as groups of bars from left to right.

    Args:
        identity: unique in the page.
        title: of the chart.
        names: of the groups.
        found: {row: value in percent of each group}.
        rows: all rows of the table, whose places choose the colours.
    """
    left, right, top, bottom, thick, gap = 96, 14, 16, 6, max(4, 14 // max(1, len(found))), 7
    group = thick * len(found) + gap
    height = top + bottom + group * len(names)
    per = (WIDTH - left - right) / 100
    parts = [_rule((left + per * x, top), (left + per * x, height - bottom)) for x in (0, 25, 50, 75, 100)]
    parts += [text(left + per * x, top - 4, f"{x}", "middle") for x in (0, 25, 50, 75, 100)]
    for number, name in enumerate(names):
        y = top + gap / 2 + group * number
        parts.append(text(left - 6, y + (group - gap) / 2 + 4, short(name), "end"))
        for place, (row, values) in enumerate(found.items()):
            if (value := values[number]) is not None:
                said = escape(f"{name}, {row}: {value:.1f} %")
                parts.append(
                    f'<rect class="bar {style(rows.index(row))}" x="{left}" y="{y + thick * place:.1f}" '
                    f'width="{max(0.5, per * value):.1f}" height="{thick - 1}"><title>{said}</title></rect>'
                )
    return drawing(
        identity, title, f"{len(names)} classes, {len(found)} rows; the table below has the numbers.", height, parts
    )


def short(name: str, most: int = 14) -> str:
    """Shortens a name that a label has no room for."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def heat_map(identity: str, title: str, said: str, names: Sequence[str], shares: Matrix) -> str:
    """Draws a confusion matrix, truth from top to bottom and predictions from left to right.

    Args:
        identity: unique in the page.
        title: of the chart.
        said: what it shows.
        names: of the classes.
        shares: [k, k] of each true class's pixels.
    """
    left, top = 96, 92
    cell = (WIDTH - left - 6) / max(1, len(names))
    height = top + cell * len(names) + 6
    parts = [
        f'<rect class="frame" x="{left}" y="{top}" width="{cell * len(names):.1f}" height="{cell * len(names):.1f}"/>'
    ]
    if cell >= 7:
        parts += [text(left - 5, top + cell * (i + 0.5) + 3.5, short(name), "end") for i, name in enumerate(names)]
        for j, name in enumerate(names):
            x = left + cell * (j + 0.5) + 3.5
            parts.append(text(x, top - 5, short(name), "start", f' transform="rotate(-90 {x:.1f} {top - 5})"'))
    parts += [
        _cell(left + cell * j, top + cell * i, cell, shares[i, j], f"{true}, taken for {guess}: {shares[i, j]:.1%}")
        for i, true in enumerate(names)
        for j, guess in enumerate(names)
        if shares[i, j] >= 0.0005
    ]
    return drawing(identity, title, said, height, parts)


def _cell(x: float, y: float, side: float, share: float, said: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}"'
    return f'<rect class="heat" {place} fill-opacity="{share**0.5:.2f}"><title>{escape(said)}</title></rect>'
