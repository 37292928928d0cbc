"""The report as Markdown."""

import re
from collections.abc import Sequence

from fcnseg.reports.summary import Summary, per_class
from fcnseg.reports.table import FACTS, Line, label, ours, plain, shared_facts, signed


def markdown(summary: Summary) -> str:
    """Writes the table, what it takes to judge it, and the IU of each class."""
    experiment = summary.experiment
    parts = [f"# {escaped(experiment.title)}"]
    if summary.verdict:
        parts.append(f"**{escaped(summary.verdict)}**")
    for what, said in (("The paper's claim", experiment.claim), ("Source", experiment.source)):
        if said:
            parts.append(f"{what}: {escaped(said)}")
    if experiment.cost:
        parts.append(f"Cost: {escaped(experiment.cost)}")
    parts.append(f"Made by `{summary.command}`; scale {escaped(summary.scale)}.")
    parts += [scores(summary), "\n".join(f"* {escaped(each)}" for each in summary.remarks), facts(summary.lines)]
    if classes := class_table(summary):
        parts += ["## IU of each class", classes]
    return "\n\n".join(parts) + "\n"


def scores(summary: Summary) -> str:
    """Lays the paper's numbers, ours and the difference side by side."""
    fields = summary.experiment.columns
    with_best = any(line.best.values for line in summary.lines)
    head = ["row", *(f"{label(field)}: {what}" for field in fields for what in ("paper", "ours", "difference"))]
    head += ["best mean IU"] if with_best else []
    return table([*head, "remarks"], [_scores_of(line, fields, with_best) for line in summary.lines])


def _scores_of(line: Line, fields: Sequence[str], with_best: bool) -> list[str]:
    cells = [line.row]
    for field in fields:
        measure = line.measures[field]
        cells += [plain(measure.paper), ours(measure), signed(measure.difference)]
    return cells + ([ours(line.best)] if with_best else []) + ["; ".join(line.missing)]


def facts(lines: Sequence[Line]) -> str:
    """Says what was trained on what, and how; in a table what differs between the rows."""
    shared = shared_facts(lines)
    names = [name for name in FACTS if name not in shared]
    rows = [[line.row, *(line.facts[name] for name in names)] for line in lines if line.has_runs]
    if not rows:
        return "No run is finished."
    alike = "; ".join(f"{name}: {escaped(said)}" for name, said in shared.items())
    return (f"All rows: {alike}.\n\n" if alike else "") + table(["row", *names], rows)


def class_table(summary: Summary) -> str:
    """Lays out the IU of each class; empty where no run is finished."""
    names, found = per_class(summary)
    rows = [[name, *(plain(found[row][place]) for row in found)] for place, name in enumerate(names)]
    return table(["class", *found], rows) if names else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Writes a Markdown table, its first column to the left and the others to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(escaped(cell) for cell in row)} |" for row in (head, rule, *rows))


def escaped(text: str) -> str:
    """Returns text that Markdown and HTML show as it is, on one line."""
    flat = " ".join(str(text).split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", flat)
