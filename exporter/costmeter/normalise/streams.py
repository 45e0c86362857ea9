"""A stream of events: the last word on its usage, put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .reading import Normalised, text
from .responses import INVOCATION_METRICS, find_usage, found_usage

#: What an earlier event says of the response and a later one leaves out.
_HEAD = (
    "id",
    "model",
    "modelVersion",
    "responseId",
    "service_tier",
    "serviceTier",
    "ResponseMetadata",
)


def normalise_stream(provider: str, events: Iterable[Mapping[str, Any]]) -> Normalised | None:
    """Read the events of one streamed response, in their order; None without usage.

    Providers repeat usage as a running total, so a later figure replaces an earlier one
    of the same name; the names that only an earlier event has are kept (Anthropic's
    `message_start` has the input, its `message_delta` the output). Raises `UsageError`.
    """
    head: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    key = root = ""
    batch = False
    last: Mapping[str, Any] = {}
    for event in events:
        _remember(head, event)
        found = find_usage(event)
        if found is None:
            continue
        if usage and found[1] == INVOCATION_METRICS:
            continue  # Bedrock repeats what the model's own events said in more detail
        last, found_key, root, batch = found
        _remember(head, last)
        latest = last[found_key] if found_key else last
        if found_key != key:
            usage = {}
        key = found_key
        usage.update({name: value for name, value in latest.items() if value is not None})
    if not usage:
        return None
    body = {**usage, **head} if not key else {**last, **head, key: usage}
    return found_usage(provider, body, key, root, batch)


def _remember(head: dict[str, Any], event: object) -> None:
    if not isinstance(event, Mapping):
        return
    for name in _HEAD:
        if event.get(name) is not None:
            head[name] = event[name]
    for inner in ("message", "response", "chunk"):
        if isinstance(event.get(inner), Mapping):
            _remember_flat(head, event[inner])


def _remember_flat(head: dict[str, Any], event: Mapping[str, Any]) -> None:
    for name in _HEAD:
        if text(event, name):
            head[name] = event[name]
