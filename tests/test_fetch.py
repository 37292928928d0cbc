"""The fetcher, against a server that dies, hangs, lies, forgets and changes its mind."""

import fcntl
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fcnseg import disk, fetch
from fcnseg.fetch import FetchError
from file_server import running

CONTENT = bytes(range(256)) * 400
SIZE = len(CONTENT)
SHA1 = f"sha1:{hashlib.sha1(CONTENT).hexdigest()}"
KNOWN = {"size": SIZE, "checksum": SHA1}
OTHER = CONTENT[::-1]


@pytest.fixture(scope="module")
def shared_server():
    with running() as server:
        yield server


@pytest.fixture
def server(shared_server, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch, "BACKOFF_S", 0.001)
    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(disk, "POLL_S", 0.002)
    shared_server.pages.clear()
    return shared_server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "folder" / "file.tar"


@pytest.fixture
def dead():
    """An address where nobody listens."""
    return "http://127.0.0.1:9/file.tar"


def left(target):
    """Names beside the target, the target included."""
    return sorted(path.name for path in target.parent.iterdir())


def begin(target, content, **notes):
    """Leaves a part behind, as an interrupted download does."""
    target.parent.mkdir(exist_ok=True)
    target.with_name("file.tar.part").write_bytes(content)
    if notes:
        target.with_name("file.tar.part.json").write_text(json.dumps(notes))


# ---- when all goes well


@pytest.mark.parametrize("known", [KNOWN, {"size": SIZE}, {"checksum": SHA1}, {}], ids=lambda known: "+".join(known))
def test_the_file_comes_whole_and_nothing_else_stays(server, target, known):
    url, page = server.add("/a", CONTENT)
    heard = []
    assert fetch.fetch([url], target, **known, progress=lambda *said: heard.append(said)) == target
    assert target.read_bytes() == CONTENT
    assert left(target) == ["file.tar"]
    assert page.asked == [(None, None)]
    assert heard[0] == (0, SIZE)
    assert heard[-1] == (SIZE, SIZE)
    assert heard == sorted(heard)


def test_a_length_that_nobody_knows_is_no_obstacle(server, target):
    url, _ = server.add("/a", CONTENT, sized=False)
    heard = []
    fetch.fetch([url], target, checksum=SHA1, progress=lambda *said: heard.append(said))
    assert target.read_bytes() == CONTENT
    assert heard[-1] == (SIZE, None)


def test_a_fitting_file_is_left_alone(target, dead):
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    before = target.stat()
    fetch.fetch([dead], target, **KNOWN)
    assert target.stat() == before
    assert left(target) == ["file.tar"]


@pytest.mark.parametrize("wrong", [CONTENT[:-1], OTHER, b""], ids=["short", "other", "empty"])
def test_a_file_that_does_not_fit_is_replaced_by_one_that_does(server, target, wrong):
    url, _ = server.add("/a", CONTENT)
    begin(target, b"")
    target.write_bytes(wrong)
    fetch.fetch([url], target, **KNOWN)
    assert target.read_bytes() == CONTENT


def test_a_file_that_does_not_fit_stays_when_nothing_better_comes(target, dead):
    begin(target, b"")
    target.write_bytes(OTHER)
    with pytest.raises(FetchError):
        fetch.fetch([dead], target, **KNOWN)
    assert target.read_bytes() == OTHER


# ---- breaks


def test_a_broken_connection_is_taken_up_where_it_broke(server, target):
    url, page = server.add("/a", CONTENT, cuts=[70_000, 10_000], etag='"1"')
    fetch.fetch([url], target, **KNOWN)
    assert target.read_bytes() == CONTENT
    assert page.asked == [(None, None), ("bytes=70000-", '"1"'), ("bytes=80000-", '"1"')]


def test_silence_counts_as_a_break(server, target, monkeypatch):
    monkeypatch.setattr(fetch, "RETRIES", 0)
    url, page = server.add("/a", CONTENT, cuts=[70_000], hangs=True)
    second, _ = server.add("/b", CONTENT)
    fetch.fetch([url, second], target, **KNOWN)
    assert target.read_bytes() == CONTENT
    assert len(page.asked) == 1


def test_a_server_that_never_answers_is_given_up(server, target, monkeypatch):
    monkeypatch.setattr(fetch, "RETRIES", 1)
    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.05)
    url, page = server.add("/a", CONTENT, hangs=True)
    with pytest.raises(FetchError, match=r"/a: silent for 0.05 s \(2 times\)"):
        fetch.fetch([url], target, **KNOWN)
    assert len(page.asked) == 2
    assert left(target) == []


