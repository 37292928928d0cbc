"""Each value is sent once, over all processes of a run."""

from fcnseg.tracking.ledger import Ledger, known_id, ledger_path


def test_what_was_sent_is_known_to_the_next_process(tmp_path):
    path = ledger_path(tmp_path, "wandb")
    first = Ledger(path)
    first.note({"train/loss": 1.0, "epoch": 0}, 4)
    second = Ledger(path)
    assert second.id == first.id == known_id(tmp_path, "wandb")
    assert second.entries == 1
    assert second.fresh({"train/loss": 1.0, "val/loss": 2.0}, 4) == {"val/loss": 2.0}
    assert second.fresh({"train/loss": 1.0}, 5) == {"train/loss": 1.0}


def test_what_has_no_step_is_always_sent(tmp_path):
    ledger = Ledger(ledger_path(tmp_path, "wandb"))
    ledger.note({"a": 1}, None)
    assert ledger.lacks("a", None)


def test_a_damaged_file_begins_anew(tmp_path):
    path = ledger_path(tmp_path, "wandb")
    path.parent.mkdir()
    path.write_text("{")
    assert Ledger(path).entries == 0
    assert known_id(tmp_path, "wandb") is None


def test_two_folders_are_two_runs(tmp_path):
    assert Ledger(tmp_path / "a.json").id != Ledger(tmp_path / "b.json").id
