"""The usage event as it comes over the wire, and the bounds of what it may hold.

msgspec checks types and bounds in C while it decodes; `explain` finds the words for
what it refused.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from costmeter.model import GPU_ENERGY, GPU_TIME_CLASSES, TOKEN_CLASSES, UNIT_CLASSES

#: Longest text of any field, in characters. Label values become metric labels.
MAX_TEXT = 200
MAX_TAGS = 32
MAX_EVENTS = 10_000
#: A thousand times the longest context there is, for one call; it keeps sums in int64.
MAX_QUANTITY = 10**9
#: Eleven days: longer than any batch call may take, and sums stay in int64.
MAX_LATENCY_MS = 10**9

Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Count = Annotated[int, Meta(ge=0, le=MAX_QUANTITY)]
Share = Annotated[float, Meta(ge=0, le=1)]
#: RFC 3339 with a zone, or Unix milliseconds as an integer.
Instant = Annotated[datetime, Meta(tz=True)] | int
Tags = Annotated[dict[Text, Text], Meta(max_length=MAX_TAGS)]

#: GPU time and calls are counted by the exporter itself; nobody sends them as an event.
RESERVED_UNITS = frozenset({*GPU_TIME_CLASSES, GPU_ENERGY, "requests"})
SENT_UNITS = tuple(name for name in UNIT_CLASSES if name not in RESERVED_UNITS)


class Amount(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Integers by class; a class that is not named is 0. Names are checked in C."""


if TYPE_CHECKING:
    Tokens = Amount
    Units = Amount
else:
    Tokens = msgspec.defstruct("Tokens", [(n, Count, 0) for n in TOKEN_CLASSES], bases=(Amount,))
    Units = msgspec.defstruct("Units", [(n, Count, 0) for n in SENT_UNITS], bases=(Amount,))

#: The default of the fields that hold a provider's own JSON, which is parsed late.
NOTHING = Raw()


class Event(Struct, forbid_unknown_fields=True, gc=False):
    """One call to a model. A null means the same as leaving the field out."""

    timestamp: Instant
    request_id: Text | None = None
    response_id: Text | None = None
    provider: Text | None = None
    model: Text | None = None
    tokens: Tokens | None = None
    units: Units | None = None
    usage: Raw = NOTHING
    response: Raw = NOTHING
    tenant_id: Text | None = None
    account: Text | None = None
    region: Text | None = None
    environment: Text | None = None
    team: Text | None = None
    project: Text | None = None
    service: Text | None = None
    feature: Text | None = None
    operation: Text | None = None
    purpose: Text | None = None
    user_id: Text | None = None
    session_id: Text | None = None
    status: Literal["ok", "error", "aborted"] | None = None
    processing: Literal["standard", "batch", "flex", "priority", "fast"] | None = None
    latency_ms: Annotated[int, Meta(ge=0, le=MAX_LATENCY_MS)] | None = None
    prompt_hash: Text | None = None
    complexity: Share | None = None
    quality: Share | None = None
    tags: Tags | None = None


class CorrectionRecord(Struct, forbid_unknown_fields=True, gc=False):
    """What was wrong with one booked event. `set` holds the right values by field."""

    correction_id: Text
    tenant_id: Text | None = None
    timestamp: Instant | None = None
    day: Text | None = None
    request_id: Text | None = None
    response_id: Text | None = None
    provider: Text | None = None
    set: dict[str, Text] | None = None
    tokens: Tokens | None = None
    units: Units | None = None