def test_retries_that_get_nowhere_end(server, target, monkeypatch):
    monkeypatch.setattr(fetch, "CHUNK", 50)  # each try brings more than that, and starts over
    url, page = server.add("/a", CONTENT, cuts=[100] * 20, ranges=False)
    with pytest.raises(FetchError, match=r"the connection broke after 100 of 102,400 bytes \(5 times\)"):
        fetch.fetch([url], target, **KNOWN)
    assert len(page.asked) == 1 + fetch.RETRIES
    assert left(target) == ["file.tar.part", "file.tar.part.json"]


def test_retries_that_get_further_do_not_count(server, target, monkeypatch):
    monkeypatch.setattr(fetch, "CHUNK", 1000)
    url, page = server.add("/a", CONTENT, cuts=[5_000] * 15)
    fetch.fetch([url], target, **KNOWN)
    assert len(page.asked) == 16


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_server_in_trouble_is_asked_again(server, target, status):
    url, page = server.add("/a", CONTENT, statuses=[status, status])
    fetch.fetch([url], target, **KNOWN)
    assert len(page.asked) == 3


def test_waiting_doubles_with_each_failure(server, target, monkeypatch):
    slept = []
    monkeypatch.setattr(fetch.time, "sleep", slept.append)
    monkeypatch.setattr(fetch, "BACKOFF_S", 1.0)
    url, _ = server.add("/a", CONTENT, statuses=[500] * 9)
    with pytest.raises(FetchError, match=r"answers 500 Internal Server Error \(5 times\)"):
        fetch.fetch([url], target, **KNOWN)
    assert slept == [1, 2, 4, 8]


# ---- the next call goes on


def test_the_next_call_goes_on_where_ctrl_c_stopped_this_one(server, target):
    url, page = server.add("/a", CONTENT, etag='"1"')

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.fetch([url], target, **KNOWN, progress=stop)
    assert not target.exists()
    came = target.with_name("file.tar.part").stat().st_size
    assert 0 < came <= SIZE
    fetch.fetch([url], target, **KNOWN)
    assert target.read_bytes() == CONTENT
    assert page.asked[1:] == ([(f"bytes={came}-", '"1"')] if came < SIZE else [])
    assert left(target) == ["file.tar"]


