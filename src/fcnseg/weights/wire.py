"""Protobuf's wire format: where the fields of a message lie, found without a schema and without copying anything."""

from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

Bytes = bytes | bytearray | mmap
"""What a message is read from."""

VARINT, FIXED64, STRETCH, FIXED32 = 0, 1, 2, 5

WIRE_TYPES = {VARINT: "an integer", FIXED64: "8 bytes", STRETCH: "a stretch of bytes", FIXED32: "4 bytes"}
"""What a value of each wire type is; 3 and 4 are groups, which no file since Caffe began has."""

WIDTHS = {FIXED64: 8, FIXED32: 4}
"""Bytes of the values whose wire type alone says how long they are."""

MAX_NUMBER = 2**29 - 1
"""The highest field number of protobuf."""

MAX_TEXT = 1000
"""Bytes that a text may have; a longer one is no name."""


class Field(NamedTuple):
    """One field of a message, as it lies in the file.

    Attributes:
        number: which field of its message it is.
        wire: its wire type.
        at: byte at which the field begins.
        start: byte at which its value begins, behind the tag and the length.
        end: byte behind its value.
        value: the value of an integer; 0 where the wire type is another.
    """

    number: int
    wire: int
    at: int
    start: int
    end: int
    value: int


def fields(data: Bytes, start: int, end: int) -> Iterator[Field]:
    """Yields the fields of the message that lies in ``data[start:end]``, in the file's order.

    Raises:
        ValueError: a field that reaches beyond the message, a group, an impossible tag; names the byte.
    """
    position = start
    while position < end:
        at = position
        tag, position = varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if not 1 <= number <= MAX_NUMBER:
            raise ValueError(f"byte {at}: a field cannot have the number {number}")
        if wire not in WIRE_TYPES:
            what = "a group" if wire in (3, 4) else f"of the unknown wire type {wire}"
            raise ValueError(f"byte {at}: field {number} is {what}")
        value, length = 0, WIDTHS.get(wire, 0)
        if wire == VARINT:
            value, behind = varint(data, position, end)
            length = behind - position
        elif wire == STRETCH:
            length, position = varint(data, position, end)
        if length > end - position:
            raise ValueError(f"byte {at}: field {number} claims {length} bytes where {end - position} are left")
        yield Field(number, wire, at, position, position + length, value)
        position += length


def varint(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Reads an unsigned integer of up to 64 bits; returns it and the byte behind it.

    Raises:
        ValueError: the message ends within it, or it has more than 10 bytes or 64 bits; names the byte.
    """
    value = 0
    for index, position in enumerate(range(at, min(end, at + 10))):
        byte = data[position]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >= 2**64:
                raise ValueError(f"byte {at}: an integer has more than 64 bits")
            return value, position + 1
    if end < at + 10:
        raise ValueError(f"byte {at}: the message ends within an integer")
    raise ValueError(f"byte {at}: an integer has more than 10 bytes")


def signed(value: int) -> int:
    """Returns an int32 or int64, which lies in the file as its two's complement of 64 bits."""
    return value - 2**64 if value >= 2**63 else value


def integers(data: Bytes, field: Field) -> Iterator[int]:
    """Yields the signed integers of a repeated field, packed or not.

    Raises:
        ValueError: the field holds something else, or a damaged integer; names the byte.
    """
    expect(field, VARINT, STRETCH)
    position = field.start
    while position < field.end:
        value, position = varint(data, position, field.end)
        yield signed(value)


def text(data: Bytes, field: Field) -> str:
    """Returns a text that can be shown: UTF-8 without control characters.

    Raises:
        ValueError: the field holds something else; names the byte.
    """
    expect(field, STRETCH)
    if field.end - field.start > MAX_TEXT:
        raise ValueError(f"byte {field.at}: a name of {field.end - field.start} bytes; {MAX_TEXT} at most are a name")
    try:
        said = data[field.start : field.end].decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {field.at}: a name is no UTF-8") from error
    if not said.isprintable():
        raise ValueError(f"byte {field.at}: the name {said!r} holds control characters")
    return said


def expect(field: Field, *wires: int) -> None:
    """Refuses a field of another wire type than those that the schema allows.

    Raises:
        ValueError: names the byte, what the field is and what it should be.
    """
    if field.wire not in wires:
        needed = " or ".join(WIRE_TYPES[wire] for wire in wires)
        raise ValueError(f"byte {field.at}: field {field.number} is {WIRE_TYPES[field.wire]}, needed {needed}")
