"""All budgets at once, as running sums: a posting touches the budgets it belongs to alone.

A million budgets are a few arrays here. Each knows up to which spend nothing about it can
change, so most postings are one addition and no judgement. Periods end by groups of budgets
that share them; an hour that leaves the last seven days is taken off those that spent in it.
Pure: the ledger's figures and `now` are handed in.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator

from costmeter.analysis.budgets.groups import Group, Groups
from costmeter.analysis.budgets.status import RATE_WINDOW_MS, Expected, window_of
from costmeter.model import MS_PER_DAY, MS_PER_HOUR, Cut

#: Set in `loudness` beside the level where the projection is over 110 % of the limit.
PROJECTED = 4
_NEVER = 1 << 62
#: Between so many and so many budgets are kept as those that may be among the worst.
_LEAST, _MOST = 5_000, 20_000
#: Of the limit; finer than thousandths, for a million budgets may have spent next to nothing.
_PARTS = 1_000_000


class Board:
    """Indexed by the budget's number in the ledger; `now_ms` never goes back."""

    def __init__(self, cell_ms: int = MS_PER_HOUR) -> None:
        """`cell_ms` is the width of the ledger's cells, whose beginnings postings name as hour."""
        self._cell_ms = cell_ms
        self.spent, self.limit, self.first = array("q"), array("q"), array("q")
        self.group_of = array("i")
        self.warning, self.critical = array("H"), array("H")
        self.loudness = bytearray()
        self._groups = Groups()
        self.groups = self._groups.all
        self.loud: set[int] = set()
        """Budgets that are at a threshold, or projected over the limit."""
        self.expected: dict[int, Expected] = {}
        self.once: dict[int, int] = {}
        self.planned: dict[int, tuple[int, int]] = {}
        """(planned spend to come, plans within the recent spend) of budgets with plans."""
        self.touched: set[int] = set()
        """Budgets to be judged: something about them may have changed."""
        self._beyond = array("q")
        """Spend of the last seven days less that of the period: most postings leave it alone."""
        self._calm = array("q")
        """The spend of the period up to which nothing can change, at any time; see `judge`.

        Its complement where there was no spend yet: the first one is to be noted.
        """
        self._waning: set[int] = set()
        """Those that only the rate takes over the limit: they may grow quiet by time alone."""
        self._candidates: set[int] = set()
        self._threshold = -1

    def __len__(self) -> int:
        return sum(len(group.members) for group in self.groups)

    def numbers(self) -> Iterator[int]:
        for group in self.groups:
            yield from group.members

    def place(
        self, number: int, cut: Cut, limit: int, warning: int, critical: int, now_ms: int
    ) -> None:
        """Put a budget on the board, or put it anew; its sums are set by `fill`."""
        if number >= len(self.group_of):
            self._grow(number)
        self.remove(number)
        index = self._groups.of(cut, now_ms)
        self.groups[index].members.add(number)
        self.group_of[number] = index
        self.limit[number] = limit
        self.warning[number] = warning
        self.critical[number] = critical
        self.spent[number] = self._beyond[number] = 0
        self.first[number] = _NEVER
        self._calm[number] = -_NEVER
        self.touched.add(number)

    def fill(self, number: int, *, spent: int, recent: int, first_ms: int | None) -> None:
        self.spent[number], self._beyond[number] = spent, recent - spent
        self.first[number] = _NEVER if first_ms is None else first_ms
        self.touched.add(number)

    def fill_all(
        self, hours: Iterable[tuple[int, int]], periods: Iterable[tuple[int, int, int]]
    ) -> None:
        """Fill budgets that were just placed, from (number, net) of the hours of the last seven
        days and (number, start, net) of periods; those of other budgets are passed over.
        """
        group_of, groups, beyond, spent = self.group_of, self.groups, self._beyond, self.spent
        size = len(group_of)
        for number, net in hours:
            if number < size:
                beyond[number] += net
        for number, start, net in periods:
            if (
                number < size
                and (index := group_of[number]) >= 0
                and groups[index].start_ms == start
            ):
                spent[number] = net
                beyond[number] -= net

    def refill(self, number: int, spent: int) -> None:
        """Set what is spent in a period that has just begun."""
        self._beyond[number] += self.spent[number] - spent
        self.spent[number] = spent
        self.touched.add(number)

    def recent(self, number: int) -> int:
        """Spend of the last seven days."""
        return self.spent[number] + self._beyond[number]

    def remove(self, number: int) -> None:
        if self.has(number):
            self.groups[self.group_of[number]].members.discard(number)
            self.group_of[number] = -1
            self.loudness[number] = 0
            for members in (self.loud, self._waning, self._candidates):
                members.discard(number)
            for kept in (self.expected, self.once, self.planned):
                kept.pop(number, None)

    def has(self, number: int) -> bool:
        return number < len(self.group_of) and self.group_of[number] >= 0

    def period(self, number: int) -> tuple[int, int]:
        """The current period; (0, 0) where the budget has none now."""
        group = self.groups[self.group_of[number]]
        return group.start_ms, group.end_ms

    def add(self, rows: Iterable[tuple[int, int, int]], now_ms: int) -> list[int]:
        """Take in (number, hour, net) as booked; numbers whose past periods moved."""
        since_ms, late_ms = now_ms - RATE_WINDOW_MS, now_ms - self._cell_ms
        group_of, groups, calm = self.group_of, self.groups, self._calm
        spent, beyond, first = self.spent, self._beyond, self.first
        size, past = len(group_of), []
        for number, hour, net in rows:
            if number >= size or (index := group_of[number]) < 0:
                continue
            group = groups[index]
            if group.start_ms <= hour < group.end_ms:
                spent[number] = total = spent[number] + net
                current = net >= 0 and hour > late_ms
                # The common case, in the cell of now, ends here: `first` is no later.
                if current and total <= calm[number]:
                    continue
                if hour < since_ms:
                    beyond[number] -= net
                elif current and first[number] > now_ms and total <= ~calm[number] < _NEVER - 1:
                    first[number], calm[number] = hour, ~calm[number]
                    continue
            else:
                if hour < group.start_ms:
                    past.append(number)
                if hour >= since_ms:
                    beyond[number] += net
            if hour < first[number]:
                first[number] = hour
            self.touched.add(number)
        return past

    def expire(self, rows: Iterable[tuple[int, int]]) -> None:
        """Take (number, net) of hours that left the last seven days off the recent sums."""
        size = len(self.group_of)
        for number, net in rows:
            if number < size and self.group_of[number] >= 0:
                self._beyond[number] -= net
                if net < 0:  # else the projection can only sink: see `_waning`
                    self.touched.add(number)

    def renewed(self, now_ms: int) -> list[Group]:
        """Groups whose period has changed by `now`; their members' spend is to be filled."""
        found = list(self._groups.renewed(now_ms))
        for group in found:
            for number in group.members:
                self.refill(number, 0)
        return found

    def forecast(self, number: int, now_ms: int) -> int:
        """The projection, or the forecast that takes its place."""
        spent = self.spent[number]
        said = self.expected.get(number)
        if said is not None:
            return max(said.total, spent)
        planned, in_rate = self.planned.get(number, (0, 0))
        recent = self.recent(number) - self.once.get(number, 0) - in_rate
        left_ms = self.groups[self.group_of[number]].end_ms - now_ms
        if recent <= 0 or left_ms <= 0:
            return spent + planned
        first = self.first[number]
        window_ms = window_of(None if first == _NEVER else first, now_ms)
        return spent + planned + recent * left_ms // window_ms

    def judge(self, numbers: Iterable[int], now_ms: int) -> None:  # noqa: C901 - calls cost more
        """Bring the levels of these budgets up to date. The hot path: spelled out.

        And say what may be spent more, `room`, before anything can change: up to the next
        threshold, until the projection passes 110 %, until the budget may be among the worst.
        The projection is spent + recent x left / window. Time shrinks what is left and widens
        the window, and spend d adds at most d to both sums, so it stays at or under F while
        d x (window + left) <= (F - spent) x window - recent x left, with the figures of now.
        """
        group_of, groups, limits, spents = self.group_of, self.groups, self.limit, self.spent
        beyond, firsts, threshold = self._beyond, self.first, self._threshold
        size, apart = len(group_of), bool(self.expected or self.once or self.planned)
        loudnesses, candidates, calm = self.loudness, self._candidates, self._calm
        for number in numbers:
            if number >= size or (index := group_of[number]) < 0:
                continue
            limit, spent, end_ms = limits[number], spents[number], groups[index].end_ms
            loudness, room, waning = 0, -1, False
            permille = spent * 1_000
            if limit >= 0 and end_ms:  # else it has no limit in USD, or no period now
                if spent > limit:
                    loudness, room = 3, _NEVER
                elif spent > 0 and permille >= (above := self.critical[number] * limit):
                    loudness, room = 2, limit - spent
                elif spent > 0 and permille >= self.warning[number] * limit:
                    loudness, room = 1, (above - 1) // 1_000 - spent
                else:
                    room = (self.warning[number] * limit - 1) // 1_000 - spent
                most = limit * 110 // 100
                if apart and (
                    number in self.expected or number in self.once or number in self.planned
                ):
                    forecast, room = self.forecast(number, now_ms), -1
                else:
                    forecast, recent = spent, spent + beyond[number]
                    window_ms = now_ms - firsts[number]
                    if not MS_PER_DAY <= window_ms <= RATE_WINDOW_MS:
                        window_ms = window_of(firsts[number], now_ms)
                    left_ms = max(end_ms - now_ms, 0)
                    rate = recent * left_ms if recent > 0 else 0
                    forecast += rate // window_ms
                    if forecast <= most:
                        quiet = ((most - spent) * window_ms - rate) // (window_ms + left_ms)
                        if quiet < room:
                            room = quiet
                if forecast > most:
                    loudness, waning = loudness | PROJECTED, spent <= most
            if loudness != loudnesses[number]:
                loudnesses[number] = loudness
                (self.loud.add if loudness else self.loud.discard)(number)
            (self._waning.add if waning else self._waning.discard)(number)
            share, bar = spent * _PARTS, threshold * max(limit, 1)
            if share > bar and limit >= 0:
                candidates.add(number)
            else:
                if share < bar:
                    candidates.discard(number)
                room = min(room, bar // _PARTS - spent)
            reach = spent + min(room, _NEVER - abs(spent))
            calm[number] = reach if firsts[number] <= now_ms else ~max(reach, 0)

    def judge_touched(self, now_ms: int) -> None:
        """What moved, and what may grow quiet by time alone."""
        touched, self.touched = self.touched, set()
        if len(touched) > _MOST:
            self._rank(_LEAST)
        self.judge(touched, now_ms)
        self.judge(self._waning - touched, now_ms)

    def ratio(self, number: int) -> int:
        """How much of the limit is spent, in millionths; -1 where there is no limit in USD."""
        limit = self.limit[number]
        return self.spent[number] * _PARTS // max(limit, 1) if limit >= 0 else -1

    def worst(self, count: int, beside: set[int]) -> list[int]:
        """The budgets that are spent the most, without those of `beside`."""
        found = self._candidates - beside
        if len(found) < min(count, len(self) - len(beside)) or len(self._candidates) > _MOST:
            self._rank(max(_LEAST, count + len(beside)))
            found = self._candidates - beside
        return heapq.nlargest(count, found, key=lambda number: (self.ratio(number), -number))

    def _rank(self, keep: int) -> None:
        """Look at all budgets, and set the bar over which others come among the candidates."""
        placed = (number for number, group in enumerate(self.group_of) if group >= 0)
        ranked = heapq.nlargest(keep, placed, key=self.ratio)
        self._threshold = self.ratio(ranked[-1]) if len(ranked) == keep else -1
        self._candidates = set(ranked)
        # It was measured up to the bar that stood before.
        self._calm = array("q", [-_NEVER]) * len(self._calm)

    def _grow(self, number: int) -> None:
        size = len(self.group_of)
        more = max(number + 1 - size, size // 8, 1_024)
        for figures in (self.spent, self._beyond, self.limit, self.first, self._calm):
            figures.frombytes(bytes(8 * more))
        self.group_of.extend([-1] * more)
        for shares in (self.warning, self.critical):
            shares.frombytes(bytes(2 * more))
        self.loudness.extend(bytes(more))
