"""The plain JPEGs and PNGs that VOC and SBD are made of, decoded the quick way; all else is left to Pillow.

A file is plain if what comes out is certain to be what Pillow gives. Nothing here raises: None sends the file to
Pillow, which reads what is unusual and says what is wrong.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import deflate
import numpy as np
from numpy.typing import NDArray

MOST_PIXELS = 1 << 26
"""Larger images go to Pillow, which knows decompression bombs when it sees them."""

START, END = b"\xff\xd8", b"\xff\xd9"
FRAME, SCAN = 0xC0, 0xDA
SKIPPED = {0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}
"""Segments of a baseline JPEG that say nothing of its layout: tables, comments, what applications add."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PLAIN_ORDER = re.compile(rb"IHDR( PLTE)?( IDAT)+ IEND")
"""The chunks of a plain PNG: with others, what Pillow makes of a damaged one is its own affair."""

GREY, PALETTE = 0, 3
"""PNG's types of colour whose pixels are numbers."""


def rgb_of_jpeg(path: Path) -> NDArray[np.uint8] | None:
    """Decodes a baseline JPEG of three components [h, w, 3], as stored: no turn that EXIF asks for is made.

    libjpeg would fill up a truncated file without a word. One that ends with the mark of the end, and has all of its
    components in one scan, is whole: nothing else in a scan looks like that mark. Of damage within a whole file, which
    Pillow passes over in silence, libjpeg says a line on standard error; the pixels are the same.
    """
    content = _content(path, (".jpg", ".jpeg"))
    if content[:2] != START or content[-2:] != END or not _is_plain(content):
        return None
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    with suppress(cv2.error):
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        return None if decoded is None else np.asarray(decoded, np.uint8)
    return None


def numbers_of_png(path: Path) -> NDArray[np.uint8] | None:
    """Decodes a PNG of 8 bits a pixel, grey or with a palette, whose rows are not filtered: the numbers [h, w].

    libdeflate takes a fifth of zlib's time.
    """
    content = _content(path, (".png",))
    if not content.startswith(SIGNATURE):
        return None
    with suppress(ValueError, struct.error, deflate.DeflateError):
        header, stream = _header_and_stream(content)
        width, height, bits, colours, *methods = struct.unpack(">IIBBBBB", header)
        if bits == 8 and colours in (GREY, PALETTE) and methods == [0, 0, 0] and 0 < width * height <= MOST_PIXELS:
            return _unfiltered(stream, height, width)
    return None


def _content(path: Path, suffixes: tuple[str, ...]) -> bytes:
    """Returns what a file holds; nothing where it is of another kind or cannot be read."""
    with suppress(OSError):
        return path.read_bytes() if path.suffix.lower() in suffixes else b""
    return b""


def _is_plain(content: bytes) -> bool:
    at, frame = len(START), b""
    while content[at : at + 1] == b"\xff" and at + 4 < len(content):
        marker, size = content[at + 1], int.from_bytes(content[at + 2 : at + 4])
        if marker == SCAN:
            return _is_plain_frame(frame) and content[at + 4] == 3
        if marker == FRAME:
            frame = content[at + 4 : at + 10]
        elif marker not in SKIPPED:
            return False
        at += 2 + size
    return False


def _is_plain_frame(frame: bytes) -> bool:
    if len(frame) < 6:
        return False
    bits, height, width, components = struct.unpack(">BHHB", frame)
    return (bits, components) == (8, 3) and 0 < height * width <= MOST_PIXELS


def _header_and_stream(content: bytes) -> tuple[bytes, bytes]:
    """Returns a PNG's header and its compressed pixels.

    Raises:
        ValueError: a checksum is wrong, a chunk is not plain, or the file does not end where its last chunk does.
        struct.error: it ends in the middle of a chunk.
    """
    chunks = list(_chunks(content))
    kinds = [kind for kind, _ in chunks]
    if not PLAIN_ORDER.fullmatch(b" ".join(kinds)):
        raise ValueError("not plain")
    return chunks[0][1], b"".join(data for kind, data in chunks if kind == b"IDAT")


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        data = content[at + 8 : at + 8 + size]
        if struct.unpack_from(">I", content, at + 8 + size) != (zlib.crc32(data, zlib.crc32(kind)),):
            raise ValueError("damaged")
        yield kind, data
        at += 12 + size


def _unfiltered(stream: bytes, height: int, width: int) -> NDArray[np.uint8] | None:
    """Inflates rows, each of which starts with the number of its filter.

    Raises:
        DeflateError: the stream is damaged, or holds more.
        ValueError: it holds less.
    """
    table = np.frombuffer(deflate.zlib_decompress(stream, height * (width + 1)), np.uint8).reshape(height, width + 1)
    return None if table[:, 0].any() else table[:, 1:]
