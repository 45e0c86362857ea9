"""Just enough of the protobuf wire format to read answers: fields, one after another."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Malformed(ValueError):
    """The bytes are not a protobuf message."""


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) in the order of the message; what fixed fields hold comes as bytes.

    A field of a number that the caller does not know is a newer sender's: pass it over.
    Raises Malformed, possibly after some fields.
    """
    at, end = 0, len(message)
    value: int | bytes
    while at < end:
        # Nearly every key and length is one byte; the general way costs a call.
        key = message[at]
        at += 1
        if key >= 128:
            key, at = _varint(message, at - 1)
        kind = key & 7
        if kind == _BYTES:
            if at >= end:
                raise Malformed("a length is missing")
            size = message[at]
            at += 1
            if size >= 128:
                size, at = _varint(message, at - 1)
            until = at + size
            value = message[at:until]
        elif kind == _VARINT:
            value, until = _varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            until = at + (4 if kind == _FIXED32 else 8)
            value = message[at:until]
        else:
            raise Malformed(f"fields of kind {kind} are not known")
        if until > end:
            raise Malformed("a field is cut off")
        yield key >> 3, value
        at = until


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise Malformed("a number is cut off")
