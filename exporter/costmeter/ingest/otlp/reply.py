"""What an OTLP sender is told: its own encoding, partial success, google.rpc.Status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from costmeter.ingest.refusal import Rejection

#: google.rpc.Code by HTTP status.
_CODES: Mapping[int, int] = {
    400: 3,
    401: 16,
    403: 7,
    408: 4,
    413: 8,
    415: 3,
    429: 8,
    500: 13,
    503: 14,
}
_UNKNOWN = 2
#: Reasons told in one answer; senders log them.
MAX_REASONS = 5


def partial(rejections: Sequence[Rejection], count_name: str, *, as_json: bool) -> bytes:
    """An Export…ServiceResponse. `count_name` is rejectedSpans or rejectedDataPoints.

    Without rejections it is the empty message, which says full success.
    """
    if not rejections:
        return b"{}" if as_json else b""
    message = summary(rejections)
    if as_json:
        said = {"partialSuccess": {count_name: str(len(rejections)), "errorMessage": message}}
        return msgspec.json.encode(said)
    inner = b"\x08" + _varint(len(rejections)) + _text(0x12, message)
    return b"\x0a" + _varint(len(inner)) + inner


def status(http_status: int, message: str, *, as_json: bool) -> bytes:
    """A google.rpc.Status with the message and the code for this HTTP status."""
    code = _CODES.get(http_status, _UNKNOWN)
    if as_json:
        return msgspec.json.encode({"code": code, "message": message})
    return b"\x08" + _varint(code) + _text(0x12, message)


def summary(rejections: Sequence[Rejection]) -> str:
    """The reasons, the most frequent first, and the place of the first span of each."""
    places: dict[str, list[int]] = {}
    for rejection in rejections:
        reason = f"{rejection.field}: {rejection.reason}" if rejection.field else rejection.reason
        places.setdefault(reason, []).append(rejection.place)
    ordered = sorted(places.items(), key=lambda item: -len(item[1]))
    told = [
        f"{reason} ({len(found)} times, first at {found[0]})"
        for reason, found in ordered[:MAX_REASONS]
    ]
    if len(ordered) > MAX_REASONS:
        told.append(f"and {len(ordered) - MAX_REASONS} more reasons")
    return "; ".join(told)


def _text(tag: int, text: str) -> bytes:
    encoded = text.encode("utf-8", "replace")
    return bytes((tag,)) + _varint(len(encoded)) + encoded


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
