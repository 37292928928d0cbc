"""Markdown that shows every number, and hostile names as they are."""

from dataclasses import replace

from fcnseg.reports.markdown import escaped, markdown
from fcnseg.reports.summary import summarise
from sweeps import HOSTILE, TITLE, write_experiment, write_job


def cells(line):
    return [cell.strip() for cell in line.replace(r"\|", "/").strip().strip("|").split("|")]


def test_the_table_has_paper_ours_and_difference(summary):
    written = markdown(summary).splitlines()
    head = next(line for line in written if line.startswith("| row | pixel acc.: paper"))
    row = next(line for line in written if line.startswith("| 16s"))
    values = dict(zip(cells(head), cells(row), strict=True))
    assert values["mean IU: paper"] == "62.4"
    assert values["mean IU: ours"] == "49.5 ± 0.7"
    assert values["mean IU: difference"] == "-12.9"
    assert values["best mean IU"] == "50.5 ± 0.7"
    assert next(line for line in written if line.startswith("| fixed")).endswith("| not run |")


def test_claim_verdict_and_errors_are_there(summary):
    written = markdown(summary)
    assert written.startswith(f"# {TITLE}\n\n**Yes: 16s is ahead of 32s.**\n\nThe paper's claim: Finer is better.")
    assert "* 8s, seed 1: ValueError: out of memory" in written
    assert "| boat &amp; &lt;b&gt;tender&lt;/b&gt; | " in written


def test_hostile_names_break_no_table(tmp_path):
    from fcnseg.reports.experiment import read_experiment

    write_job(tmp_path / "r" / "a", HOSTILE, 0, 0.4)
    experiment = read_experiment(str(write_experiment(tmp_path / "x.yaml", rows=[HOSTILE], paper={})))
    written = markdown(replace(summarise(experiment, tmp_path / "r"), verdict="a\n\n# b"))
    lines = [line for line in written.splitlines() if line.startswith("| a\\_b")]
    assert "<script>" not in written
    assert {len(cells(line)) for line in lines[:1]} == {1 + 4 * 3 + 1 + 1}
    assert not any(line.startswith("# b") for line in written.splitlines())


def test_escaping():
    assert escaped("a|b_c*d `e`\nf <g> & #h") == r"a\|b\_c\*d \`e\` f &lt;g&gt; &amp; \#h"
