"""Unpacking: whole or not at all, and nothing that an archive holds gets out of its folder."""

import io
import tarfile
import threading
from types import SimpleNamespace

import pytest

from fcnseg import disk
from fcnseg.unpack import unpack

FILES = {"top/set/a.txt": b"a" * 3000, "top/set/deep/b.txt": b"", "top/set/deep/c.txt": b"c" * 512, "top/other": b"no"}


def member(name, kind=tarfile.REGTYPE, link="", size=0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def pack(path, files=FILES, *more, mode="w"):
    """Writes an archive: files by name, then members as they are, with the bytes that they claim, if few."""
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            tar.addfile(member(name, size=len(content)), io.BytesIO(content))
        for info in more:
            if info.size > 1 << 20:  # a claim and nothing behind it, which addfile does not write
                tar.fileobj.write(info.tobuf(tar.format))
            else:
                tar.addfile(info, io.BytesIO(bytes(info.size)))
    return path


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "archive.tar"


@pytest.fixture
def target(tmp_path):
    """Inside a folder of its own, so that what escapes is seen."""
    return tmp_path / "root" / "home" / "set"


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive, target, message, **options):
    """Checks that an archive is refused with a message, and leaves nothing anywhere."""
    with pytest.raises(ValueError, match=message):
        unpack(archive, target, inner="top/set", **options)
    assert not target.exists()
    assert list(target.parent.iterdir()) == []
    assert {path.name for path in archive.parent.iterdir()} <= {"archive.tar", "root", "outside"}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_the_folder_comes_whole_and_the_rest_is_left_out(archive, target, mode, kind, monkeypatch):
    monkeypatch.setattr(tarfile.TarFile, "format", kind)
    heard = []
    pack(archive, FILES, member("top/set/empty", tarfile.DIRTYPE), member("top/set/empty/", tarfile.DIRTYPE), mode=mode)
    assert unpack(archive, target, inner="top/set", progress=lambda *said: heard.append(said)) == target
    assert tree(target) == {"a.txt": b"a" * 3000, "deep/b.txt": b"", "deep/c.txt": b"c" * 512}
    assert (target / "empty").is_dir()
    assert [path.name for path in target.parent.iterdir()] == ["set"]
    assert target.stat().st_mode == target.parent.stat().st_mode
    assert heard == sorted(heard)
    assert heard[-1] == (archive.stat().st_size,) * 2


def test_names_with_dots_long_names_and_other_alphabets(archive, target):
    long = "top/set/" + "long/" * 40 + "näme 名.txt"
    pack(archive, {"./top/./set//x.txt": b"x", long: b"y"})
    unpack(archive, target, inner="top/set")
    assert sorted(tree(target).values()) == [b"x", b"y"]


# ---- hostile archives


@pytest.mark.parametrize(
    "name",
    ["../escaped", "top/set/../../../escaped", "/escaped", "//escaped", "top/set/..", "C:/escaped", "..\\escaped"],
)
def test_no_path_leads_out_of_the_folder(archive, target, name):
    refused(pack(archive, FILES, member(name, size=3)), target, "is no path inside of a folder")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "pipe"),
        (tarfile.GNUTYPE_SPARSE, "special file"),
    ],
)
@pytest.mark.parametrize("name", ["top/set/bad", "elsewhere"])
def test_nothing_but_files_and_folders_comes_in(archive, target, kind, said, name):
    refused(pack(archive, FILES, member(name, kind, "a.txt")), target, f"'{name}' is a {said}")


def test_nothing_is_written_through_a_link(archive, target, tmp_path):
    (tmp_path / "outside").mkdir()
    link = member("top/set/door", tarfile.SYMTYPE, str(tmp_path / "outside"))
    refused(pack(archive, {}, link, member("top/set/door/escaped", size=3)), target, "door' is a symbolic link")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("name", ["top/set/a.txt", "./top/set//a.txt", "top/set/A.TXT"])
def test_no_file_comes_twice(archive, target, name):
    refused(pack(archive, FILES, member(name, size=3)), target, "comes twice")


@pytest.mark.parametrize(
    "bad",
    [member("top/set/a.txt/below", size=3), member("top/set/a.txt", tarfile.DIRTYPE), member("top/set/deep", size=3)],
    ids=["below a file", "folder", "file"],
)
def test_no_name_is_a_file_and_a_folder(archive, target, bad):
    refused(pack(archive, FILES, bad), target, "comes twice|is a file and a folder")


