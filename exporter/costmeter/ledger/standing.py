"""An event as it stands after its changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from costmeter.ledger.dims import Dim, Dims
from costmeter.model import TOKEN_CLASSES

_TOKENS = frozenset(TOKEN_CLASSES)
#: Every event with its last change; a condition on `e` may follow.
EVENTS = (
    "SELECT e.event, e.day, e.at_ms, e.feed, e.latency_ms, e.user_id, e.resource, "
    "coalesce(c.dim, e.dim), coalesce(c.status, e.status), coalesce(c.processing, e.processing), "
    "coalesce(c.quantities, e.quantities), iif(c.seq IS NULL, e.rate, c.rate), "
    "iif(c.seq IS NULL, e.nano, c.nano), coalesce(c.seq, 0) "
    "FROM usage_event AS e LEFT JOIN event_change AS c ON c.event = e.event AND c.seq = "
    "(SELECT max(seq) FROM event_change WHERE event = e.event) "
)


class State(NamedTuple):
    """`rate` and `nano` are None while it has no price; `seq` counts its changes."""

    event: int
    day: int
    at_ms: int
    feed: str
    latency_ms: int
    user_id: str
    resource: str
    dim: Dim
    status: str
    processing: str
    quantities: Mapping[str, int]
    rate: int | None
    nano: int | None
    seq: int

    @property
    def tokens(self) -> int:
        return sum(amount for name, amount in self.quantities.items() if name in _TOKENS)


def state_of(row: Sequence[Any], dims: Dims) -> State:
    """A row of `EVENTS`."""
    dim = dims.numbered(row[7])
    return State._make((*row[:7], dim, *row[8:10], msgspec.json.decode(row[10]), *row[11:]))
