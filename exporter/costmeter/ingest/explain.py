"""Words for what msgspec refused: which field, and what to write instead.

Runs only for events that did not decode, on their plain JSON value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from costmeter.ingest.event import (
    MAX_LATENCY_MS,
    MAX_QUANTITY,
    MAX_TAGS,
    MAX_TEXT,
    RESERVED_UNITS,
    SENT_UNITS,
    CorrectionRecord,
    Event,
    Instant,
)
from costmeter.ingest.refusal import Refused
from costmeter.model import PROCESSING, STATUSES, TOKEN_CLASSES

#: What people write out of habit, and where it belongs.
HINTS: Mapping[str, str] = {
    "category": "it is always llm_api here; leave it out",
    "cost": "usage carries no money; the exporter prices it itself",
    "cost_usd": "usage carries no money; the exporter prices it itself",
    "duration_ms": "write latency_ms",
    "env": "write environment",
    "feed": "the credential decides the feed; leave it out",
    "id": "write request_id, or response_id for the provider's own id",
    "latency": "write latency_ms, an integer",
    "metadata": "write tags",
    "org": "write tenant_id",
    "organization": "write tenant_id",
    "price": "usage carries no money; the exporter prices it itself",
    "tenant": "write tenant_id",
    "time": "write timestamp",
    "ts": "write timestamp",
    "user": "write user_id",
}


class _Rule(NamedTuple):
    holds: Callable[[object], bool]
    expected: str


def _one_of(allowed: tuple[str, ...]) -> _Rule:
    return _Rule(lambda value: value in allowed, "expected one of " + ", ".join(allowed))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_count(value: object, most: int = MAX_QUANTITY) -> bool:
    return type(value) is int and 0 <= value <= most


def _is_share(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1  # type: ignore[operator]


def _is_instant(value: object) -> bool:
    try:
        msgspec.convert(value, Instant)
    except msgspec.ValidationError:
        return False
    return True


_TEXT = _Rule(_is_text, f"expected a text of at most {MAX_TEXT} characters")
_SHARE = _Rule(_is_share, "expected a number from 0 to 1")
_COUNT = _Rule(_is_count, f"expected an integer from 0 to {MAX_QUANTITY}")
_RULES: Mapping[str, _Rule] = {
    "timestamp": _Rule(
        _is_instant,
        "expected RFC 3339 with a zone, like 2026-11-22T10:00:00Z, or Unix milliseconds",
    ),
    "status": _one_of(STATUSES),
    "processing": _one_of(PROCESSING),
    "latency_ms": _Rule(
        lambda value: _is_count(value, MAX_LATENCY_MS),
        f"expected an integer from 0 to {MAX_LATENCY_MS}",
    ),
    "complexity": _SHARE,
    "quality": _SHARE,
}
_MAPS: Mapping[str, _Rule] = {"tokens": _COUNT, "units": _COUNT, "tags": _TEXT, "set": _TEXT}
_CLASSES: Mapping[str, tuple[str, ...]] = {"tokens": TOKEN_CLASSES, "units": SENT_UNITS}
_RAW = ("usage", "response")
_REQUIRED: Mapping[type, tuple[str, ...]] = {
    Event: ("timestamp",),
    CorrectionRecord: ("correction_id",),
}
_FIELDS: Mapping[type, Mapping[str, str]] = {
    kind: {re.sub(r"[^a-z0-9]", "", name): name for name in kind.__struct_fields__}
    for kind in (Event, CorrectionRecord)
}


def refusal_of(value: object, kind: type[Event] | type[CorrectionRecord], why: str) -> Refused:
    """The first thing that is wrong with `value`; `why` is the decoder's own reason."""
    if not isinstance(value, dict):
        return Refused("", "expected an object with the fields of one event")
    for name in _REQUIRED[kind]:
        if value.get(name) is None:
            return Refused(name, f"missing; {_rule(name).expected}", code="missing")
    for name, item in value.items():
        if name not in kind.__struct_fields__:
            return _unknown(name, kind)
        refused = None if item is None else _field(name, item)
        if refused is not None:
            return refused
    return Refused("", why)


def _rule(name: str) -> _Rule:
    return _RULES.get(name, _TEXT)


def _field(name: str, item: object) -> Refused | None:
    if name in _RAW:
        return None
    if name not in _MAPS:
        rule = _rule(name)
        return None if rule.holds(item) else Refused(name, rule.expected)
    if not isinstance(item, dict):
        return Refused(name, "expected an object")
    if name == "tags" and len(item) > MAX_TAGS:
        return Refused(name, f"at most {MAX_TAGS} tags")
    for key, piece in item.items():
        if name in _CLASSES and key not in _CLASSES[name]:
            return _unknown_class(name, key)
        if not _MAPS[name].holds(piece):
            return Refused(f"{name}.{key[:64]}", _MAPS[name].expected)
        if name == "tags" and len(key) > MAX_TEXT:
            return Refused(f"{name}.{key[:64]}", f"a tag's name has at most {MAX_TEXT} characters")
    return None


def _unknown_class(name: str, key: str) -> Refused:
    if name == "units" and key in RESERVED_UNITS:
        reason = "reserved: the exporter counts it itself"
    else:
        reason = f"unknown class; the classes are {', '.join(_CLASSES[name])}"
    return Refused(f"{name}.{key[:64]}", reason)


def _unknown(name: str, kind: type) -> Refused:
    shown = name[:64]
    if name in HINTS:
        return Refused(shown, f"unknown field; {HINTS[name]}", code="unknown_field")
    plain = re.sub(r"[^a-z0-9]", "", shown.lower())
    near = _FIELDS[kind].get(plain)
    if near is not None:
        return Refused(shown, f"unknown field; write {near}", code="unknown_field")
    names = ", ".join(kind.__struct_fields__)  # type: ignore[attr-defined]
    return Refused(shown, f"unknown field; the fields are {names}", code="unknown_field")