def test_two_spellings_of_one_accent_are_one_name(archive, target):
    refused(pack(archive, {"top/set/\u00e9": b"1", "top/set/e\u0301": b"2"}), target, "comes twice")


def test_a_huge_claimed_size_is_refused_before_anything_is_written(archive, target):
    refused(
        pack(archive, FILES, member("top/set/huge", size=10**15)), target, "take 1,000,000,000,003,514 bytes and more"
    )


def test_many_small_sizes_add_up(archive, target):
    refused(pack(archive), target, "take 3,512 bytes and more, 3,511 are allowed", max_bytes=3511)
    unpack(archive, target, inner="top/set", max_bytes=3514)


def test_the_number_of_members_is_limited(archive, target):
    refused(pack(archive), target, "more than 3 files and folders", max_members=3)
    unpack(archive, target, inner="top/set", max_members=4)


# ---- damaged and wrong archives


@pytest.mark.parametrize("content", [b"", b"<html>no</html>", bytes(100), b"\x1f\x8b\x08junk"])
def test_what_is_no_archive_is_refused(archive, target, content):
    archive.write_bytes(content)
    refused(archive, target, r"archive\.tar is damaged or no tar archive")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.7])
def test_an_archive_that_breaks_off_is_refused(archive, target, mode, share):
    pack(archive, {f"top/set/{i}": bytes(range(256)) * i for i in range(40)}, mode=mode)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    refused(archive, target, "is damaged")


def test_an_archive_that_breaks_off_between_two_files_is_refused(archive, target):
    pack(archive, {"top/set/a": b"a" * 512, "top/set/b": b"b" * 512})
    archive.write_bytes(archive.read_bytes()[:2048])  # a header and a block each; the zeros at the end are gone
    refused(archive, target, "breaks off after 2 files")


def test_damage_in_a_later_header_is_noticed(archive, target):
    pack(archive, {"top/set/a": b"a" * 512, "top/set/b": b"b" * 512})
    content = bytearray(archive.read_bytes())
    content[1024:1030] = b"broken"
    archive.write_bytes(content)
    refused(archive, target, "breaks off after 1 files")


def test_an_archive_of_something_else_is_refused(archive, target):
    refused(pack(archive, {"other/file": b""}), target, "holds no folder for set")


def test_an_archive_that_is_not_there(archive, target):
    with pytest.raises(FileNotFoundError, match="there is no archive"):
        unpack(archive, target, inner="top/set")


# ---- interruptions and neighbours


def test_ctrl_c_leaves_nothing(archive, target):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(pack(archive), target, inner="top/set", progress=stop)
    assert list(target.parent.iterdir()) == []
    unpack(archive, target, inner="top/set")
    assert len(tree(target)) == 3


def test_what_a_killed_process_left_is_cleared_away(archive, target):
    left = target.parent / ".set.unpacking.files" / "top" / "set"
    left.mkdir(parents=True)
    (left / "junk").touch()
    (target.parent / ".set.unpacking").touch()
    unpack(pack(archive), target, inner="top/set")
    assert len(tree(target)) == 3
    assert [path.name for path in target.parent.iterdir()] == ["set"]


def test_what_is_there_is_not_touched(archive, target):
    target.mkdir(parents=True)
    with pytest.raises(FileExistsError, match="is there already: remove it"):
        unpack(pack(archive), target, inner="top/set")
    assert list(target.iterdir()) == []


def test_of_two_at_once_one_unpacks_and_the_other_waits(archive, target, monkeypatch):
    monkeypatch.setattr(disk, "POLL_S", 0.002)
    waits, results = [], []
    second = threading.Thread(target=lambda: results.append(unpack(archive, target, inner="top/set")))
    sleep = disk.time.sleep
    monkeypatch.setattr(disk.time, "sleep", lambda seconds: (waits.append(seconds), sleep(seconds)))

    def first(done, total):
        if not second.ident:
            second.start()
            while not waits:
                sleep(0.001)

    unpack(pack(archive), target, inner="top/set", progress=first)
    second.join()
    assert results == [target]
    assert len(tree(target)) == 3


def test_too_little_space_is_said_first(archive, target, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    refused(pack(archive), target, "GB are needed: make room")


def test_a_disk_that_fills_up_leaves_nothing(archive, target, monkeypatch):
    def writing(path):
        if path.name == "c.txt":
            raise ValueError(f"{path} cannot be written (No space left on device): make room there")
        return disk.writing(path)

    monkeypatch.setattr("fcnseg.unpack.writing", writing)
    refused(pack(archive), target, "No space left on device")
