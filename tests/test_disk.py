"""The disk: room, checksums, errors with a remedy, and one process at a time."""

import fcntl
import hashlib
import threading
from errno import ENOLCK, ENOSPC
from pathlib import Path
from types import SimpleNamespace

import pytest

from fcnseg import disk
from fcnseg.disk import exclusive, held, is_held, mismatch, require_space, writing
from locks import held_elsewhere


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(disk, "POLL_S", 0.002)


@pytest.mark.parametrize("algorithm", disk.ALGORITHMS)
def test_a_file_is_compared_with_its_checksum(tmp_path, algorithm):
    path = tmp_path / "file"
    path.write_bytes(b"something")
    digest = hashlib.new(algorithm, b"something").hexdigest()
    assert mismatch(path, 9, f"{algorithm}:{digest}") == mismatch(path, None, f"{algorithm}:{digest.upper()}") == ""
    wrong = mismatch(path, 9, f"{algorithm}:{digest[::-1]}")
    assert wrong == f"has {algorithm} {digest} instead of {digest[::-1]}"


def test_a_size_is_compared_without_a_checksum(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(1234))
    assert mismatch(path, None, None) == mismatch(path, 1234, None) == ""
    assert mismatch(path, 12345, None) == "has 1,234 bytes instead of 12,345"


@pytest.mark.parametrize("checksum", ["", "md5", "md5:", "crc32:" + 32 * "0", 32 * "0", "md5:" + 32 * "x"])
def test_what_is_no_checksum_is_refused(checksum):
    with pytest.raises(ValueError, match=r"no checksum: write sha256:\.\.\."):
        disk.check_checksum(checksum)


def test_too_little_space_says_how_much_is_there_and_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_500_000_000))
    require_space(tmp_path / "not" / "made" / "yet", 1_500_000_000)
    with pytest.raises(ValueError, match=r"not/made has 1\.50 GB free, and 3\.00 GB are needed: make room, or choose"):
        require_space(tmp_path / "not" / "made", 3_000_000_000)


def test_errors_of_the_disk_name_the_file_and_a_remedy():
    with (
        pytest.raises(ValueError, match=r"/there/file cannot be written .no space.: make room"),
        writing(Path("/there/file")),
    ):
        raise OSError(ENOSPC, "no space")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file/inside cannot be written"), exclusive(tmp_path / "file" / "inside"):
        pass


# ---- one at a time


def test_one_works_while_the_others_wait(tmp_path):
    inside, most, waits = [], [], []

    def work():
        with exclusive(tmp_path / "new" / "lock", lambda: waits.append(1)):
            inside.append(1)
            most.append(len(inside))
            threading.Event().wait(0.01)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6
    assert waits
    assert list((tmp_path / "new").iterdir()) == []  # an empty file does not stay


def test_content_stays_for_the_next_one(tmp_path):
    for _ in range(2):
        with exclusive(tmp_path / "file") as file:
            file.write(b"ab")
    assert (tmp_path / "file").read_bytes() == b"abab"


def test_who_waited_for_a_file_that_was_renamed_gets_a_new_one(tmp_path):
    waiting, found = threading.Event(), []

    def second():
        with exclusive(tmp_path / "file", waiting.set) as file:
            file.write(b"second")
            found.append(file.name)

    thread = threading.Thread(target=second)
    with exclusive(tmp_path / "file") as file:
        file.write(b"first")
        thread.start()
        assert waiting.wait(5)
        (tmp_path / "file").rename(tmp_path / "done")
    thread.join()
    assert ((tmp_path / "done").read_bytes(), (tmp_path / "file").read_bytes()) == (b"first", b"second")
    assert found == [str(tmp_path / "file")]


def test_without_locks_each_has_a_file_of_its_own(tmp_path, monkeypatch):
    def no_locks(file, operation):
        raise OSError(ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with exclusive(tmp_path / "file") as one, exclusive(tmp_path / "file") as two:
        one.write(b"content")
        assert len({one.name, two.name, str(tmp_path / "file")}) == 3
        assert {str(path) for path in tmp_path.iterdir()} == {one.name, two.name}
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_told_whether_another_process_holds_a_lock(tmp_path):
    path = tmp_path / ".lock"
    assert not is_held(path)
    path.touch()
    assert not is_held(path)
    with held_elsewhere(path):
        assert is_held(path)
    assert not is_held(path)


def test_a_lock_file_that_was_removed_before_it_could_be_locked_holds_nothing(tmp_path, monkeypatch):
    """Its holder has ended between opening and locking; a third process would make a new file and hold that."""
    path, original, calls = tmp_path / ".lock", fcntl.lockf, []

    def lockf(file, operation):
        calls.append(1)
        if len(calls) == 1:
            path.unlink()
        return original(file, operation)

    monkeypatch.setattr(fcntl, "lockf", lockf)
    with held(path, "held"):
        assert path.is_file()
    assert len(calls) == 2
    assert not path.exists()
