"""One tracked call: as the application's thread leaves it, and as the server wants it.

`track` only puts a tuple together. Checking and JSON are the background's work.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypedDict

from costmeter.model import (
    GPU_ENERGY,
    GPU_TIME_CLASSES,
    PROCESSING,
    STATUSES,
    TOKEN_CLASSES,
    UNIT_CLASSES,
)
from costmeter.sdk.response import short_id, skeleton, usage_of


class Fields(TypedDict, total=False):
    """What may be said of a call beside its usage; `docs/ingest.md` explains each."""

    tenant_id: str | None
    account: str | None
    region: str | None
    environment: str | None
    team: str | None
    project: str | None
    service: str | None
    feature: str | None
    operation: str | None
    purpose: str | None
    user_id: str | None
    session_id: str | None
    processing: str | None
    prompt_hash: str | None
    complexity: float | None
    quality: float | None
    tags: Mapping[str, str] | None


#: (Unix nanoseconds, provider, model, tokens, units, usage, response, request id, response
#: id, timestamp, latency, status, attributes of the context, fields). A plain tuple: a named
#: one takes three times as long to make.
Raw = tuple[
    int,
    object,
    object,
    object,
    object,
    object,
    object,
    object,
    object,
    object,
    object,
    object,
    Mapping[str, object] | None,
    Mapping[str, object],
]


class Line(NamedTuple):
    """An event ready to be sent: its own time in Unix milliseconds, and one line of JSON."""

    at_ms: int
    json: bytes


class Invalid(ValueError):
    """An event that the server could not take; the text says what to write instead."""


_NAMES = frozenset(Fields.__annotations__)
_NUMBERS = frozenset({"complexity", "quality"})
_TOKENS = frozenset(TOKEN_CLASSES)
_UNITS = frozenset(UNIT_CLASSES) - {*GPU_TIME_CLASSES, GPU_ENERGY, "requests"}
_TEXTS = _NAMES - _NUMBERS - {"tags", "processing"}
_NS_PER_MS = 1_000_000
_JSON = json.JSONEncoder(separators=(",", ":"), default=usage_of, allow_nan=False)


def encode(raw: Raw, request_id: str, defaults: Mapping[str, object]) -> Line:
    """The line of an event; its own request id wins over `request_id`. Raises Invalid."""
    (at_ns, provider, model, tokens, units, usage, response, own_id, response_id,
     timestamp, latency_ms, status, context, fields) = raw  # fmt: skip
    at_ms = at_ns // _NS_PER_MS if timestamp is None else _unix_ms(timestamp)
    event: dict[str, object] = {
        # First, so that a line on the disk shows its age without being parsed.
        "timestamp": at_ms,
        "request_id": request_id if own_id is None else _text("request_id", own_id),
        "provider": _needed("provider", provider),
    }
    if model or response is None:
        event["model"] = _needed("model", model)
    event |= _used(tokens, units, usage, response)
    if response_id is not None:
        event["response_id"] = short_id(_text("response_id", response_id))
    if latency_ms is not None:
        event["latency_ms"] = _latency(latency_ms)
    if status != "ok":
        event["status"] = _one_of("status", status, STATUSES)
    for name, value in _merged(fields, context, defaults).items():
        if type(value) is str and name in _TEXTS:  # nearly all of them
            event.setdefault(name, value)
        elif value is not None and name not in event:
            event[name] = _field(name, value)
    try:
        text = _JSON.encode(event)
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"cannot be written as JSON: {error}") from None
    return Line(at_ms, text.encode("utf-8", "surrogatepass"))


def _merged(
    fields: Mapping[str, object],
    context: Mapping[str, object] | None,
    defaults: Mapping[str, object],
) -> Mapping[str, object]:
    """What is said at the call wins over the request's attributes, and those over defaults.

    A field that is None is not said.
    """
    merged = dict(defaults)
    for given in (context, fields):
        if given:
            merged |= {name: value for name, value in given.items() if value is not None}
    return merged


def _used(tokens: object, units: object, usage: object, response: object) -> dict[str, object]:
    """One of tokens, usage and response; units may stand beside it, or alone."""
    used: dict[str, object] = {}
    if tokens is not None:
        used["tokens"] = _amounts("tokens", tokens, _TOKENS)
    if usage is not None:
        used["usage"] = usage_of(usage)
    if response is not None:
        used["response"] = _response(response)
    if len(used) > 1:
        raise Invalid(f"give {' or '.join(used)}, not both")
    if units is not None:
        used["units"] = _amounts("units", units, _UNITS)
    if not used:
        raise Invalid("give tokens=, units= or usage=; a call that used nothing says tokens={}")
    return used


def _field(name: str, value: object) -> object:
    if name in _NUMBERS:
        if isinstance(value, (int, float)) and math.isfinite(value):
            return value
        raise Invalid(f"{name}: expected a number from 0 to 1, not {_kind(value)}")
    if name == "tags":
        if isinstance(value, Mapping):
            return {_text("tags", key): _text(f"tags[{key!r}]", of) for key, of in value.items()}
        raise Invalid(f"tags: expected texts by name, not {_kind(value)}")
    if name == "processing":
        return _one_of(name, value, PROCESSING)
    if name not in _NAMES:
        raise Invalid(f"unknown field {name!r}; known are {', '.join(sorted(_NAMES))}")
    return _text(name, value)


def check_fields(given: Mapping[str, object]) -> None:
    """Raises Invalid for the first field that no event can have."""
    for name, value in given.items():
        if value is not None:
            _field(name, value)


def _needed(name: str, value: object) -> str:
    if not value:
        raise Invalid(f"{name}: missing; write {name}=... as the provider calls it")
    return _text(name, value)


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise Invalid(f"{name}: expected a text, not {_kind(value)}; write str(...) around it")


def _one_of(name: str, value: object, known: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in known:
        return value
    raise Invalid(f"{name}: expected one of {', '.join(known)}")


def _amounts(name: str, value: object, known: frozenset[str]) -> dict[str, int]:
    if type(value) is not dict and not isinstance(value, Mapping):
        raise Invalid(f'{name}: expected integers by class, like {{"input": 12}}')
    amounts = {}
    for kind, amount in value.items():
        if kind not in known:
            raise Invalid(
                f"{name}: unknown class {kind!r}; known are {', '.join(sorted(known))}. "
                "A provider's own object goes into usage="
            )
        try:
            amounts[kind] = operator.index(amount)
        except TypeError:
            raise Invalid(f"{name}.{kind}: expected an integer, not {_kind(amount)}") from None
    return amounts


def _latency(value: object) -> int:
    if isinstance(value, (int, float)) and math.isfinite(value) and value >= 0:
        return round(value)
    raise Invalid("latency_ms: expected milliseconds as a number that is not negative")


def _unix_ms(value: object) -> int:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise Invalid("timestamp: has no zone; write datetime.now(UTC)")
        return math.floor(value.timestamp() * 1000)
    if isinstance(value, int):
        return value
    raise Invalid("timestamp: expected a datetime with a zone, or Unix milliseconds as an integer")


def _response(body: Any) -> object:
    if isinstance(body, (bytes, bytearray, memoryview, str)):
        try:
            body = json.loads(body if isinstance(body, str) else bytes(body))
        except (ValueError, RecursionError) as error:
            raise Invalid(f"the response is no JSON: {error}") from None
    found = skeleton(body)
    if found is None:
        raise Invalid(
            "the response names no usage; give the whole response, or the event that ends "
            "the stream (OpenAI: stream_options={'include_usage': True})"
        )
    return found


def _kind(value: object) -> str:
    return type(value).__name__
