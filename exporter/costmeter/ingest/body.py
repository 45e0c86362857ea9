"""From the bytes of a body to typed records, without letting one spoil the rest.

The whole body is decoded typed in one call. Only when that fails is it taken apart
record by record, which costs about twice as much and finds the bad ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from costmeter.ingest.event import MAX_EVENTS, CorrectionRecord, Event
from costmeter.ingest.explain import refusal_of
from costmeter.ingest.refusal import Refused, Rejection, TooLarge, Unreadable

Record = TypeVar("Record", Event, CorrectionRecord)
Item = TypeVar("Item")

#: Values of JSON in a body are counted by its commas and lines before any memory is spent on them:
#: this many for each event that a body may hold. Small bodies cannot do harm.
COMMAS_PER_EVENT = 64
_SMALL_BYTES = 1 << 20
_SPACE = b" \t\r\n"


class Parsed(Generic[Record], Struct, frozen=True):
    """The readable records with their place in the body, and the others."""

    records: Sequence[Record]
    rejections: Sequence[Rejection]
    places: Sequence[int] | None = None
    """None when every record was readable: place and position are then the same."""
    printable: bool = False
    """True when the body cannot hold a control character, so no text need be looked at."""


class Reader(Generic[Record]):
    """Reads bodies of one kind of record; `envelope` is the key of the wrapped form."""

    def __init__(self, kind: type[Record], envelope: str, max_events: int = MAX_EVENTS) -> None:
        self._max_events = max_events
        self._kind: type[Record] = kind
        self._envelope = envelope
        self._one: msgspec.json.Decoder[Record] = msgspec.json.Decoder(kind)
        self._many: msgspec.json.Decoder[list[Record]] = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
        self._items = msgspec.json.Decoder(list[Raw])
        self._members = msgspec.json.Decoder(dict[str, Raw])
        wrapped = msgspec.defstruct(
            "Envelope",
            [(envelope, list[kind])],  # type: ignore[valid-type]
            forbid_unknown_fields=True,
        )
        self._wrapped: msgspec.json.Decoder[msgspec.Struct] = msgspec.json.Decoder(wrapped)

    def read(self, body: bytes, *, lines: bool) -> Parsed[Record]:
        """Records of a JSON body, or of NDJSON when `lines`.

        JSON is an array, one record, or an object that wraps the array. Raises Unreadable
        for what is none of these and TooLarge for more than `max_events` records.
        """
        most = COMMAS_PER_EVENT * self._max_events
        if len(body) > _SMALL_BYTES and max(body.count(b","), body.count(b"\n")) > most:
            raise TooLarge("the body holds too many values; send it in smaller parts")
        try:
            return self._lines(body) if lines else self._json(body)
        except RecursionError:
            raise Unreadable("the body is nested too deeply") from None

    def _json(self, body: bytes) -> Parsed[Record]:
        start = body.lstrip(_SPACE)[:1]
        try:
            if start == b"[":
                records = self._bounded(self._many.decode(body))
                return Parsed(records, (), printable=_is_printable(body))
            if start == b"{":
                wrapped = self._wrapped.decode(body)
                return Parsed(self._bounded(getattr(wrapped, self._envelope)), ())
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._apart(self._outer(body, start))
        if not start:
            raise Unreadable("the body is empty; expected JSON", line=1, byte=0)
        # Either no JSON at all, or JSON that is neither an array nor an object.
        self._outer(body, start)
        raise Unreadable(
            f"expected a JSON array, one object, or {{{self._envelope!r}: [...]}}".replace(
                "'", '"'
            ),
            line=1,
        )

    def _outer(self, body: bytes, start: bytes) -> Sequence[Raw]:
        """The records of a body as they stand; checks the syntax of all of it."""
        try:
            if start == b"[":
                return self._items.decode(body)
            if start != b"{":
                msgspec.json.decode(body)
                return ()
            members = self._members.decode(body)
            if self._envelope not in members:
                return [Raw(body)]
            inner = members.pop(self._envelope)
        except UnicodeDecodeError:
            raise _not_utf8(body) from None
        except msgspec.DecodeError as error:
            raise _not_json(body, error) from None
        if members:
            raise Unreadable(
                f"unknown key {min(members)[:64]!r} beside {self._envelope!r}; remove it"
            )
        try:
            return self._items.decode(inner)
        except msgspec.ValidationError:
            raise Unreadable(f"{self._envelope!r} must be an array") from None
        except msgspec.DecodeError as error:
            raise _not_json(body, error) from None

    def _apart(self, items: Sequence[bytes | Raw]) -> Parsed[Record]:
        self._bounded(items)
        records: list[Record] = []
        places: list[int] = []
        rejections: list[Rejection] = []
        for index, item in enumerate(items):
            try:
                records.append(self._one.decode(item))
                places.append(index)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                rejections.append(self._explain(item, error).at(index))
        return Parsed(records, rejections, places)

    def _explain(self, item: bytes | Raw, error: Exception) -> Refused:
        try:
            value = msgspec.json.decode(item)
        except UnicodeDecodeError:
            return Refused("", "the text is not UTF-8", code="unreadable")
        except RecursionError:
            return Refused("", "nested too deeply", code="unreadable")
        except msgspec.ValidationError as plain:
            return Refused("", f"a number is out of range: {plain}")
        except msgspec.DecodeError as plain:
            return Refused("", f"not JSON: {plain}", code="unreadable")
        return refusal_of(value, self._kind, str(error))

    def _lines(self, body: bytes) -> Parsed[Record]:
        try:
            return Parsed(self._bounded(self._one.decode_lines(body)), ())
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        items = [line for line in body.split(b"\n") if line.strip(_SPACE)]
        parsed = self._apart(items)
        if (
            items
            and not parsed.records
            and all(not_one.code == "unreadable" for not_one in parsed.rejections)
        ):
            reason = parsed.rejections[0].reason
            raise Unreadable(f"no line of the body is JSON; the first: {reason}", line=1)
        return parsed

    def _bounded(self, items: Sequence[Item]) -> Sequence[Item]:
        if len(items) > self._max_events:
            raise TooLarge(
                f"a body holds at most {self._max_events} events, "
                f"this one has {len(items)}; split it"
            )
        return items


def _is_printable(body: bytes) -> bool:
    """Whether JSON of these bytes holds only printable texts: its controls are all escaped."""
    return body.isascii() and b"\\" not in body and b"\x7f" not in body


def _not_json(body: bytes, error: msgspec.DecodeError) -> Unreadable:
    """msgspec tells the byte in its text; people look for a line."""
    reason, _, place = str(error).partition(" (byte ")
    digits = place.rstrip(")")
    byte = int(digits) if digits.isdigit() else len(body)
    text = reason.removeprefix("JSON is malformed: ")
    return Unreadable(
        f"not JSON: {text}", line=1 + body.count(b"\n", 0, byte), byte=min(byte, len(body))
    )


def _not_utf8(body: bytes) -> Unreadable:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return Unreadable(
            "the text is not UTF-8", line=1 + body.count(b"\n", 0, error.start), byte=error.start
        )
    return Unreadable("the text is not UTF-8")
