"""One span as costmeter sees it, from protobuf and from JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from costmeter.ingest.event import NOTHING
from costmeter.ingest.otlp.attributes import BAD, Attributes
from costmeter.ingest.otlp.wire import (
    MAX_ATTRIBUTES,
    NOT_SIMPLE,
    Broken,
    Simple,
    fields,
    refuse,
    skip,
    varint,
)
from costmeter.ingest.refusal import Refused

_STATUS_ERROR = 2
_FIELD_OF_CODE = 3


#: trace id, span id, parent id, start, end (nanoseconds), whether its status is an error, and
#: the fields of `Attributes` that the span says. A plain tuple: every span comes through here.
Span = tuple[bytes, bytes, bytes, int, int, bool, dict[Any, Any]]
#: trace id, span id, parent id, start, end, encoded status, encoded attributes.
SpanParts = tuple[bytes, bytes, bytes, int, int, bytes, list[bytes]]


def span_reader(attributes: Attributes) -> Callable[[SpanParts | Refused], Span]:
    """What makes a span of its parts; raises Refused."""
    look_up, special, settled = attributes.__getitem__, attributes.special, attributes.settled

    def read(parts: SpanParts | Refused) -> Span:
        if isinstance(parts, Refused):
            raise parts
        trace_id, span_id, parent_id, start_ns, end_ns, status, encoded = parts
        if len(encoded) > MAX_ATTRIBUTES:
            raise _too_many()
        said = dict(map(look_up, encoded))
        if attributes.met_special and not special.isdisjoint(said):
            said = settled(said)
        failed = status != b"" and _code(status) == _STATUS_ERROR
        return trace_id, span_id, parent_id, start_ns, end_ns, failed, said

    return read


def read_encoded(encoded: Sequence[bytes], attributes: Attributes) -> dict[Any, Any]:
    """Fields of a resource or a data point. Raises Refused."""
    if len(encoded) > MAX_ATTRIBUTES:
        raise _too_many()
    return attributes.settled(dict(map(attributes.__getitem__, encoded)))


def _too_many() -> Refused:
    return Refused("attributes", f"more than {MAX_ATTRIBUTES} of them", code="unreadable")


def _code(status: bytes) -> int:
    try:
        return max((v for n, v in fields(status) if n == _FIELD_OF_CODE), default=0)
    except (Broken, TypeError) as error:
        raise refuse(error) from None


def take_apart_here(spans: Sequence[bytes]) -> Iterator[SpanParts | Refused]:
    """The parts of encoded spans, without any library; a broken one does not spoil the rest."""
    for raw in spans:
        try:
            yield _take_apart(raw)
        except (Broken, IndexError) as error:
            yield refuse(error)


def _take_apart(raw: bytes) -> SpanParts:
    trace_id = span_id = parent_id = status = b""
    start_ns = end_ns = 0
    encoded: list[bytes] = []
    at, end = 0, len(raw)
    while at < end:
        tag = raw[at]
        if tag == 0x4A:
            size = raw[at + 1]
            at += 2
            if size >= 0x80:
                size, at = varint(raw, at - 1)
            after = at + size
            encoded.append(raw[at:after])
        elif tag in _BYTES:
            size, at = varint(raw, at + 1)
            after = at + size
            value = raw[at:after]
            if tag == 0x0A:
                trace_id = value
            elif tag == 0x12:
                span_id = value
            elif tag == 0x22:
                parent_id = value
            else:
                status = value
        elif tag in (0x39, 0x41):
            after = at + 9
            number = int.from_bytes(raw[at + 1 : after], "little")
            if tag == 0x39:
                start_ns = number
            else:
                end_ns = number
        else:
            tag, at = varint(raw, at)
            after = skip(raw, at, tag & 7)
        at = after
    if at > end:
        raise Broken("a field is cut off")
    return trace_id, span_id, parent_id, start_ns, end_ns, status, encoded


#: Tags of the fields trace_id, span_id, parent_span_id and status.
_BYTES = frozenset({0x0A, 0x12, 0x22, 0x7A})


class KeyValue(Struct, gc=False):
    key: str = ""
    value: Raw = NOTHING


class _Value(Struct, gc=False):
    """An AnyValue's simple kinds. 64-bit numbers come as text, or as numbers."""

    stringValue: str | None = None  # noqa: N815 - the names of OTLP
    boolValue: bool | None = None  # noqa: N815
    intValue: int | str | None = None  # noqa: N815
    doubleValue: float | str | None = None  # noqa: N815
    arrayValue: Raw = NOTHING  # noqa: N815
    kvlistValue: Raw = NOTHING  # noqa: N815
    bytesValue: Raw = NOTHING  # noqa: N815


