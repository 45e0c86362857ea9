"""Events that no cell holds yet: what is to be added up of them, in one sweep for many.

Adding up a thousand events of a cell at once costs a fraction of adding them one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from costmeter.ledger.dims import Dim
from costmeter.model import TOKEN_CLASSES
from costmeter.pricing import Rate
from costmeter.pricing.gpu_hours import gpu_parts
from costmeter.pricing.rates import FEE, FOLLOWING, calls_of

_TOKENS = frozenset(TOKEN_CLASSES)

#: End of the release (0: none), booking day, history: how amounts reach the counters.
LaneKey = tuple[int, int, bool]
#: dim, cell, status, number of the rate (None: unpriced), whether it is a resource's time.
GroupKey = tuple[int, int, str, int | None, bool]


class Group:
    """Events that land in the same cell, at the same rate; what is kept of them to add up.

    `amounts[i]` are the quantities of event i, `users[i]` is who made it and `nanos[i]` what
    it costs. The events themselves are let go of at once: they are many, and stored already.
    """

    __slots__ = ("accrues", "amounts", "dim", "latency_ms", "nanos", "rate", "users")

    def __init__(self, dim: Dim, rate: Rate | None, *, accrues: bool) -> None:
        self.dim = dim
        self.rate = rate
        self.accrues = accrues
        self.amounts: list[Mapping[str, int]] = []
        self.users: list[str] = []
        self.nanos: list[int] = []
        self.latency_ms = 0

    def quantities(self) -> Mapping[str, int]:
        """Pieces of each class."""
        names: set[str] = set().union(*self.amounts)
        return {name: sum([q.get(name, 0) for q in self.amounts]) for name in sorted(names)}

    def calls(self, quantities: Mapping[str, int]) -> int:
        """How many calls they are: an event that sums up many says how many."""
        if FEE not in quantities:
            return len(self.amounts)
        return sum(map(calls_of, self.amounts))

    def by_class(self, quantities: Mapping[str, int]) -> Mapping[str, int]:
        """Nano-USD of each class."""
        if self.rate is None:
            return {}
        if self.accrues:
            return self._parts(self.rate)
        return self._costs(self.rate, quantities)

    def saved(self, quantities: Mapping[str, int]) -> int:
        """How much more nano-USD it would be at list prices; below 0 where it would be less."""
        if self.rate is None or self.rate.listed is None:
            return 0
        return sum(self._costs(self.rate.listed, quantities).values()) - sum(self.nanos)

    def _costs(self, rate: Rate, quantities: Mapping[str, int]) -> Mapping[str, int]:
        """Prices of whole nano a piece need no look at each call."""
        piece = rate.piece
        if len(piece) == len(rate.prices) and FOLLOWING.isdisjoint(quantities):
            return {
                name: amount * piece[name]
                for name, amount in quantities.items()
                if amount and name != FEE
            }
        found: dict[str, int] = {}
        for amounts in self.amounts:
            for name, cost in (rate.costs(amounts) or {}).items():
                found[name] = found.get(name, 0) + cost
        return found

    def _parts(self, rate: Rate) -> Mapping[str, int]:
        """Pieces of an hour bear differences of sums: each is divided by itself."""
        found: dict[str, int] = {}
        for amounts, nano in zip(self.amounts, self.nanos, strict=True):
            for name, part in gpu_parts(rate, amounts, nano).items():
                found[name] = found.get(name, 0) + part
        return found

    def fold(self, users: dict[str, list[int]]) -> None:
        """Add [calls, tokens, up] of each event to its user; a resource's time has no user."""
        if self.accrues:
            return
        nanos = self.nanos or [0] * len(self.users)
        for user_id, amounts, nano in zip(self.users, self.amounts, nanos, strict=True):
            calls = 1
            if _TOKENS.issuperset(amounts):
                tokens = sum(amounts.values())
            else:
                tokens = sum(n for name, n in amounts.items() if name in _TOKENS)
                calls = calls_of(amounts)
            figures = users.get(user_id)
            if figures is None:
                users[user_id] = [calls, tokens, nano]
            else:
                figures[0] += calls
                figures[1] += tokens
                figures[2] += nano


class UsersOf(NamedTuple):
    """What the users of a cell add to their days and budgets: [calls, tokens, up] of each."""

    dim: Dim
    hour_ms: int
    lane: LaneKey
    figures: dict[str, list[int]]


Lane = dict[GroupKey, Group]


class Gatherer:
    """What was booked since the last flush; memory only.

    Events wait in groups until they are carried. Users are many and their events few, so what
    these add to a user waits on, for all of a flush.
    """

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, Lane] = {}
        self._users: dict[tuple[LaneKey, int, int], UsersOf] = {}

    def clear(self) -> None:
        self._lanes.clear()
        self._users.clear()

    def carried(self) -> None:
        """The groups are added up; their users wait on."""
        self._lanes.clear()

    def users(self, lane: LaneKey, dim: Dim, hour_ms: int) -> dict[str, list[int]]:
        """Where a group's users are added up."""
        key = (lane, dim.dim, hour_ms)
        found = self._users.get(key)
        if found is None:
            found = self._users[key] = UsersOf(dim, hour_ms, lane, {})
        return found.figures

    def take_users(self) -> Sequence[UsersOf]:
        """All that waits of users, once."""
        found = tuple(self._users.values())
        self._users.clear()
        return found

    def groups(self) -> Iterator[tuple[LaneKey, GroupKey, Group]]:
        for lane_key, lane in self._lanes.items():
            for group_key, group in lane.items():
                yield lane_key, group_key, group

    def lane(self, until_ms: int, booked: int, history: bool) -> Lane:
        """Where the events go whose amounts reach the counters in the same way."""
        key = (until_ms, booked, history)
        found = self._lanes.get(key)
        if found is None:
            found = self._lanes[key] = {}
        return found
