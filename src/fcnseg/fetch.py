"""Brings a file from the network: several addresses, resumed after a break, verified, and whole or not at all."""

import json
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from fcnseg.disk import check_checksum, exclusive, mismatch, require_space, writing

Progress = Callable[[int, int | None], None]
"""Hears how many bytes there are, and how many there will be (None: nobody knows)."""

TIMEOUT_S = 30.0
"""Seconds of silence after which a connection counts as broken."""

RETRIES = 4
"""How often an address is tried again without getting any further."""

BACKOFF_S = 1.0
"""Seconds before the first retry; doubled for each one after it."""

CHUNK = 1 << 20
"""Bytes read at a time; a retry that got further than this does not count against RETRIES."""


class FetchError(FileNotFoundError):
    """No address gave the file; the message tells what each one said, and where to put the file by hand."""


class _RefusedError(Exception):
    """An address that cannot give the file."""


class _DroppedError(Exception):
    """An address that may give the file when it is asked again."""


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Brings a file, unless it is there already; target appears when it is whole and verified, and not before.

    Until then the bytes are in target.part, where the next call goes on, whatever ended this one. Of several
    processes that want the same file one works and the others wait.

    Args:
        urls: addresses of the same file, tried in turn.
        target: where the file shall be; another file that is there is replaced at the end.
        size: bytes, where known.
        checksum: "sha256:...", "sha1:..." or "md5:...", where known. Without one, a part is continued only at the
            address it came from, and only if that names an unchanged version.
        progress: hears of every piece.

    Returns:
        target.

    Raises:
        FetchError: no address gave the file.
        ValueError: the disk has too little space, target cannot be written, or the arguments make no sense.
    """
    check_checksum(checksum)
    if not urls:
        raise ValueError(f"there is no address to bring {target} from")
    if _is_there(target, size, checksum):
        return target
    report = progress or (lambda done, total: None)
    path = target.with_name(f"{target.name}.part")
    with exclusive(path, lambda: report(_length(path), size)) as file:
        part = _Part(file)
        if _is_there(target, size, checksum):  # the process that we waited for brought it
            part.restart()
            return target
        try:
            require_space(target.parent, (size or 0) - part.length)
            _bring(urls, target, _Transfer(part, size, checksum, report))
        finally:
            if not part.length:
                part.restart()
    return target


def _bring(urls: Sequence[str], target: Path, transfer: "_Transfer") -> None:
    failures = []
    for url in urls:
        failure = transfer.attempt(url)
        if not failure:
            transfer.part.publish(target)
            return
        failures.append(f"\n  {url}: {failure}")
    known = "".join(f", {fact}" for fact in (transfer.size and f"{transfer.size:,} bytes", transfer.checksum) if fact)
    raise FetchError(
        f"{target.name} could not be downloaded:{''.join(failures)}\n"
        f"Try again later, or bring the file ({target.name}{known}) in another way and put it at {target.absolute()}"
    )


def _is_there(target: Path, size: int | None, checksum: str | None) -> bool:
    if target.is_dir():
        raise ValueError(f"{target} is a folder: remove it, or choose another place for the file")
    return target.is_file() and not mismatch(target, size, checksum)


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # its holder may rename it at any moment
        return 0


class _Part:
    """The bytes that came so far, and a note of where they came from."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.path = file, Path(file.name)
        self.length = self.path.stat().st_size
        self.notes = Path(f"{file.name}.json")

    def origin(self) -> tuple[str, str]:
        """Returns the address and the version there; empty where they are not known."""
        try:
            said = json.loads(self.notes.read_text(encoding="utf-8"))
            return str(said["url"]), str(said["version"])
        except (OSError, ValueError, LookupError, TypeError):
            return "", ""

    def note(self, url: str, version: str) -> None:
        with writing(self.notes):
            self.notes.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def append(self, piece: bytes) -> None:
        with writing(self.path):
            self.file.write(piece)
            self.file.flush()
        self.length += len(piece)

    def restart(self) -> None:
        with writing(self.path):
            self.file.truncate(0)
            self.notes.unlink(missing_ok=True)
        self.length = 0

    def publish(self, target: Path) -> None:
        """Gives the part its name; on the disk first, so that no power cut leaves an empty file under it."""
        with writing(target):
            os.fsync(self.file.fileno())
            if os.name == "nt":  # there no open file can be renamed, and closing it gives up no lock
                self.file.close()
            self.path.replace(target)
            self.notes.unlink(missing_ok=True)


