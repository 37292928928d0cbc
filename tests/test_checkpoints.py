"""Files of checkpoints: whole or not there, and a damaged one is noticed."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fcnseg.checkpoints import WholeFiles, read_last, read_whole
from payload import Payload

CONTENT = {"state_dict": {"w": torch.arange(3000.0)}, "global_step": 1, "progress": {}}


@pytest.fixture
def folder(tmp_path):
    for step in (1, 2, 3):
        WholeFiles().save_checkpoint(CONTENT | {"global_step": step}, tmp_path / "checkpoints" / "last.ckpt")
    return tmp_path


def last(folder):
    return folder / "checkpoints" / "last.ckpt"


def test_the_last_two_are_kept(folder):
    steps = {path.name: read_whole(path)["global_step"] for path in (folder / "checkpoints").iterdir()}
    assert steps == {"last.ckpt": 3, "previous.ckpt": 2}
    assert read_last(folder, pytest.fail)["global_step"] == 3


def test_a_folder_without_checkpoints_begins(tmp_path):
    assert read_last(tmp_path, pytest.fail) is None


def test_a_truncated_checkpoint_is_noticed_and_the_one_before_is_used(folder):
    os.truncate(last(folder), last(folder).stat().st_size - 100)
    warnings = []
    assert read_last(folder, warnings.append)["global_step"] == 2
    [said] = warnings
    assert f"{last(folder)} is damaged" in said
    assert "going on from the checkpoint before it" in said


def test_a_single_changed_byte_is_noticed(folder):
    content = bytearray(last(folder).read_bytes())
    content[len(content) // 2] ^= 1
    last(folder).write_bytes(content)
    warnings = []
    assert read_last(folder, warnings.append)["global_step"] == 2
    assert "damaged" in warnings[0]


def test_a_run_killed_between_two_renames_goes_on_from_the_one_that_is_there(folder):
    last(folder).unlink()
    assert read_last(folder, pytest.fail)["global_step"] == 2


def test_a_run_killed_between_naming_and_writing_leaves_nothing_behind(folder):
    """Then last.ckpt and previous.ckpt are two names of one file, which a rename leaves both."""
    last(folder).with_name("previous.ckpt").unlink()
    os.link(last(folder), last(folder).with_name("previous.ckpt"))
    WholeFiles().save_checkpoint(CONTENT | {"global_step": 4}, last(folder))
    steps = {path.name: read_whole(path)["global_step"] for path in (folder / "checkpoints").iterdir()}
    assert steps == {"last.ckpt": 4, "previous.ckpt": 3}


def test_no_whole_checkpoint_is_an_error_and_no_new_beginning(folder):
    for path in (folder / "checkpoints").iterdir():
        os.truncate(path, 50)
    with pytest.raises(ValueError, match=r"holds no checkpoint that is whole.*hydra\.run\.dir=DIR"):
        read_last(folder, lambda _: None)


def test_a_full_disk_leaves_the_last_checkpoints_as_they_were(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()}
    written = []

    def full(descriptor):
        written.append(descriptor)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match=r"last\.ckpt cannot be written \(No space left on device\): make room"):
        WholeFiles().save_checkpoint(CONTENT, last(folder))
    assert written
    after = {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()}
    assert after["last.ckpt"] == before["last.ckpt"]
    assert set(after) == {"last.ckpt", "previous.ckpt"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_torch_does_not_hide_that_the_disk_is_full(tmp_path):
    from fcnseg.checkpoints import _save

    with Path("/dev/full").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        _save(CONTENT, file)


def test_code_in_a_checkpoint_is_not_run(folder):
    torch.save(CONTENT | {"more": Payload(folder / "made")}, last(folder))
    with pytest.raises(ValueError, match="holds code, which is never run"):
        read_whole(last(folder))
    assert not (folder / "made").exists()


def test_a_checkpoint_of_something_else_is_refused(folder):
    torch.save({"state_dict": {}}, last(folder))
    with pytest.raises(ValueError, match="was not written by a training that can be continued"):
        read_whole(last(folder))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(data=st.data())
def test_no_damage_gets_through_and_none_is_a_traceback(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "last.ckpt"
    WholeFiles().save_checkpoint(CONTENT, path)
    whole = path.read_bytes()
    kind = data.draw(st.sampled_from(["cut", "flip", "noise"]))
    if kind == "cut":
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    elif kind == "flip":
        place = data.draw(st.integers(0, len(whole) - 1))
        damaged = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    else:
        damaged = data.draw(st.binary(max_size=400))
    path.write_bytes(damaged)
    said = str(path)
    try:
        content = read_whole(path)
    except ValueError as error:
        content, said = CONTENT, str(error)
    assert said.startswith(str(path))
    # A byte of the archive that says nothing, such as a time, may differ.
    assert torch.equal(content["state_dict"]["w"], CONTENT["state_dict"]["w"])
