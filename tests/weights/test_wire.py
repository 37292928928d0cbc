"""The wire format: fields as they lie, and every damage named by its byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffemodels import field, floats, varint
from fcnseg.weights import wire
from fcnseg.weights.wire import FIXED32, FIXED64, STRETCH, VARINT, expect, fields, integers, signed, text


def read(data):
    return list(fields(data, 0, len(data)))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_integers_come_back(value):
    data = varint(value)
    assert wire.varint(b"\xff" + data + b"\xff", 1, len(data) + 2) == (value, len(data) + 1)


@settings(max_examples=50, deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_integers_come_back(value):
    assert signed(wire.varint(varint(value), 0, 10)[0]) == value


def test_fields_are_found_where_they_lie():
    data = (
        field(1, 300) + field(2, "net") + floats(5, [1.0], packed=False) + floats(8, [1.0], packed=False, double=True)
    )
    found = read(data)
    assert [(one.number, one.wire, one.value) for one in found] == [
        (1, VARINT, 300),
        (2, STRETCH, 0),
        (5, FIXED32, 0),
        (8, FIXED64, 0),
    ]
    assert [(one.at, one.start, one.end) for one in found] == [(0, 1, 3), (3, 5, 8), (8, 9, 13), (13, 14, 22)]
    assert text(data, found[1]) == "net"


def test_a_message_is_read_from_its_own_bytes_alone():
    data = field(9, field(1, 7)) + field(1, 8)
    (outer, _) = read(data)
    assert [one.value for one in fields(data, outer.start, outer.end)] == [7]


@pytest.mark.parametrize("data", [field(1, b"".join(map(varint, (3, -1, 2**40)))), field(1, 3)])
def test_repeated_integers_are_read_packed_or_not(data):
    (found,) = read(data)
    assert list(integers(data, found)) == [3, -1, 2**40][: 3 if found.wire == STRETCH else 1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80", "byte 0: the message ends within an integer"),
        (b"\x08" + b"\x80" * 9, "byte 1: the message ends within an integer"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "byte 1: an integer has more than 10 bytes"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "byte 1: an integer has more than 64 bits"),
        (b"\x00\x00", "byte 0: a field cannot have the number 0"),
        (varint(2**29 << 3) + b"\x00", "byte 0: a field cannot have the number 536870912"),
        (field(1, 1) + b"\x13\x14", "byte 2: field 2 is a group"),
        (b"\x14", "byte 0: field 2 is a group"),
        (b"\x16", "byte 0: field 2 is of the unknown wire type 6"),
        (b"\x12\x05abcd", "byte 0: field 2 claims 5 bytes where 4 are left"),
        (b"\x12" + varint(10 * 2**30) + b"abcd", "byte 0: field 2 claims 10737418240 bytes where 4 are left"),
        (b"\x12" + varint(2**64 - 1), "byte 0: field 2 claims 18446744073709551615 bytes where 0 are left"),
        (b"\x2d\x00\x00\x00", "byte 0: field 5 claims 4 bytes where 3 are left"),
        (b"\x29\x00\x00\x00", "byte 0: field 5 claims 8 bytes where 3 are left"),
    ],
)
def test_damage_is_named_by_its_byte(data, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        read(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (field(4, b"conv\xff"), "byte 0: a name is no UTF-8"),
        (field(4, b"conv\x1b[2J"), r"byte 0: the name 'conv\\x1b\[2J' holds control characters"),
        (field(4, b"a" * 1001), "byte 0: a name of 1001 bytes; 1000 at most are a name"),
        (field(4, 3), "byte 0: field 4 is an integer, needed a stretch of bytes"),
    ],
)
def test_texts_that_are_no_names_are_refused(data, message):
    (found,) = read(data)
    with pytest.raises(ValueError, match=message):
        text(data, found)


def test_other_wire_types_than_the_schemas_are_refused():
    (found,) = read(floats(5, [1.0], packed=False))
    expect(found, FIXED32, STRETCH)
    with pytest.raises(ValueError, match="byte 0: field 5 is 4 bytes, needed an integer or a stretch of bytes"):
        expect(found, VARINT, STRETCH)


@given(st.binary(max_size=200))
@settings(max_examples=120, deadline=None)
def test_any_bytes_are_fields_without_gaps_or_a_value_error(data):
    try:
        found, said = read(data), None
    except ValueError as error:
        found, said = [], str(error)
    assert said is None or said.startswith("byte ")
    assert [one.end for one in found] == [*(one.at for one in found[1:]), len(data)][: len(found)]