def test_the_next_call_goes_on_after_a_kill(server, target):
    url, page = server.add("/a", CONTENT, cuts=[70_000], hangs=True)
    code = "import sys, pathlib; from fcnseg.fetch import fetch; fetch([sys.argv[1]], pathlib.Path(sys.argv[2]))"
    environment = os.environ | {"PYTHONPATH": str(Path(fetch.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", code, url, str(target)], env=environment)
    part = target.with_name("file.tar.part")
    deadline = time.monotonic() + 30
    while (not part.exists() or part.stat().st_size < 70_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    page.hangs = False
    fetch.fetch([url], target, **KNOWN)  # the lock died with its holder
    assert target.read_bytes() == CONTENT
    assert page.asked[1:] == [("bytes=70000-", None)]


def test_a_part_that_is_whole_needs_no_server(target, dead):
    begin(target, CONTENT)
    fetch.fetch([dead], target, **KNOWN)
    assert left(target) == ["file.tar"]


def test_a_part_that_is_whole_is_known_by_the_servers_word_too(server, target):
    url, page = server.add("/a", CONTENT)
    begin(target, CONTENT)
    fetch.fetch([url], target, checksum=SHA1)
    assert page.asked == [(f"bytes={SIZE}-", None)]
    assert left(target) == ["file.tar"]


def test_a_part_beyond_the_end_is_thrown_away(server, target):
    url, page = server.add("/a", CONTENT)
    begin(target, CONTENT + b"more")
    fetch.fetch([url], target, checksum=SHA1)
    assert target.read_bytes() == CONTENT
    assert page.asked == [(f"bytes={SIZE + 4}-", None), (None, None)]


def test_a_part_larger_than_the_size_is_thrown_away(server, target):
    url, page = server.add("/a", CONTENT)
    begin(target, CONTENT + b"more")
    fetch.fetch([url], target, **KNOWN)
    assert target.read_bytes() == CONTENT
    assert page.asked == [(None, None)]


def test_a_part_of_something_else_is_found_out(server, target):
    url, page = server.add("/a", CONTENT)
    begin(target, b"x" * 500)
    fetch.fetch([url], target, **KNOWN)
    assert target.read_bytes() == CONTENT
    assert [asked for asked, _ in page.asked] == ["bytes=500-", None]


def test_a_server_that_ignores_ranges_starts_over_cleanly(server, target):
    url, page = server.add("/a", CONTENT, cuts=[70_000], ranges=False)
    fetch.fetch([url], target, **KNOWN)
    assert target.read_bytes() == CONTENT
    assert len(page.asked) == 2


def test_a_server_that_sends_another_range_starts_over(server, target):
    url, page = server.add("/a", CONTENT, shift=7)
    begin(target, CONTENT[:500])
    fetch.fetch([url], target, **KNOWN)
    assert target.read_bytes() == CONTENT
    assert [asked for asked, _ in page.asked] == ["bytes=500-", None]


@pytest.mark.parametrize(
    "version", [{"etag": '"new"'}, {"date": "Tue, 02 Jan 2024 00:00:00 GMT"}], ids=["etag", "date"]
)
def test_a_file_that_changed_on_the_server_is_fetched_anew(server, target, version):
    url, page = server.add("/a", CONTENT, **version)
    begin(target, OTHER[:500], url=url, version="old")
    fetch.fetch([url], target)
    assert target.read_bytes() == CONTENT
    assert page.asked == [("bytes=500-", "old")]


def test_an_unchanged_file_is_continued_without_a_checksum(server, target):
    url, page = server.add("/a", CONTENT, date="Tue, 02 Jan 2024 00:00:00 GMT", cuts=[500])
    fetch.fetch([url], target)
    assert target.read_bytes() == CONTENT
    assert page.asked == [(None, None), ("bytes=500-", "Tue, 02 Jan 2024 00:00:00 GMT")]


@pytest.mark.parametrize(
    "notes", [{}, {"url": "/other", "version": '"1"'}, {"url": None}], ids=["none", "other", "bad"]
)
def test_without_a_checksum_pieces_of_unknown_origin_are_not_joined(server, target, notes):
    url, page = server.add("/a", CONTENT, etag='"1"')
    begin(target, OTHER[:500], **notes)
    fetch.fetch([url], target, size=SIZE)
    assert target.read_bytes() == CONTENT
    assert page.asked == [(None, None)]


def test_a_weak_etag_names_no_version(server, target):
    url, page = server.add("/a", CONTENT, etag='W/"1"', cuts=[500])
    fetch.fetch([url], target)
    assert page.asked == [(None, None), (None, None)]


# ---- several addresses


def test_addresses_are_tried_in_turn(server, target, dead):
    gone = f"http://127.0.0.1:{server.server_port}/gone"
    url, _ = server.add("/a", CONTENT)
    unused, page = server.add("/b", CONTENT)
    fetch.fetch([dead, gone, url, unused], target, **KNOWN)
    assert target.read_bytes() == CONTENT
    assert page.asked == []


def test_the_next_address_goes_on_with_what_the_first_one_gave(server, target):
    first, _ = server.add("/a", CONTENT, cuts=[70_000] + [0] * 9, etag='"1"')
    second, page = server.add("/b", CONTENT, etag='"2"')
    fetch.fetch([first, second], target, **KNOWN)
    assert target.read_bytes() == CONTENT
    assert page.asked == [("bytes=70000-", None)]


@pytest.mark.parametrize(
    "wrong", [OTHER, CONTENT[:-1], CONTENT + b"x", b"<html>"], ids=["other", "short", "long", "page"]
)
def test_a_wrong_file_is_dropped_for_the_next_address(server, target, wrong):
    first, page = server.add("/a", wrong)
    second, _ = server.add("/b", CONTENT)
    fetch.fetch([first, second], target, **KNOWN)
    assert target.read_bytes() == CONTENT
    assert len(page.asked) == 1
    assert left(target) == ["file.tar"]


def test_a_file_of_another_length_does_not_cost_what_came_before(server, target):
    first, _ = server.add("/a", b"<html>no</html>", ranges=False)
    second, page = server.add("/b", CONTENT)
    begin(target, CONTENT[:500])
    fetch.fetch([first, second], target, **KNOWN)
    assert page.asked == [("bytes=500-", None)]


def test_when_all_fail_the_message_says_what_each_did_and_what_to_do(server, target, dead):
    gone = f"http://127.0.0.1:{server.server_port}/gone"
    wrong, _ = server.add("/wrong", OTHER)
    page, _ = server.add("/page", b"<html>")
    with pytest.raises(FetchError) as caught:
        fetch.fetch([dead, gone, wrong, page, "http://nowhere.invalid/x"], target, **KNOWN)
    lines = str(caught.value).splitlines()
    assert lines[0] == "file.tar could not be downloaded:"
    assert lines[1:3] == [f"  {dead}: Connection refused", f"  {gone}: answers 404 Not Found"]
    assert (
        lines[3] == f"  {wrong}: the file from there has sha1 {hashlib.sha1(OTHER).hexdigest()} instead of {SHA1[5:]}"
    )
    assert lines[4].startswith(f"  {page}: offers 6 bytes of text/plain instead of 102,400 bytes")
    assert lines[5].startswith("  http://nowhere.invalid/x: ")
    assert f"(file.tar, 102,400 bytes, {SHA1})" in lines[6]
    assert lines[6].endswith(f"put it at {target}")
    assert len(lines) == 7
    assert isinstance(caught.value, FileNotFoundError)  # which the commands turn into one message
    assert left(target) == []


def test_redirects_keep_the_range(server, target):
    _, page = server.add("/a", CONTENT)
    begin(target, CONTENT[:500])
    old, _ = server.add("/old", b"", redirect="/a")
    fetch.fetch([old], target, **KNOWN)
    assert target.read_bytes() == CONTENT
    assert page.asked == [("bytes=500-", None)]


# ---- the disk


def test_too_little_space_is_said_before_anything_is_asked(server, target, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    url, page = server.add("/a", CONTENT)
    with pytest.raises(ValueError, match=r"has 0\.00 GB free, and .* are needed: make room"):
        fetch.fetch([url], target, **KNOWN)
    assert page.asked == []
    assert left(target) == []


def test_what_a_part_holds_needs_no_more_space(server, target, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    url, _ = server.add("/a", CONTENT)
    begin(target, CONTENT[:-1000])
    fetch.fetch([url], target, **KNOWN)


def test_a_length_learnt_from_the_server_is_compared_with_the_space_too(server, target, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    url, _ = server.add("/a", CONTENT)
    with pytest.raises(ValueError, match="make room"):
        fetch.fetch([url], target, checksum=SHA1)


def test_a_disk_that_fills_up_keeps_what_came(server, target, monkeypatch):
    url, _ = server.add("/a", CONTENT)
    written = []

    def full(self, piece):
        with disk.writing(self.path):
            if written:
                raise OSError(28, "No space left on device")
            written.append(self.file.write(piece[:300]))

    monkeypatch.setattr(fetch._Part, "append", full)
    monkeypatch.setattr(fetch, "CHUNK", 500)
    with pytest.raises(ValueError, match=r"file\.tar\.part cannot be written .No space left on device.: make room"):
        fetch.fetch([url], target, **KNOWN)
    assert not target.exists()


@pytest.mark.parametrize("urls", [[], ["http://127.0.0.1:9/"]], ids=["no address", "folder"])
def test_arguments_that_make_no_sense_are_refused(target, urls):
    target.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no address|is a folder"):
        fetch.fetch(urls, target)


# ---- two at once


def test_of_two_that_want_the_same_one_fetches_and_the_other_waits(server, target):
    url, page = server.add("/a", CONTENT)
    waited = threading.Event()
    seen = []

    def first(done, total):
        if done and not seen:
            thread.start()
            seen.append(done)
            assert waited.wait(5)

    def second():
        fetch.fetch([url], target, **KNOWN, progress=lambda done, total: (seen.append(done), waited.set()))

    thread = threading.Thread(target=second)
    fetch.fetch([url], target, **KNOWN, progress=first)
    thread.join()
    assert len(page.asked) == 1
    assert seen[1] > 0  # the one that waits sees the other's progress
    assert left(target) == ["file.tar"]


def test_who_waited_goes_on_when_the_first_one_fails(server, target):
    url, page = server.add("/a", CONTENT)
    waited = threading.Event()

    def first(done, total):
        if done:
            thread.start()
            assert waited.wait(5)
            raise KeyboardInterrupt

    def second():
        fetch.fetch([url], target, **KNOWN, progress=lambda done, total: waited.set())

    thread = threading.Thread(target=second)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch([url], target, **KNOWN, progress=first)
    thread.join()
    assert target.read_bytes() == CONTENT
    assert all(re.fullmatch(r"bytes=\d+-", asked) for asked, _ in page.asked[1:])


def test_a_file_system_without_locks_works_too(server, target, monkeypatch):
    def no_locks(file, operation):
        raise OSError(38, "not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    url, _ = server.add("/a", CONTENT, cuts=[70_000])
    fetch.fetch([url], target, **KNOWN)
    assert target.read_bytes() == CONTENT
    assert left(target) == ["file.tar"]
