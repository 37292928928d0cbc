"""python -m fcnseg.download voc2012|sbd: fetches a data set, verifies it and unpacks it."""

import argparse
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fcnseg.disk import exclusive, mismatch, require_space
from fcnseg.fetch import FetchError, fetch
from fcnseg.releases import RELEASES, Release, check_complete
from fcnseg.unpack import unpack

if TYPE_CHECKING:
    from rich.console import Console

EVERY_S = 10.0
"""Seconds between two lines of progress where there is no terminal."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetches what the command line names; every error is one message and exit status 1."""
    options = parser().parse_args(arguments)
    console = _console()
    try:
        provide(RELEASES[options.name], options.root, options.archive, options.keep, console)
    except KeyboardInterrupt:
        _stop("interrupted; the same command goes on from here", 130)
    except (ValueError, OSError) as error:
        _stop(str(error), 1)
    console.print("use it with  ", *overrides(options.root))


def parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    result = argparse.ArgumentParser(prog="python -m fcnseg.download", description="Fetches a data set.")
    result.add_argument("name", choices=RELEASES, help="PASCAL VOC 2012, or SBD, whose masks the paper trained on")
    result.add_argument(
        "--root",
        type=Path,
        metavar="FOLDER",
        default=Path(os.environ.get("FCNSEG_DATASETS") or "datasets"),
        help="where data sets lie: FOLDER/VOCdevkit/VOC2012, FOLDER/benchmark_RELEASE (default: the environment "
        "variable FCNSEG_DATASETS, or else datasets)",
    )
    result.add_argument("--archive", type=Path, metavar="FILE", help="an archive that you have already: no download")
    result.add_argument("--keep", action="store_true", help="keep the downloaded archive when it is unpacked")
    return result


def _console(stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)


def _stop(text: str, status: int) -> None:
    _console(stderr=True).print("error:", text)
    sys.exit(status)


def provide(release: Release, root: Path, archive: Path | None, keep: bool, console: "Console") -> None:
    """Puts a data set below root, unless it is there.

    Args:
        release: which one.
        root: where data sets lie; made if need be.
        archive: the archive where the user has it; it is verified, and left alone.
        keep: leave a downloaded archive where it is.
        console: hears what happens.

    Raises:
        FetchError: no address gives the archive.
        FileNotFoundError: there is no such archive.
        ValueError: the archive is not the right one, what is below root is not complete, or the disk is too full.
    """
    home = root / release.inner
    notice = [f"another process is fetching {home}: waiting for it"]

    def waiting() -> None:
        if notice:
            console.print(notice.pop())

    if not home.exists():
        with exclusive(root / f".{release.archive}.lock", waiting):
            if not home.exists():
                _place(release, root, archive, keep, console)
    check_complete(release, home)
    console.print(f"{home} is complete")


def _place(release: Release, root: Path, archive: Path | None, keep: bool, console: "Console") -> None:
    downloaded = archive is None and not (root / release.archive).exists()
    source = download(release, root, console) if archive is None else verified(release, archive, console)
    with meter(f"unpacking {source.name}", console) as progress:
        unpack(source, root / release.inner, inner=release.inner, progress=progress)
    if downloaded and not keep:
        source.unlink()
    else:
        console.print(f"{source} stays; it is not needed any more")


def download(release: Release, root: Path, console: "Console") -> Path:
    """Brings the archive of a data set.

    Returns:
        The archive, in root.

    Raises:
        FetchError: no address gives it.
        ValueError: the disk has no room for the archive and what is in it.
    """
    target = root / release.archive
    there = sum(path.stat().st_size for path in (target, target.with_name(f"{target.name}.part")) if path.is_file())
    require_space(root, 2 * release.size - there)
    try:
        with meter(f"fetching {release.archive}", console) as progress:
            return fetch(release.urls, target, size=release.size, checksum=release.checksum, progress=progress)
    except FetchError as error:
        raise FetchError(f"{error}\nor name it with --archive FILE; then run this command again") from error


def verified(release: Release, archive: Path, console: "Console") -> Path:
    """Returns an archive that the user has, if it is the right one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another file than it should be.
    """
    if not archive.is_file():
        raise FileNotFoundError(f"there is no archive {archive}: name {release.archive} with --archive")
    console.print(f"verifying {archive}")
    if fault := mismatch(archive, release.size, release.checksum):
        raise ValueError(f"{archive} is not the {release.archive} it should be, or is damaged: it {fault}")
    return archive


def overrides(root: Path) -> list[str]:
    """Returns what tells fcnseg.train where the data sets below root lie, for a shell."""
    there = [release for release in RELEASES.values() if (root / release.inner).is_dir()]
    return [shlex.quote(f"{release.key}={_value(str((root / release.home).absolute()))}") for release in there]


def _value(path: str) -> str:
    """Quotes a path where Hydra would read other things into it."""
    return path if re.fullmatch(r"[\w/.+-]+", path, re.ASCII) else '"{}"'.format(path.replace('"', '\\"'))


@contextmanager
def meter(label: str, console: "Console") -> Iterator[Callable[[int, int | None], None]]:
    """Shows progress in bytes: a bar on a terminal, else a line now and then."""
    if not console.is_terminal:
        yield Lines(label, console)
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class Lines:
    """Progress for logs: a line at the start, one now and then, and one at the end."""

    def __init__(self, label: str, console: "Console") -> None:
        """Names what is going on."""
        self.label, self.console = label, console
        self.last, self.due = -1, 0.0

    def __call__(self, done: int, total: int | None) -> None:
        """Hears of progress."""
        if done == self.last or (time.monotonic() < self.due and done != total):
            return
        self.last, self.due = done, time.monotonic() + EVERY_S
        share = f" of {total / 1e6:,.1f} MB ({done / total:.0%})" if total else " MB"
        self.console.print(f"{self.label}: {done / 1e6:,.1f}{share}")


if __name__ == "__main__":
    main()
