"""LaTeX that sets what it was given, whatever the names hold."""

import re
from dataclasses import replace

import pytest

from fcnseg.reports.experiment import read_experiment
from fcnseg.reports.latex import escaped, latex
from fcnseg.reports.summary import summarise
from sweeps import HOSTILE, write_experiment, write_job


def test_the_table_has_as_many_cells_as_columns(summary):
    written = latex(summary)
    assert r"\begin{tabular}{lrrrrrrrrrrrr}" in written
    body = written.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.strip()]
    assert [row.count("&") for row in rows] == [12] * 4
    assert all(row.endswith(r" \\") for row in rows)
    assert r"& 62.4 & 49.5 $\pm$ 0.7 & $-12.9$ &" in rows[2]
    assert "fixed: not run." in written
    assert written.count("{") == written.count("}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 50% #1 $x$ {y}", r"a\_b \& 50\% \#1 \$x\$ \{y\}"),
        ("\\end{table}", r"\textbackslash{}end\{table\}"),
        ('~^<>|"', r"\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\textbar{}\textquotedbl{}"),
        ("[2pt]", "{[}2pt{]}"),
        ("1 ± 2\nnext", r"1 $\pm$ 2 next"),
    ],
)
def test_escaping(text, expected):
    assert escaped(text) == expected


def test_hostile_names_stay_text(tmp_path):
    write_job(tmp_path / "r" / "a", HOSTILE, 0, 0.4)
    experiment = read_experiment(str(write_experiment(tmp_path / "x.yaml", rows=[HOSTILE, "[b]"], paper={})))
    written = latex(replace(summarise(experiment, tmp_path / "r"), verdict=HOSTILE))
    assert written.count(r"\end{table}") == 1
    body = written.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    for row in filter(str.strip, body.splitlines()):
        assert len(re.findall(r"(?<!\\)&", row)) == 12
        assert not row.strip().startswith("[")
