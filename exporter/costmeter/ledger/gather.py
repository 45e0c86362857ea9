"""Events that no cell holds yet: kept as they are, and added up in one sweep at each flush.

Adding up a thousand events of a cell at once costs a fraction of adding them one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from costmeter.ledger.dims import Dim
from costmeter.model import TOKEN_CLASSES, Usage
from costmeter.pricing import Rate

_TOKENS = frozenset(TOKEN_CLASSES)

#: dim, cell, status, rate, end of the release, booking day, history.
GroupKey = tuple[int, int, str, str, int, int, bool]


class Group:
    """Events that land in the same cell, at the same rate; `nanos[i]` is what i costs."""

    __slots__ = ("dim", "nanos", "rate", "usages")

    def __init__(self, dim: Dim, rate: Rate | None) -> None:
        self.dim = dim
        self.rate = rate
        self.usages: list[Usage] = []
        self.nanos: list[int] = []

    def quantities(self) -> Mapping[str, int]:
        """Pieces of each class."""
        all_quantities = [usage.quantities for usage in self.usages]
        names: set[str] = set().union(*all_quantities)
        return {name: sum([q.get(name, 0) for q in all_quantities]) for name in sorted(names)}

    def by_class(self, quantities: Mapping[str, int]) -> Mapping[str, int]:
        """Nano-USD of each class. Prices of whole nano a piece need no look at each call."""
        if self.rate is None:
            return {}
        if self.usages[0].resource:
            return {"gpu_ms": sum(self.nanos)}
        piece = self.rate.piece
        if len(piece) == len(self.rate.prices):
            return {name: amount * piece[name] for name, amount in quantities.items() if amount}
        found: dict[str, int] = {}
        for usage in self.usages:
            for name, cost in (self.rate.costs(usage.quantities) or {}).items():
                found[name] = found.get(name, 0) + cost
        return found

    def users(self) -> Mapping[str, list[int]]:
        """[requests, tokens, up] of each user; a resource's time has no user."""
        found: dict[str, list[int]] = {}
        if self.usages[0].resource:
            return found
        nanos = self.nanos or [0] * len(self.usages)
        for usage, nano in zip(self.usages, nanos, strict=True):
            quantities = usage.quantities
            if _TOKENS.issuperset(quantities):
                tokens = sum(quantities.values())
            else:
                tokens = sum(n for name, n in quantities.items() if name in _TOKENS)
            figures = found.get(usage.user_id)
            if figures is None:
                found[usage.user_id] = [1, tokens, nano]
            else:
                figures[0] += 1
                figures[1] += tokens
                figures[2] += nano
        return found


class Gatherer:
    """What was booked since the last flush; memory only."""

    def __init__(self, cell_ms: int) -> None:
        self._cell_ms = cell_ms
        self._groups: dict[GroupKey, Group] = {}

    def clear(self) -> None:
        self._groups.clear()

    def groups(self) -> Iterator[tuple[GroupKey, Group]]:
        return iter(self._groups.items())

    def add(
        self,
        dim: Dim,
        usage: Usage,
        rate: Rate | None,
        nano: int | None,
        until_ms: int,
        booked: int,
        history: bool,
    ) -> None:
        """Take in one event."""
        at_ms = usage.at_ms
        rate_id = rate.rate_id if rate is not None and nano is not None else ""
        hour = at_ms - at_ms % self._cell_ms
        key = (dim.dim, hour, usage.status, rate_id, until_ms, booked, history)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(dim, rate if rate_id else None)
        group.usages.append(usage)
        if nano is not None:
            group.nanos.append(nano)
