"""Budgets by how their time is cut: those that share a cut renew together."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from costmeter.ledger.budget_periods import periods_of
from costmeter.model import Cut

_NEVER = 1 << 62


class Group:
    """Budgets whose periods begin and end together."""

    __slots__ = ("cut", "end_ms", "members", "start_ms")

    def __init__(self, cut: Cut) -> None:
        self.cut = cut
        self.members: set[int] = set()
        self.start_ms = self.end_ms = 0

    def turn(self, now_ms: int) -> int:
        """Go to the period of `now`; when to look again. Without one, both ends are 0."""
        periods = periods_of(self.cut)
        self.start_ms, self.end_ms = periods.of(now_ms) or (0, 0)
        if self.end_ms:
            return self.end_ms
        return periods.next_start(now_ms) or _NEVER


class Groups:
    """All groups, by their place in `all`; the next to renew is at the head of a queue."""

    def __init__(self) -> None:
        self.all: list[Group] = []
        self._by_cut: dict[Cut, int] = {}
        self._queue: list[tuple[int, int]] = []

    def of(self, cut: Cut, now_ms: int) -> int:
        """The place of a cut's group, which is made when it is new."""
        index = self._by_cut.get(cut)
        if index is None:
            index = self._by_cut[cut] = len(self.all)
            group = Group(cut)
            self.all.append(group)
            heapq.heappush(self._queue, (group.turn(now_ms), index))
        return index

    def renewed(self, now_ms: int) -> Iterator[Group]:
        """Groups whose period has changed by `now`; they are in their new one."""
        while self._queue and self._queue[0][0] <= now_ms:
            _, index = heapq.heappop(self._queue)
            group = self.all[index]
            heapq.heappush(self._queue, (group.turn(now_ms), index))
            yield group