class _Status(Struct, gc=False):
    code: int | str | None = None


class _Span(Struct, gc=False):
    traceId: str | None = None  # noqa: N815
    spanId: str | None = None  # noqa: N815
    parentSpanId: str | None = None  # noqa: N815
    startTimeUnixNano: int | str | None = None  # noqa: N815
    endTimeUnixNano: int | str | None = None  # noqa: N815
    attributes: list[KeyValue] | None = None
    status: _Status | None = None


_NULL = (b"", b"null")
_SPAN = msgspec.json.Decoder(_Span)
_VALUE = msgspec.json.Decoder(_Value)
#: Why a piece of JSON is not what it should be.
NOT_TYPED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_json_span(raw: bytes | Raw, attributes: Attributes) -> Span:
    """A span of a JSON body. Raises Refused."""
    try:
        span = _SPAN.decode(raw)
    except NOT_TYPED as error:
        raise refuse(error) from None
    code = span.status.code if span.status is not None else 0
    return (
        hex_id("traceId", span.traceId),
        hex_id("spanId", span.spanId),
        hex_id("parentSpanId", span.parentSpanId),
        int64("startTimeUnixNano", span.startTimeUnixNano),
        int64("endTimeUnixNano", span.endTimeUnixNano),
        code in (_STATUS_ERROR, "STATUS_CODE_ERROR"),
        read_key_values(span.attributes or (), attributes),
    )


def read_key_values(pairs: Sequence[KeyValue], attributes: Attributes) -> dict[Any, Any]:
    """Fields of JSON attributes; those that nobody needs are not decoded. Raises Refused."""
    if len(pairs) > MAX_ATTRIBUTES:
        raise _too_many()
    found: dict[Any, Any] = {}
    for pair in pairs:
        if attributes.named(pair.key):
            name, value = attributes.value(pair.key, _simple(pair))
            found[name] = value
            if name == BAD:
                raise value
    return attributes.settled(found)


def _simple(pair: KeyValue) -> Simple:
    if bytes(pair.value) in _NULL:
        return None
    try:
        value = _VALUE.decode(pair.value)
    except NOT_TYPED as error:
        raise Refused(pair.key, f"not readable: {error}", code="unreadable") from None
    if value.intValue is not None:
        return int64(pair.key, value.intValue)
    if isinstance(value.doubleValue, str):
        try:
            return float(value.doubleValue)
        except ValueError:
            raise Refused(pair.key, "expected a number", code="unreadable") from None
    for simple in (value.stringValue, value.boolValue, value.doubleValue):
        if simple is not None:
            return simple
    nested = (value.arrayValue, value.kvlistValue, value.bytesValue)
    return None if all(bytes(part) in _NULL for part in nested) else NOT_SIMPLE


def int64(name: str, value: int | str | None) -> int:
    """A 64-bit integer of protobuf's JSON, 0 where it is left out. Raises Refused."""
    if value is None:
        return 0
    if isinstance(value, str):
        if not value.isascii() or len(value) > 20 or not value.lstrip("-").isdigit():
            raise Refused(name, "expected a whole number", code="unreadable")
        try:
            value = int(value)
        except ValueError:
            raise Refused(name, "expected a whole number", code="unreadable") from None
    if not -(1 << 63) <= value < 1 << 64:
        raise Refused(name, "the number is out of range", code="unreadable")
    return value


def hex_id(name: str, text: str | None) -> bytes:
    """OTLP writes ids in hexadecimal digits, unlike protobuf's JSON of bytes."""
    try:
        return bytes.fromhex(text) if text else b""
    except ValueError:
        raise Refused(name, "expected hexadecimal digits") from None
