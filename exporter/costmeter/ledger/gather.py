"""Sums of the events that no cell holds yet: carried on, in one sweep, at each flush."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from costmeter.ledger.dims import Dim
from costmeter.model import TOKEN_CLASSES, Usage
from costmeter.pricing import Rate

_TOKENS = frozenset(TOKEN_CLASSES)

#: dim, cell, status, rate, end of the release, booking day, history.
GroupKey = tuple[int, int, str, str, int, int, bool]
#: org, day, user, model, booking day.
UserKey = tuple[int, int, str, str, int]


class Group:
    """Events that land in the same cell, at the same rate."""

    __slots__ = ("dim", "latency_ms", "nano", "nanos", "quantities", "rate", "requests", "rounded")

    def __init__(self, dim: Dim, rate: Rate | None) -> None:
        self.dim = dim
        self.rate = rate
        #: A rate with a class that is no whole nano a piece is rounded call by call.
        self.rounded = rate is not None and len(rate.piece) != len(rate.prices)
        self.requests = self.latency_ms = self.nano = 0
        self.quantities: dict[str, int] = {}
        self.nanos: dict[str, int] = {}

    def by_class(self) -> Mapping[str, int]:
        """Nano-USD per class. Prices of whole nano a piece need no look at each call."""
        if self.nanos or self.rate is None:
            return self.nanos
        piece = self.rate.piece
        return {name: amount * piece[name] for name, amount in self.quantities.items() if amount}


class Gatherer:
    """What booked events add up to since the last flush; memory only."""

    def __init__(self, cell_ms: int) -> None:
        self._cell_ms = cell_ms
        self._groups: dict[GroupKey, Group] = {}
        self.users: dict[UserKey, list[int]] = {}
        """[requests, tokens, up] by user and day."""

    def clear(self) -> None:
        self._groups.clear()
        self.users.clear()

    def groups(self) -> Iterator[tuple[GroupKey, Group]]:
        return iter(self._groups.items())

    def add(
        self,
        dim: Dim,
        day: int,
        usage: Usage,
        rate: Rate | None,
        nano: int | None,
        until_ms: int,
        booked: int,
        *,
        history: bool,
    ) -> None:
        """Take in one event. The hot path: every event comes through here."""
        _, at_ms, _, labels, quantities, status, latency_ms, _, user_id, _, resource, _ = usage
        priced = nano is not None and rate is not None
        key = (
            dim.dim,
            at_ms - at_ms % self._cell_ms,
            status,
            rate.rate_id if rate is not None and priced else "",
            until_ms,
            booked,
            history,
        )
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(dim, rate if priced else None)
        group.requests += 1
        group.latency_ms += latency_ms
        sums = group.quantities
        tokens = 0
        for name, amount in quantities.items():
            if name in _TOKENS:
                tokens += amount
            if name in sums:
                sums[name] += amount
            else:
                sums[name] = amount
        if nano is not None and rate is not None:
            group.nano += nano
            if resource:
                group.nanos["gpu_ms"] = group.nanos.get("gpu_ms", 0) + nano
            elif group.rounded:
                for name, cost in (rate.costs(quantities) or {}).items():
                    group.nanos[name] = group.nanos.get(name, 0) + cost
        if resource:
            return
        user = (dim.org, day, user_id, labels.model, booked)
        figures = self.users.get(user)
        if figures is None:
            self.users[user] = [1, tokens, nano or 0]
        else:
            figures[0] += 1
            figures[1] += tokens
            figures[2] += nano or 0
