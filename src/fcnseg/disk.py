"""What a disk is asked for: room, files that are what they should be, and one process at a time."""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

ALGORITHMS = ("sha256", "sha1", "md5")
"""What a checksum may start with, as in "md5:...". """

CLAIM = ".job.lock"
"""Held in a job's folder by the launcher that runs it."""

POLL_S = 0.2
"""Seconds between two looks at a file that another process holds."""


def mismatch(path: Path, size: int | None, checksum: str | None) -> str:
    """Says how a file differs from what is known of it; empty if it does not.

    Args:
        path: an existing file.
        size: bytes, None if unknown.
        checksum: as of ``fetch``, None if unknown.

    Raises:
        OSError: the file cannot be read.
        ValueError: as ``check_checksum``.
    """
    check_checksum(checksum)
    found = path.stat().st_size
    if size is not None and found != size:
        return f"has {found:,} bytes instead of {size:,}"
    if checksum is None:
        return ""
    algorithm, _, digest = checksum.partition(":")
    with path.open("rb") as file:
        # These sums tell a damaged file from a whole one; processors under FIPS rules refuse md5 for anything else.
        result = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    return "" if result == digest.lower() else f"has {algorithm} {result} instead of {digest}"


def check_checksum(checksum: str | None) -> None:
    """Refuses what is no checksum.

    Raises:
        ValueError: says what one looks like.
    """
    algorithm, _, digest = (checksum or "").partition(":")
    if checksum is None or (algorithm in ALGORITHMS and re.fullmatch(r"[0-9a-fA-F]{32,64}", digest)):
        return
    raise ValueError(f"{checksum!r} is no checksum: write {' or '.join(f'{name}:...' for name in ALGORITHMS)}")


def nearest(folder: Path) -> Path:
    """Returns a folder, or of the paths above one that does not exist yet the first that does."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def require_space(folder: Path, needed: int) -> None:
    """Checks that a disk has room.

    Args:
        folder: on that disk; it need not exist yet.
        needed: bytes.

    Raises:
        ValueError: says how much is free and how much is needed.
    """
    free = shutil.disk_usage(nearest(folder)).free
    if free < needed:
        raise ValueError(
            f"{folder} has {free / 1e9:,.2f} GB free, and {needed / 1e9:,.2f} GB are needed: make room, or choose a "
            "folder on another disk"
        )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Gives an error of the disk a remedy.

    Raises:
        ValueError: path could not be written.
    """
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error)
        raise ValueError(f"{path} cannot be written ({said}): make room there, or choose another folder") from error


def write_durably(path: Path, write: Callable[[BinaryIO], object], shared: bool = False) -> None:
    """Writes a file that is either complete or not there, whatever happens: beside it, synced, then renamed.

    Args:
        path: the file; what was there before stays until the new one is whole.
        write: writes the content.
        shared: whether several processes may write it at once, each then a file of its own first.

    Raises:
        ValueError: the disk is full, or refuses otherwise; nothing is left of the new file.
    """
    unfinished = path.with_name(f".{path.name}{f'.{uuid4().hex}' if shared else ''}.unfinished")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """Returns what a file holds; empty if it is not there, or is no JSON of an object."""
    with suppress(OSError, ValueError):
        content = json.loads(path.read_text())
        return content if isinstance(content, dict) else {}
    return {}


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder survive a loss of power, where the system can do that."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


@contextmanager
def held(path: Path, refusal: str) -> Iterator[None]:
    """Holds a lock file for as long as this process works, and removes it at the end; a killed process lets go of it.

    Unlike that of ``exclusive`` the lock does not pass to processes that are forked, so that loader workers that
    outlive a killed run for some seconds hold nothing up. Where the file system knows no locks, nothing is held.

    Args:
        path: the lock file.
        refusal: what to say if another process holds it.

    Raises:
        ValueError: the file cannot be made.
        FileExistsError: another process holds it.
    """
    while True:
        with _opened(path) as file:
            if _taken(file, refusal) and not _is_at(file, path):
                continue  # whoever held it before has removed it in between; a third process may hold a new one
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def is_held(path: Path) -> bool:
    """Says whether another process holds a lock file; false where the file system knows no locks."""
    try:
        with path.open("rb+") as file:
            _taken(file, "")
    except FileExistsError:
        return True
    except OSError:
        return False
    return False


def _taken(file: BinaryIO, refusal: str) -> bool:
    """Takes a lock that processes that are forked do not get; False where there are none."""
    try:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise FileExistsError(refusal) from error
    except (ImportError, OSError):
        return False
    return True


@contextmanager
def exclusive(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[BinaryIO]:
    """Opens a file to append to it, while no other process and no other thread does.

    The holder may rename the file: those who wait then start over with a new one. An empty file is removed at the
    end. Where the file system knows no locks, each gets a file of its own, path with an ending that nobody else has,
    and that is always removed.

    Args:
        path: the file; made, with its folder, if it is not there.
        waiting: called now and then while another process holds it.

    Yields:
        The open file; its name tells which one it is.

    Raises:
        ValueError: the file cannot be made.
    """
    while True:
        with _opened(path) as file:
            if not _locked(file, waiting):
                break
            if _is_at(file, path):
                try:
                    yield file
                finally:
                    file.flush()
                    if _is_at(file, path) and not path.stat().st_size:
                        path.unlink()
                return
    if not path.stat().st_size:
        path.unlink()
    own = path.with_name(f"{path.name}.{uuid4().hex}")
    try:
        with _opened(own) as file:
            yield file
    finally:
        own.unlink(missing_ok=True)


def _opened(path: Path) -> BinaryIO:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+b")


def _locked(file: BinaryIO, waiting: Callable[[], None]) -> bool:
    """Waits for the lock of a file; False where there are none, as on Windows and on some network file systems."""
    try:
        import fcntl
    except ImportError:
        return False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            time.sleep(POLL_S)
        except OSError:
            return False
        else:
            return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
