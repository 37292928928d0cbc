"""metrics.csv: nothing twice, nothing missing."""

import csv
import os
from pathlib import Path

import pytest

from fcnseg.journal import Journal, Times


def rows(path):
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "metrics.csv")
    for step in range(3):
        journal.log_metrics({"loss": step / 2}, step)
        journal.save()
    journal.log_metrics({"iu": 0.5, "loss": 1.5}, 3)
    journal.save()
    return journal


def test_entries_stand_in_their_order_and_columns_in_theirs(journal):
    assert journal.path.read_text().splitlines()[0] == "iu,loss,step"
    assert [row["step"] for row in rows(journal.path)] == ["0", "1", "2", "3"]
    assert [row.get("iu") for row in rows(journal.path)] == [None, None, None, "0.5"]
    assert journal.entries == 4


def test_a_new_run_writes_a_new_file(journal):
    other = Journal(journal.path)
    other.log_metrics({"loss": 9.0}, 0)
    other.save()
    assert rows(journal.path) == [{"loss": "9.0", "step": "0"}]


def test_a_continued_run_drops_what_it_will_make_again(journal):
    whole = journal.path.read_bytes()
    with journal.path.open("a") as file:
        file.write("0.1,2.")  # a line that a kill cut off
    other = Journal(journal.path)
    other.keep(2)
    assert [row["step"] for row in rows(journal.path)] == ["0", "1"]
    other.log_metrics({"loss": 1.0}, 2)
    other.save()
    other.log_metrics({"iu": 0.5, "loss": 1.5}, 3)
    other.save()
    assert journal.path.read_bytes() == whole


def test_entries_that_are_gone_are_missed(journal):
    with pytest.raises(ValueError, match="holds 4 entries, and the checkpoint was written after 9"):
        Journal(journal.path).keep(9)
    journal.path.unlink()
    with pytest.raises(ValueError, match="holds 0 entries"):
        Journal(journal.path).keep(1)


def test_a_run_without_entries_goes_on_without_a_file(tmp_path):
    journal = Journal(tmp_path / "metrics.csv")
    journal.keep(0)
    assert not journal.path.exists()


def test_a_full_disk_leaves_no_half_a_line_and_the_entry_can_be_saved_later(journal, monkeypatch):
    before = journal.path.read_bytes()
    opened = Path.open

    def full(path, mode="r", **options):
        if mode != "ab":
            return opened(path, mode, **options)
        with opened(path, mode) as file:
            file.write(b"1,2")
        raise OSError(28, "No space left on device")

    journal.log_metrics({"loss": 2.0}, 4)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(ValueError, match=r"metrics\.csv cannot be written \(No space left on device\)"):
            journal.save()
    assert journal.path.read_bytes() == before
    journal.save()
    assert [row["step"] for row in rows(journal.path)] == ["0", "1", "2", "3", "4"]


def test_what_is_synced_is_on_the_disk(journal, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    journal.sync()
    assert len(synced) == 1


# ---- times


def test_each_entry_gets_its_time_and_a_continued_run_goes_on_from_there(tmp_path):
    clock = iter([0.5, 1.25, 2.0, 9.0])
    times = Times(tmp_path / "times.csv", lambda: next(clock))
    for step in range(3):
        times.log_metrics({"loss": 1.0}, step)
    times.save()
    other = Times(times.path, lambda: next(clock))
    other.keep(2)
    other.log_metrics({"loss": 1.0}, 2)
    other.save()
    assert times.path.read_text().splitlines() == ["seconds,step", "0.5,0", "1.25,1", "9.0,2"]


def test_times_that_are_gone_stop_no_run(tmp_path):
    times = Times(tmp_path / "times.csv", lambda: 7.0)
    times.keep(2)
    times.log_metrics({"loss": 1.0}, 5)
    times.save()
    assert times.path.read_text().splitlines() == ["seconds,step", ",", ",", "7.0,5"]
    assert times.entries == 3
