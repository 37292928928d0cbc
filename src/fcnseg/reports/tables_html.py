"""The page's tables, with headings that a reader of any kind finds; on a phone the first two turn into cards."""

from collections.abc import Mapping, Sequence
from html import escape

from fcnseg.reports.summary import Summary
from fcnseg.reports.table import FACTS, Line, label, ours, plain, shared_facts, signed

MINUS = "\N{MINUS SIGN}"


def score_table(summary: Summary) -> str:
    """Lays the paper's numbers, ours and the difference side by side."""
    fields = summary.experiment.columns
    with_best = any(line.best.values for line in summary.lines)
    with_missing = any(line.missing for line in summary.lines)
    groups = "".join(
        f'<th class="group" colspan="3" scope="colgroup" role="columnheader">{escape(label(field))}</th>'
        for field in fields
    )
    last = [*(["best mean IU"] if with_best else []), *(["remarks"] if with_missing else [])]
    groups += "".join(f'<th rowspan="2" scope="col" role="columnheader">{name}</th>' for name in last)
    each = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in ("paper", "ours", "difference"))
    head = (
        f'<tr role="row"><th rowspan="2" scope="col" role="columnheader">row</th>{groups}</tr>'
        f'<tr role="row">{each * len(fields)}</tr>'
    )
    body = [_scores_of(line, fields, with_best, with_missing) for line in summary.lines]
    return _table("scores", "The paper's numbers beside ours, scores in percent", head, body)


def _scores_of(line: Line, fields: Sequence[str], with_best: bool, with_missing: bool) -> str:
    cells = [_row_head(line.row)]
    for field in fields:
        measure, name = line.measures[field], label(field)
        cells.append(_cell(plain(measure.paper), "paper", group=name))
        cells.append(_cell(ours(measure), "ours", "ours", name))
        cells.append(_cell(signed(measure.difference, MINUS), "difference", group=name))
    if with_best:
        cells.append(_cell(ours(line.best), "best mean IU", "wide"))
    if with_missing:
        cells.append(_cell("; ".join(line.missing), "remarks", "missing"))
    return f'<tr role="row">{"".join(cells)}</tr>'


def facts_table(summary: Summary) -> str:
    """Says what was trained on what, and how; in a table what differs between the rows."""
    lines, shared = [line for line in summary.lines if line.has_runs], shared_facts(summary.lines)
    names = [name for name in FACTS if name not in shared and any(line.facts[name] != "-" for line in lines)]
    if not lines:
        return ""
    columns = ["row", *names]
    head = "".join(f'<th scope="col" role="columnheader" class="text">{escape(name)}</th>' for name in columns)
    body = [
        f'<tr role="row">{_row_head(line.row)}{"".join(_fact(name, line.facts[name]) for name in names)}</tr>'
        for line in lines
    ]
    alike = "; ".join(f"{escape(name)}: {escape(said)}" for name, said in shared.items())
    said = f"<p>All rows: {alike}.</p>\n" if alike else ""
    return said + _table("runs", "What it takes to judge the numbers", f'<tr role="row">{head}</tr>', body)


def _fact(name: str, said: str) -> str:
    return _cell(said, name, "text wide" if len(said) > 16 else "text")


def class_table(names: Sequence[str], found: Mapping[str, Sequence[float | None]]) -> str:
    """Lays out the IU of each class."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("class", *found))
    body = ""
    for place, name in enumerate(names):
        cells = "".join(f"<td>{plain(values[place])}</td>" for values in found.values())
        body += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="IU of each class"><table>'
        f"<caption>IU in percent</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _table(identity: str, caption: str, head: str, body: Sequence[str]) -> str:
    """Wraps a table; the roles stay what they are where the style of a phone lays it out as cards."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table id="{identity}" class="cards" role="table"><caption>{escape(caption)}</caption>'
        f'<thead role="rowgroup">{head}</thead><tbody role="rowgroup">{"".join(body)}</tbody></table></div>'
    )


def _row_head(row: str) -> str:
    return f'<th scope="row" role="rowheader">{escape(row)}</th>'


def _cell(said: str, name: str, kind: str = "", group: str = "") -> str:
    shown = (f' class="{kind}"' if kind else "") + (f' data-group="{escape(group)}"' if group else "")
    return f'<td role="cell"{shown} data-label="{escape(name)}">{escape(said)}</td>'
