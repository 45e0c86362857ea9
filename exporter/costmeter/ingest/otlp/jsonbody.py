"""The envelopes of OTLP's JSON, opened as far as the pieces and no further."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from costmeter.ingest.body import COMMAS_PER_EVENT
from costmeter.ingest.otlp.attributes import Attributes
from costmeter.ingest.otlp.span import NOT_TYPED, KeyValue, read_key_values
from costmeter.ingest.refusal import Refused, TooLarge, Unreadable

#: A low limit of events is none of attributes and of spans that are no calls.
_FEW_EVENTS = 10_000

Body = TypeVar("Body", bound=Struct)


class _Scope(Struct, gc=False):
    name: str | None = None


class _ScopeSpans(Struct, gc=False):
    scope: _Scope | None = None
    spans: list[Raw] | None = None


class Resource(Struct, gc=False):
    attributes: list[KeyValue] | None = None


class _ResourceSpans(Struct, gc=False):
    resource: Resource | None = None
    scopeSpans: list[_ScopeSpans] | None = None  # noqa: N815 - the names of OTLP


class _Traces(Struct, gc=False):
    resourceSpans: list[_ResourceSpans] | None = None  # noqa: N815


_TRACES = msgspec.json.Decoder(_Traces)


def spans(
    body: bytes, attributes: Attributes, max_events: int
) -> Iterator[tuple[dict[Any, Any] | Refused, str, Sequence[Raw]]]:
    """A resource's fields, a scope's name and the scope's spans. Raises Unreadable, TooLarge."""
    for resource_spans in opened(body, _TRACES, max_events).resourceSpans or ():
        resource = owner(resource_spans.resource, attributes)
        for scope_spans in resource_spans.scopeSpans or ():
            yield resource, name_of(scope_spans.scope), scope_spans.spans or ()


def opened(body: bytes, decoder: msgspec.json.Decoder[Body], max_events: int) -> Body:
    """The typed body; raises Unreadable, and TooLarge for more values than it may hold."""
    if body.count(b",") > COMMAS_PER_EVENT * max(max_events, _FEW_EVENTS):
        raise TooLarge("the body holds too many values; send smaller batches")
    try:
        return decoder.decode(body)
    except NOT_TYPED as error:
        raise Unreadable(f"the body is no OTLP JSON: {error}") from None


def owner(resource: Resource | None, attributes: Attributes) -> dict[Any, Any] | Refused:
    """A resource's fields, or why they cannot be read."""
    if resource is None or not resource.attributes:
        return {}
    try:
        return read_key_values(resource.attributes, attributes)
    except Refused as refused:
        return refused


def name_of(scope: _Scope | None) -> str:
    return (scope.name or "") if scope is not None else ""
