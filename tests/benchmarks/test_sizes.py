"""Sizes differ, groups of them can be compared, and every one is run."""

from fcnseg.benchmarks import sizes
from fcnseg.benchmarks.memory import INFERENCE, TRAINING
from fcnseg.benchmarks.nets import Setting
from fcnseg.benchmarks.sizes import drawn, measure


def test_every_group_begins_with_the_largest_and_no_other_size_comes_twice():
    groups = drawn((500, 375), 40)
    assert [len(group) for group in groups] == [11] * 4
    assert {group[0] for group in groups} == {(500, 375)}
    others = [size for group in groups for size in group[1:]]
    assert len(set(others)) == 40
    assert all(333 <= width <= 500 and 250 <= height <= 375 for width, height in others)


def test_both_kinds_of_passes_run_over_all_sizes(monkeypatch):
    monkeypatch.setattr(sizes, "in_child", lambda measured, *arguments: measured(*arguments))
    found = measure(Setting(backbone="squeezenet", size=(48, 40)), 4)
    assert [row["part"] for row in found["rows"]] == [INFERENCE] * 4 + [TRAINING] * 4
    assert all(row["peak MiB"] >= row["MiB behind it"] - 1 for row in found["rows"])
    assert len(found["sizes"]) == 4
