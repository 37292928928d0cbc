"""The page's tables: every cell under its heading, for readers of any kind."""

import re
from xml.etree import ElementTree

from fcnseg.reports.tables_html import class_table, facts_table, score_table


def rows(html):
    tree = ElementTree.fromstring(html)
    return [[(cell, "".join(cell.itertext())) for cell in row] for row in tree.iter("tr")]


def test_scores_have_headings_for_rows_and_columns(summary):
    groups, kinds, *body = rows(score_table(summary))
    assert [said for _, said in groups] == [
        *("row", "pixel acc.", "mean acc.", "mean IU", "f.w. IU", "best mean IU", "remarks")
    ]
    assert [said for _, said in kinds] == ["paper", "ours", "difference"] * 4
    assert all(cell.get("scope") for cell, _ in groups + kinds)
    assert [row[0][1] for row in body] == ["fixed", "32s", "16s", "8s"]
    assert all(row[0][0].get("scope") == "row" for row in body)
    assert {len(row) for row in body} == {1 + 12 + 2}
    assert [said for _, said in body[2]][7:10] == ["62.4", "49.5 ± 0.7", "\N{MINUS SIGN}12.9"]
    assert body[0][-1][1] == "not run"


def test_each_cell_knows_its_heading_for_a_phone(summary):
    cell, _ = rows(score_table(summary))[2][8]
    assert (cell.get("data-group"), cell.get("data-label")) == ("mean IU", "ours")


def test_roles_hold_where_the_style_changes_what_elements_are(summary):
    html = score_table(summary)
    for element in ("table", "thead", "tbody", "tr", "td", "th"):
        assert all("role=" in tag for tag in re.findall(rf"<{element}\b[^>]*>", html))


def test_only_rows_with_runs_have_facts(summary):
    shared, _, table = facts_table(summary).partition("</p>\n")
    head, *body = rows(table)
    assert [row[0][1] for row in body] == ["32s", "16s", "8s"]
    assert "All rows: weights: weights.pt; data: voc2012; trained on: 700; scored on: 300" in shared
    assert {"net", "seeds"} <= {said for _, said in head}
    assert "weights" not in {said for _, said in head}


def test_classes_without_a_score_have_a_dash():
    (_, *body) = rows(class_table(["a & b", "c"], {"8s": [12.34, None]}))
    assert [[said for _, said in row] for row in body] == [["a & b", "12.3"], ["c", "-"]]