@dataclass
class _Transfer:
    """One file on its way, from whichever address."""

    part: _Part
    size: int | None
    checksum: str | None
    report: Progress
    received: bool = False

    def attempt(self, url: str) -> str:
        """Fills the part from one address; returns what went wrong, empty if it now is the file."""
        failed, furthest = 0, self.part.length
        while True:
            try:
                self._verify(self._receive(url))
                return ""
            except _RefusedError as error:
                return str(error)
            except _DroppedError as error:
                failed = 1 if self.part.length > furthest + CHUNK else failed + 1
                furthest = max(furthest, self.part.length)
                if failed > RETRIES:
                    return f"{error} ({failed} times)"
            time.sleep(BACKOFF_S * 2 ** (failed - 1))

    def _receive(self, url: str) -> int:
        """Appends what an address sends; returns how much of the part is older than that."""
        start = self._start(url)
        if start == self.size:
            return start
        response = self._open(url, start)
        if response is None:
            return start
        with response:
            first, offered = _extent(response)
            if None not in (offered, self.size) and offered != self.size:
                kind = response.headers.get_content_type()
                raise _RefusedError(f"offers {offered:,} bytes of {kind} instead of {self.size:,} bytes")
            if first != start:
                self.part.restart()
            if first not in (0, start):
                raise _DroppedError(f"sends the bytes from {first:,} on when asked for those from {start:,} on")
            self.part.note(url, _version(response.headers))
            total = offered if self.size is None else self.size
            require_space(self.part.path.parent, (total or 0) - first)
            self._append(response, total)
        return first

    def _start(self, url: str) -> int:
        """Returns where to go on: without a checksum, nothing else shows that two pieces are of one file."""
        origin, version = self.part.origin()
        too_long = self.size is not None and self.part.length > self.size
        if too_long or not (self.checksum or (origin == url and version)):
            self.part.restart()
        return self.part.length

    def _open(self, url: str, start: int) -> HTTPResponse | None:
        """Asks for the rest of the file; None if the server says that there is none."""
        headers = {"User-Agent": "fcnseg", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            origin, version = self.part.origin()
            if origin == url and version:
                headers["If-Range"] = version  # a server with another version by now sends all of that one
        try:
            response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT_S)
        except HTTPError as error:
            error.close()
            if error.code == 416:
                self._check_end(error)
                return None
            kind = _DroppedError if error.code in (408, 429) or error.code >= 500 else _RefusedError
            raise kind(f"answers {error.code} {error.reason}") from error
        except URLError as error:  # no connection: worth a retry only if there was one before
            raise (_DroppedError if self.received else _RefusedError)(_said(error)) from error
        except (OSError, HTTPException) as error:
            raise _DroppedError(_said(error)) from error
        return response

    def _check_end(self, error: HTTPError) -> None:
        if error.headers.get("Content-Range") != f"bytes */{self.part.length}":
            self.part.restart()
            raise _DroppedError("does not have the bytes that are missing here")

    def _append(self, response: HTTPResponse, total: int | None) -> None:
        self.report(self.part.length, total)
        while total is None or self.part.length < total:
            try:
                piece = response.read1(CHUNK)
            except (OSError, HTTPException) as error:
                raise _DroppedError(_said(error)) from error
            if not piece:
                break
            self.received = True
            self.part.append(piece)
            self.report(self.part.length, total)
        if total is not None and self.part.length < total:
            raise _DroppedError(f"the connection broke after {self.part.length:,} of {total:,} bytes")

    def _verify(self, older: int) -> None:
        """Throws a wrong file away; one with older pieces in it is worth another try without them."""
        if fault := mismatch(self.part.path, self.size, self.checksum):
            self.part.restart()
            raise (_DroppedError if older else _RefusedError)(f"the file from there {fault}")


def _extent(response: HTTPResponse) -> tuple[int, int | None]:
    """Returns the place of an answer's first byte in the file, and the file's length where the server tells it."""
    if response.status == 206:
        said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if said is None:
            raise _RefusedError("answers with a range of bytes that cannot be read")
        return int(said[1]), None if said[2] == "*" else int(said[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _version(headers: Message) -> str:
    """Returns what names a version to the byte: a strong ETag, else the date; empty where there is neither."""
    tag = str(headers.get("ETag", ""))
    return tag if tag and not tag.startswith("W/") else str(headers.get("Last-Modified", ""))


def _said(error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return f"silent for {TIMEOUT_S:g} s"
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
