"""Unpacks a folder of a tar archive: plain files and folders only, never outside the target, whole or not at all."""

import gzip
import lzma
import shutil
import tarfile
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from fcnseg.disk import exclusive, require_space, writing

MAX_BYTES = 20_000_000_000
"""What the files of an archive may take together, many times what VOC or SBD do."""

MAX_MEMBERS = 500_000
"""Files and folders that an archive may hold."""

CHUNK = 1 << 20
"""Bytes copied at a time."""

KINDS = {
    tarfile.SYMTYPE: "symbolic link",
    tarfile.LNKTYPE: "hard link",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "pipe",
}
"""What an archive may hold besides files and folders, and nothing here wants."""


def unpack(
    archive: Path,
    target: Path,
    *,
    inner: str,
    max_bytes: int = MAX_BYTES,
    max_members: int = MAX_MEMBERS,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Unpacks one folder of an archive; target appears when everything is in it, and not before.

    Args:
        archive: a tar file, compressed or not.
        target: where that folder shall be; it must not exist. If another process is unpacking it, this one waits.
        inner: the folder's path in the archive; the rest is checked and left out.
        max_bytes: an archive that claims more is refused.
        max_members: likewise.
        progress: hears how many bytes of the archive are done, and how many it has.

    Returns:
        target.

    Raises:
        FileExistsError: target is there already.
        FileNotFoundError: there is no such archive.
        ValueError: the archive is damaged, has no such folder, or holds what it must not; or the disk has too little
            space. Nothing of it stays.
    """
    if target.exists():
        raise FileExistsError(f"{target} is there already: remove it, or choose another folder")
    if not archive.is_file():
        raise FileNotFoundError(f"there is no archive {archive}")
    with exclusive(target.with_name(f".{target.name}.unpacking")) as lock:
        work = Path(f"{lock.name}.files")
        shutil.rmtree(work, ignore_errors=True)  # what a process that was killed has left
        try:
            if not target.exists():  # else the process that we waited for made it
                require_space(target.parent, archive.stat().st_size)
                _extract(archive, work, PurePosixPath(inner), _Guard(max_bytes, max_members), progress)
                _publish(archive, work / inner, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target


def _publish(archive: Path, folder: Path, target: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"{archive} is another archive than it should be: it holds no folder for {target.name}")
    with writing(target):
        folder.rename(target)


def _extract(
    archive: Path,
    work: Path,
    inner: PurePosixPath,
    guard: "_Guard",
    progress: Callable[[int, int | None], None] | None,
) -> None:
    total, report = archive.stat().st_size, progress or (lambda done, total: None)
    with writing(work):
        work.mkdir()
    try:
        with archive.open("rb") as file, tarfile.open(fileobj=file, mode="r:*") as tar:
            for member in tar:
                path = guard.admitted(member, work)
                if path.is_relative_to(inner):
                    _write(tar, member, work / path)
                report(file.tell(), total)
            _check_end(tar)
            report(total, total)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise ValueError(f"{archive} is damaged or no tar archive ({error}): bring it anew") from error
    except _HostileError as error:
        raise ValueError(f"{archive} is not safe to unpack: {error}. Bring it anew from a place you trust") from error


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    with writing(path):
        (path if member.isdir() else path.parent).mkdir(parents=True, exist_ok=True)
    if member.isdir():
        return
    with writing(path):
        file = path.open("xb")  # x: never through what is there already
    source = tar.extractfile(member)
    assert source is not None
    with file, source:
        while piece := source.read(CHUNK):
            with writing(path):
                file.write(piece)
                file.flush()


def _check_end(tar: tarfile.TarFile) -> None:
    """Checks that a block of zeros ended the archive: at a cut or at damage tarfile just stops."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"it breaks off after {len(tar.getmembers()):,} files and folders")


class _HostileError(Exception):
    """A member that no data set has, and that may do harm."""


class _Guard:
    """Admits the members of one archive, one after the other, as long as they are what they should be."""

    def __init__(self, max_bytes: int, max_members: int) -> None:
        self.max_bytes, self.max_members = max_bytes, max_members
        self.bytes = self.members = 0
        self.kinds: dict[PurePosixPath, str] = {}

    def admitted(self, member: tarfile.TarInfo, work: Path) -> PurePosixPath:
        """Returns a member's path."""
        self._count(member)
        if not (member.isfile() or member.isdir()) or member.issparse():
            kind = KINDS.get(member.type, "special file")
            raise _HostileError(f"{member.name!r} is a {kind}")
        path = _safe_path(member.name)
        self._place(path, "folder" if member.isdir() else "file")
        if hasattr(tarfile, "data_filter"):  # Python's own opinion, from 3.11.4 on
            try:
                tarfile.data_filter(member, str(work))
            except tarfile.FilterError as error:
                raise _HostileError(str(error)) from error
        return path

    def _count(self, member: tarfile.TarInfo) -> None:
        self.members += 1
        self.bytes += member.size
        if member.size < 0 or self.bytes > self.max_bytes:
            raise _HostileError(f"its files take {self.bytes:,} bytes and more, {self.max_bytes:,} are allowed")
        if self.members > self.max_members:
            raise _HostileError(f"it holds more than {self.max_members:,} files and folders")

    def _place(self, path: PurePosixPath, kind: str) -> None:
        """Refuses what comes twice, or comes as a file and as a folder; some disks know no case and one accent."""
        path = PurePosixPath(unicodedata.normalize("NFC", str(path)).casefold())
        if kind == "file" and path in self.kinds:
            raise _HostileError(f"{str(path)!r} comes twice")
        for place, expected in ((path, kind), *((parent, "folder") for parent in path.parents)):
            if self.kinds.setdefault(place, expected) != expected:
                raise _HostileError(f"{str(place)!r} is a file and a folder")


def _safe_path(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    # A colon or a backslash leads elsewhere on Windows.
    if path.is_absolute() or ".." in path.parts or any(sign in name for sign in "\0\\:"):
        raise _HostileError(f"{name!r} is no path inside of a folder")
    return path
