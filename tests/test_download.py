"""The command that fetches a data set, with small archives on a server of this machine."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console

from fcnseg import disk, download, fetch
from fcnseg.releases import RELEASES
from file_server import running
from test_releases import write_release

NAMES = ("voc2012", "sbd")


@pytest.fixture(scope="module")
def shared_server():
    with running() as server:
        yield server


@pytest.fixture
def server(shared_server, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FCNSEG_DATASETS", raising=False)
    monkeypatch.setattr(fetch, "BACKOFF_S", 0.001)
    monkeypatch.setattr(disk, "POLL_S", 0.002)
    shared_server.pages.clear()
    return shared_server


@pytest.fixture
def small(server, tmp_path, monkeypatch):
    """The releases in small: their archives, by name, and the pages that serve them."""
    made = {}
    for name in NAMES:
        release = replace(RELEASES[name], ids=3)
        top = tmp_path / "packed" / name
        write_release(top / release.inner, release)
        file = tmp_path / "archives" / release.archive
        file.parent.mkdir(exist_ok=True)
        with tarfile.open(file, "w:gz" if name == "sbd" else "w") as tar:
            tar.add(top / release.home, release.home)
        content = file.read_bytes()
        url, page = server.add(f"/{release.archive}", content)
        checksum = f"md5:{hashlib.md5(content).hexdigest()}"
        monkeypatch.setitem(RELEASES, name, replace(release, size=len(content), checksum=checksum, urls=(url,)))
        made[name] = SimpleNamespace(file=file, page=page, release=RELEASES[name])
    return made


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def stopped(capsys, *arguments, status=1):
    """Runs the command, which is to fail; returns what it said."""
    with pytest.raises(SystemExit) as caught:
        download.main([str(argument) for argument in arguments])
    said = capsys.readouterr().err
    assert caught.value.code == status
    assert said.startswith("error: ")
    assert "Traceback" not in said
    return said


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- when all goes well


@pytest.mark.parametrize(
    ("name", "key"), [("voc2012", "data.root=VOCdevkit"), ("sbd", "data.sbd_root=benchmark_RELEASE")]
)
def test_a_set_is_fetched_unpacked_and_named(small, root, capsys, name, key):
    download.main([name, "--root", str(root)])
    release = small[name].release
    assert all(list((root / release.inner).glob(pattern)) for pattern in release.files)
    assert names(root) == [release.home]
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "use it with   " + key.replace("=", f"={root}/")
    assert f"fetching {release.archive}: 0.0 of" in said
    assert "(100%)" in said


def test_what_is_complete_is_said_and_left_alone(small, root, capsys):
    for name in (*NAMES, *NAMES):
        download.main([name, "--root", str(root)])
    said = capsys.readouterr().out.splitlines()
    assert [len(small[name].page.asked) for name in NAMES] == [1, 1]
    assert said[-2:] == [
        f"{root}/benchmark_RELEASE is complete",
        f"use it with   data.root={root}/VOCdevkit data.sbd_root={root}/benchmark_RELEASE",
    ]


def test_another_year_beside_it_stays(small, root):
    (root / "VOCdevkit" / "VOC2007").mkdir(parents=True)
    download.main(["voc2012", "--root", str(root)])
    assert names(root / "VOCdevkit") == ["VOC2007", "VOC2012"]


def test_the_archive_is_kept_on_request(small, root):
    download.main(["sbd", "--root", str(root), "--keep"])
    assert (root / "benchmark.tgz").read_bytes() == small["sbd"].file.read_bytes()


def test_an_archive_that_was_put_there_by_hand_is_used_and_kept(small, root, capsys):
    root.mkdir()
    (root / "benchmark.tgz").write_bytes(small["sbd"].file.read_bytes())
    download.main(["sbd", "--root", str(root)])
    assert small["sbd"].page.asked == []
    assert names(root) == ["benchmark.tgz", "benchmark_RELEASE"]
    assert "benchmark.tgz stays" in capsys.readouterr().out


def test_an_archive_from_elsewhere_is_verified_and_left_alone(small, root, capsys):
    file = small["voc2012"].file
    download.main(["voc2012", "--root", str(root), "--archive", str(file)])
    assert small["voc2012"].page.asked == []
    assert file.exists()
    assert names(root) == ["VOCdevkit"]
    assert f"verifying {file}" in capsys.readouterr().out


def test_the_root_is_a_folder_here_or_what_the_environment_says(small, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    download.main(["sbd"])
    monkeypatch.setenv("FCNSEG_DATASETS", str(root))
    download.main(["sbd"])
    assert names(tmp_path / "datasets") == names(root) == ["benchmark_RELEASE"]


# ---- when it does not


def test_offline_the_message_says_what_to_do(small, root, capsys, monkeypatch):
    release = replace(small["voc2012"].release, urls=("http://127.0.0.1:9/a", "http://127.0.0.1:9/b"))
    monkeypatch.setitem(RELEASES, "voc2012", release)
    said = stopped(capsys, "voc2012", "--root", root)
    assert f"VOCtrainval_11-May-2012.tar, {release.size:,} bytes, {release.checksum}" in said
    assert "http://127.0.0.1:9/a: Connection refused" in said
    assert f"put it at {root}/VOCtrainval_11-May-2012.tar\nor name it with --archive FILE; then run" in said
    assert names(root) == []


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-1], lambda content: content[:-1] + b"x"], ids=["cut", "other"]
)
def test_a_wrong_archive_is_refused_before_it_is_opened(small, root, capsys, damage):
    file = small["sbd"].file
    file.write_bytes(damage(file.read_bytes()))
    said = stopped(capsys, "sbd", "--root", root, "--archive", file)
    assert f"{file} is not the benchmark.tgz it should be, or is damaged: it has " in said
    assert file.exists()
    assert names(root) == []


def test_an_archive_that_is_not_there_is_named(small, root, capsys):
    assert "there is no archive nowhere.tgz" in stopped(capsys, "sbd", "--root", root, "--archive", "nowhere.tgz")


def test_a_hostile_archive_leaves_nothing_but_itself(small, root, capsys, monkeypatch):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("benchmark_RELEASE/../../escaped"))
    served = content.getvalue()
    small["sbd"].page.content = served
    checksum = f"md5:{hashlib.md5(served).hexdigest()}"
    monkeypatch.setitem(RELEASES, "sbd", replace(small["sbd"].release, size=len(served), checksum=checksum))
    assert "is not safe to unpack" in stopped(capsys, "sbd", "--root", root)
    assert names(root) == ["benchmark.tgz"]
    assert not (root.parent / "escaped").exists()


def test_an_incomplete_folder_is_not_taken_for_the_set(small, root, capsys):
    download.main(["sbd", "--root", str(root)])
    (root / "benchmark_RELEASE/dataset/cls/b2.mat").unlink()
    said = stopped(capsys, "sbd", "--root", root)
    assert "1 files such as dataset/cls/b2.mat are missing: remove the folder" in said


def test_space_for_the_archive_and_its_content_is_wanted_first(small, root, capsys, monkeypatch):
    size = small["sbd"].release.size
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2 * size - 1))
    assert "are needed: make room, or choose" in stopped(capsys, "sbd", "--root", root)
    assert small["sbd"].page.asked == []


def test_ctrl_c_says_how_to_go_on_and_a_later_run_does(small, root, capsys, monkeypatch):
    class Stop(download.Lines):
        def __call__(self, done, total):
            if done:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "Lines", Stop)
        assert "the same command goes on from here" in stopped(capsys, "sbd", "--root", root, status=130)
    assert names(root) == ["benchmark.tgz.part", "benchmark.tgz.part.json"]
    download.main(["sbd", "--root", str(root)])
    assert names(root) == ["benchmark_RELEASE"]


def test_of_two_commands_at_once_one_fetches(small, root, capsys, monkeypatch):
    waiting = threading.Event()
    second = threading.Thread(target=download.main, args=(["sbd", "--root", str(root)],))
    sleep = disk.time.sleep
    monkeypatch.setattr(disk.time, "sleep", lambda seconds: (waiting.set(), sleep(seconds)))

    class Slow(download.Lines):
        def __call__(self, done, total):
            if not second.ident:
                second.start()
                assert waiting.wait(5)

    monkeypatch.setattr(download, "Lines", Slow)
    download.main(["sbd", "--root", str(root)])
    second.join()
    said = capsys.readouterr().out
    assert said.count("another process is fetching") == 1
    assert said.count("is complete") == 2
    assert len(small["sbd"].page.asked) == 1
    assert names(root) == ["benchmark_RELEASE"]


@pytest.mark.parametrize("arguments", [[], ["voc2013"], ["sbd", "--rot", "x"]])
def test_a_wrong_command_line_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        download.main(arguments)
    assert "usage: python -m fcnseg.download" in capsys.readouterr().err


# ---- what is shown


@pytest.mark.parametrize("folder", ["plain", "with space", "näme", "a,b=[c]", 'quo"te', "back\\slash", "it's"])
def test_the_overrides_name_the_folder_to_hydra_and_to_a_shell(tmp_path, folder):
    root = tmp_path / folder
    for release in RELEASES.values():
        (root / release.inner).mkdir(parents=True)
    words = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {' '.join(download.overrides(root))}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    parsed = OverridesParser.create().parse_overrides(words)
    found = {override.key_or_group: override.value() for override in parsed}
    assert found == {"data.root": f"{root}/VOCdevkit", "data.sbd_root": f"{root}/benchmark_RELEASE"}


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch):
    shown, now = io.StringIO(), [100.0]
    monkeypatch.setattr(download.time, "monotonic", lambda: now[0])
    with download.meter("fetching it", Console(file=shown, width=200)) as heard:
        for done in range(0, 2_000_001, 1000):
            heard(done, 2_000_000)
            now[0] += 0.015
        heard(2_000_000, 2_000_000)
    lines = shown.getvalue().splitlines()
    assert lines[0] == "fetching it: 0.0 of 2.0 MB (0%)"
    assert lines[-1] == "fetching it: 2.0 of 2.0 MB (100%)"
    assert len(lines) == 4  # at 0, 10 and 20 s, and the end


def test_an_unknown_length_is_shown_too():
    shown = io.StringIO()
    with download.meter("fetching it", Console(file=shown)) as heard:
        heard(1_500_000, None)
    assert shown.getvalue() == "fetching it: 1.5 MB\n"


def test_a_terminal_shows_a_bar():
    shown = io.StringIO()
    with download.meter("fetching it", Console(file=shown, force_terminal=True, width=100)) as heard:
        heard(0, 2_000_000)
        heard(2_000_000, 2_000_000)
    assert "━" in shown.getvalue()
    assert "2.0/2.0 MB" in shown.getvalue()


def test_the_command_starts_without_anything_heavy():
    code = (
        "import sys, fcnseg.download as command; command.parser(); "
        "print([name for name in ('torch', 'lightning', 'numpy', 'hydra', 'rich') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(download.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "[]\n"
