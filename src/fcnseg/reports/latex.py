"""The report's table as LaTeX, for the package booktabs."""

import re
from collections.abc import Sequence

from fcnseg.reports.summary import Summary
from fcnseg.reports.table import Line, Measure, label, ours, plain, signed

SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    **{bracket: f"{{{bracket}}}" for bracket in "[]"},  # one after the end of a line would be its argument
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
}
"""What TeX would read as something else, and what its text fonts may lack."""


def latex(summary: Summary) -> str:
    r"""Writes a table environment; ``\usepackage{booktabs}`` is all that it needs."""
    fields, experiment = summary.experiment.columns, summary.experiment
    last = [_missing(line) for line in summary.lines if line.missing]
    caption = [experiment.title + ".", *([summary.verdict] if summary.verdict else []), *summary.remarks]
    caption += [f"Paper: {experiment.source}."] if experiment.source else []
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{' '.join(escaped(each) for each in [*caption, *last])}}}",
            rf"  \begin{{tabular}}{{l{'rrr' * len(fields)}}}",
            r"    \toprule",
            "    "
            + " & ".join(["", *(rf"\multicolumn{{3}}{{c}}{{{escaped(label(field))}}}" for field in fields)])
            + r" \\",
            "    " + "".join(rf"\cmidrule(lr){{{2 + 3 * i}-{4 + 3 * i}}}" for i in range(len(fields))),
            "    " + " & ".join(["", *["paper", "ours", "diff."] * len(fields)]) + r" \\",
            r"    \midrule",
            *(_row(line, fields) for line in summary.lines),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _row(line: Line, fields: Sequence[str]) -> str:
    cells = [cell for field in fields for cell in _cells(line.measures[field])]
    return "    " + " & ".join([escaped(line.row), *cells]) + r" \\"


def _cells(measure: Measure) -> tuple[str, str, str]:
    difference = signed(measure.difference)
    return (
        escaped(plain(measure.paper)),
        escaped(ours(measure)),
        difference if measure.difference is None else f"${difference}$",
    )


def _missing(line: Line) -> str:
    return f"{line.row}: {'; '.join(line.missing)}."


def escaped(text: str) -> str:
    """Returns text that TeX sets as it is; of what a line break would end, one line."""
    flat = " ".join(text.split())
    return re.sub("|".join(map(re.escape, SPECIAL)), lambda found: SPECIAL[found.group()], flat)
