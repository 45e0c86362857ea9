"""The protobuf wire format, as far as OTLP needs it.

Envelopes are walked here, by offsets and with a bound on their pieces, so that a body of a
million empty spans costs nothing; and one broken span does not spoil its neighbours.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, NamedTuple

from costmeter.ingest.refusal import Refused, TooLarge, Unreadable

#: Spans, data points and their envelopes in one body. A span of the conventions takes 300
#: bytes and more, so no honest body of 10 MiB comes near.
MAX_PIECES = 100_000
#: OpenTelemetry SDKs stop at 128 unless told otherwise.
MAX_ATTRIBUTES = 1_000
#: A span's or a point's fields that are not attributes: events, links, exemplars.
_MAX_FIELDS = 10_000

_FIXED64 = Struct("<Q").unpack_from
_DOUBLE = Struct("<d").unpack_from
_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5


class Broken(Exception):
    """Not protobuf, or cut off."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where the next thing begins. Raises Broken."""
    try:
        value = data[at]
        at += 1
        if value < 0x80:
            return value, at
        value &= 0x7F
        for shift in range(7, 70, 7):
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, at
    except IndexError:
        raise Broken("a number is cut off") from None
    raise Broken("a number is too long")


def skip(data: bytes, at: int, wire: int) -> int:
    """Where a field's value ends; `at` is behind its tag. The end may lie behind the data."""
    if wire == _LEN:
        length, at = varint(data, at)
        return at + length
    if wire == _VARINT:
        return varint(data, at)[1]
    if wire == _I64:
        return at + 8
    if wire == _I32:
        return at + 4
    raise Broken(f"wire type {wire} is not used in OTLP")


class Parts(NamedTuple):
    """Where the messages in fields 1 and 2 of a message stand.

    Every envelope of OTLP has what it is about in field 1 and its pieces in field 2.
    """

    first: list[slice]
    second: list[slice]


def parts(data: bytes, start: int, end: int) -> Parts:
    """The messages between two offsets. Raises Broken, and TooLarge for a flood of them."""
    first: list[slice] = []
    second: list[slice] = []
    room = MAX_PIECES
    at = start
    try:
        while at < end:
            tag = data[at]
            if tag in (0x12, 0x0A):
                size = data[at + 1]
                at += 2
                if size > 0x7F:
                    size, at = varint(data, at - 1)
                after = at + size
                (second if tag == 0x12 else first).append(slice(at, after))
                at = after
            else:
                tag, at = varint(data, at)
                at = skip(data, at, tag & 7)
            room -= 1
            if room < 0:
                raise TooLarge("the body holds too many pieces; send smaller batches")
    except IndexError:
        raise Broken("a message is cut off") from None
    if at != end:
        raise Broken("a message is cut off")
    return Parts(first, second)


def fields(data: bytes) -> list[tuple[int, Any]]:
    """Every field of a small message: its number, and an int (unsigned) or bytes."""
    found: list[tuple[int, Any]] = []
    at, end = 0, len(data)
    while at < end:
        tag, at = varint(data, at)
        wire = tag & 7
        if wire == _VARINT:
            value, at = varint(data, at)
            found.append((tag >> 3, value))
            continue
        after = skip(data, at, wire)
        if after > end:
            raise Broken("a field is cut off")
        if wire == _LEN:
            found.append((tag >> 3, data[varint(data, at)[1] : after]))
        elif wire == _I64:
            found.append((tag >> 3, _FIXED64(data, at)[0]))
        at = after
        if len(found) > _MAX_FIELDS:
            raise Broken("a message holds too many fields")
    return found


#: A value that is no single one: a list, a mapping, bytes.
NOT_SIMPLE = ()
#: What an AnyValue holds; None where it holds nothing.
Simple = str | int | float | bool | tuple[()] | None


def any_value(data: bytes) -> Simple:
    """An AnyValue's value; what is nested is not looked into.

    Raises Broken, and UnicodeDecodeError.
    """
    found: Simple = None
    for number, value in fields(data):
        if number == 1 and isinstance(value, bytes):
            found = value.decode()
        elif number == 2 and isinstance(value, int):
            found = bool(value)
        elif number == 3 and isinstance(value, int):
            found = signed(value)
        elif number == 4 and isinstance(value, int):
            found = double(value)
        else:
            found = NOT_SIMPLE
    return found


def signed(value: int) -> int:
    """A 64-bit number of two's complement."""
    return value - (1 << 64) if value >> 63 else value


def double(bits: int) -> float:
    """The float with these 64 bits."""
    number: float = _DOUBLE(bits.to_bytes(8, "little"))[0]
    return number


def whole_body(data: bytes) -> list[slice]:
    """The outermost messages of a body; raises Unreadable when it is none, TooLarge."""
    try:
        return parts(data, 0, len(data)).first
    except Broken as broken:
        raise unreadable(broken) from None


def unreadable(broken: Broken) -> Unreadable:
    return Unreadable(f"the body is no OTLP protobuf message: {broken}")


def again(refused: Refused) -> Refused:
    """A fresh one to raise: what is remembered must not gather tracebacks, and bodies in them."""
    return Refused(refused.field, refused.reason, code=refused.code, retriable=refused.retriable)


def refuse(broken: Exception) -> Refused:
    return Refused("", f"not readable: {broken}", code="unreadable")
