"""Events that no cell holds yet: what is to be added up of them, in one sweep for many.

Adding up a thousand events of a cell at once costs a fraction of adding them one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import NamedTuple

from costmeter.ledger.dims import Dim
from costmeter.model import TOKEN_CLASSES
from costmeter.pricing import Rate
from costmeter.pricing.gpu_hours import gpu_parts
from costmeter.pricing.rates import FEE, FOLLOWING

_TOKENS = frozenset(TOKEN_CLASSES)

#: End of the release (0: none), booking day, history: how amounts reach the counters.
LaneKey = tuple[int, int, bool]
#: dim, cell, status, number of the rate (None: unpriced), whether it is a resource's time, and
#: the names of the classes that it counts.
GroupKey = tuple[int, int, str, int | None, bool, tuple[str, ...]]


class Group:
    """Events that land in the same cell, at the same rate, and count the same classes.

    `numbers` are the amounts of every event in the order of `names`, one event after the other;
    `users[i]` is who made event i and `nanos[i]` what it costs, 0 where there is no price. The
    events themselves are let go of at once: they are many, and stored already. Plain numbers
    beside each other are added up several times as fast as mappings scattered in memory.
    """

    __slots__ = ("accrues", "dim", "latency_ms", "names", "nanos", "numbers", "rate", "users")

    def __init__(
        self, dim: Dim, rate: Rate | None, names: tuple[str, ...], *, accrues: bool
    ) -> None:
        self.dim = dim
        self.rate = rate
        self.names = names
        self.accrues = accrues
        self.numbers: list[int] = []
        self.users: list[str] = []
        self.nanos: list[int] = []
        self.latency_ms = 0

    def quantities(self) -> Mapping[str, int]:
        """Pieces of each class."""
        return {name: sum(self._column(name)) for name in sorted(self.names)}

    def calls(self) -> int:
        """How many calls they are: an event that sums up many says how many."""
        return sum(self._column(FEE)) if FEE in self.names else len(self.users)

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

    def fold(self, users: dict[str, list[int]]) -> None:
        """Add [calls, tokens, up] of each event to its user; a resource's time has no user."""
        if self.accrues:
            return
        calls: Iterable[int] = self._column(FEE) if FEE in self.names else repeat(1)
        columns = [self._column(name) for name in self.names if name in _TOKENS]
        tokens: Iterable[int] = map(sum, zip(*columns, strict=True)) if columns else repeat(0)
        for user_id, call, token, nano in zip(self.users, calls, tokens, self.nanos):  # noqa: B905
            figures = users.get(user_id)
            if figures is None:
                users[user_id] = [call, token, nano]
            else:
                figures[0] += call
                figures[1] += token
                figures[2] += nano

    def _column(self, name: str) -> list[int]:
        """The amounts of one class, event by event."""
        return self.numbers[self.names.index(name) :: len(self.names)]

    def _events(self) -> Iterator[Mapping[str, int]]:
        """The amounts of each event by class."""
        width = len(self.names)
        for first in range(0, len(self.users) * width, width or 1):
            yield dict(zip(self.names, self.numbers[first : first + width], strict=True))

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
        for amounts in self._events():
            for name, cost in (rate.costs(amounts) or {}).items():
                found[name] = found.get(name, 0) + cost
        return found

    def _parts(self, rate: Rate) -> Mapping[str, int]:
        """Pieces of an hour bear differences of sums: each is divided by itself."""
        found: dict[str, int] = {}
        for amounts, nano in zip(self._events(), self.nanos, strict=True):
            for name, part in gpu_parts(rate, amounts, nano).items():
                found[name] = found.get(name, 0) + part
        return found


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
