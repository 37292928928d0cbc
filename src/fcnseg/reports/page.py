"""The report as one page of HTML that needs nothing else: no network, no script, no other file."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from fcnseg.reports import svg
from fcnseg.reports.curves import charts
from fcnseg.reports.pictures import Picture, colours, examples
from fcnseg.reports.summary import Summary, confusion, per_class, worst_confusions
from fcnseg.reports.tables_html import class_table, facts_table, score_table

STYLE = Path(__file__).with_name("page.css")
"""The page's own style, in light and dark, wide and narrow."""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser may load for the page: nothing from anywhere."""


def page(summary: Summary, photographs: bool = True) -> str:
    """Writes the page.

    Args:
        summary: what it says.
        photographs: whether the validation images themselves may be in it.
    """
    body = [
        about(summary),
        section("Scores", score_table(summary), remarks(summary)),
        section("Runs", facts_table(summary)),
        section("Learning curves", curves(summary)),
        section("IU of each class", classes(summary)),
        section("Confusion of classes", confusions(summary)),
        section("Predictions", predictions(summary, photographs)),
    ]
    title = escape(summary.experiment.title)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<title>{title}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n"
        f"</head>\n<body>\n<main>\n{''.join(body)}</main>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Wraps parts under a heading; nothing where there are none."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{''.join(parts)}\n</section>\n" if any(parts) else ""


def about(summary: Summary) -> str:
    """Says which table of the paper this is, what it claims, and how the runs were made."""
    experiment = summary.experiment
    verdict = f'<p class="verdict">{escape(summary.verdict)}</p>\n' if summary.verdict else ""
    known = {
        "The paper's claim": experiment.claim,
        "Source": experiment.source,
        "Scale": summary.scale,
        "Cost": experiment.cost,
    }
    rows = "".join(f"<dt>{escape(what)}</dt><dd>{escape(said)}</dd>" for what, said in known.items() if said)
    made = f"<dt>Made by</dt><dd><code>{escape(summary.command)}</code></dd>"
    return f'<h1>{escape(experiment.title)}</h1>\n{verdict}<dl class="about">{rows}{made}</dl>\n'


def remarks(summary: Summary) -> str:
    """Lists what limits the numbers."""
    return f'<ul class="remarks">{"".join(f"<li>{escape(each)}</li>" for each in summary.remarks)}</ul>'


def legend(summary: Summary, shown: Iterable[str]) -> str:
    """Says which line or bar is which row."""
    rows = [line.row for line in summary.lines]
    entries = [f"<li>{svg.swatch(rows.index(row))}{escape(row)}</li>" for row in dict.fromkeys(shown)]
    return f'<ul class="legend" aria-label="Rows">{"".join(entries)}</ul>'


def curves(summary: Summary) -> str:
    """Draws loss and mean IU over the training."""
    found, rows = charts(summary), [line.row for line in summary.lines]
    drawn = [
        f"<figure><h3>{escape(chart.title)}</h3>{svg.line_chart(f'curve{number}', chart, rows)}</figure>"
        for number, chart in enumerate(found)
    ]
    shown = [curve.row for chart in found for curve in chart.curves]
    ordered = [row for row in rows if row in shown]
    return f'{legend(summary, ordered)}<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def classes(summary: Summary) -> str:
    """Draws the IU of each class as bars, with the numbers below."""
    names, found = per_class(summary)
    if not names:
        return ""
    rows = [line.row for line in summary.lines]
    chart = svg.bar_chart("classes", "IU of each class in percent", names, found, rows)
    table = f"<details open><summary>The numbers</summary>{class_table(names, found)}</details>"
    return f'{legend(summary, found)}<div class="charts"><figure>{chart}</figure>{table}</div>'


def confusions(summary: Summary) -> str:
    """Draws a confusion matrix for each row of the table, the last one unfolded."""
    found = {row: each for row in summary.rows if (each := confusion(summary, row)) is not None}
    parts = [
        "<p>Truth from top to bottom, predictions from left to right. A cell's strength is the square root of its "
        'share of the true class\'s pixels.</p><div class="charts">'
    ]
    for number, (row, (names, shares)) in enumerate(found.items()):
        worst = worst_confusions(names, shares)
        said = f"Most confused: {'; '.join(worst)}." if worst else "No two classes are confused."
        chart = svg.heat_map(f"confusion{number}", f"Confusion matrix of {row}", said, names, shares)
        is_open = " open" if number == len(found) - 1 else ""
        parts.append(
            f"<details{is_open}><summary>{escape(row)}</summary><figure><p>{escape(said)}</p>{chart}</figure></details>"
        )
    return "".join([*parts, "</div>"]) if found else ""


def predictions(summary: Summary, photographs: bool) -> str:
    """Lays out what each row predicts for the same images."""
    found = examples(summary, photographs)
    shown = "".join(_example(name, cells) for name, cells in found.items())
    return palette_legend(summary) + shown if found else ""


def _example(name: str, cells: Sequence[Picture]) -> str:
    parts = []
    for cell in cells:
        said = f"{cell.column}, {name}"
        seen = f'<img src="{cell.uri}" alt="{escape(said)}">' if cell.uri else '<div class="none">none</div>'
        parts.append(f"<figure>{seen}<figcaption>{escape(cell.column)}</figcaption></figure>")
    style = f"--n:{len(cells)}"
    return f'<div class="example" style="{style}" role="group" aria-label="{escape(name)}">{"".join(parts)}</div>'


def palette_legend(summary: Summary) -> str:
    """Names the colours of the masks."""
    names, _ = per_class(summary)
    entries: Mapping[str, tuple[int, int, int]] = dict(zip(names, colours(summary, len(names)), strict=False))
    chips = [
        f'<li><span class="chip" style="background:rgb{colour}"></span>{escape(name)}</li>'
        for name, colour in entries.items()
    ]
    return f'<ul class="legend" aria-label="Classes">{"".join(chips)}</ul>' if chips else ""
