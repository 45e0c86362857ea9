"""What a family shows of one series' past: a counter, the growth of an hour, a sum to date.

Each takes the changes of one series, (hour in ms, amount) in the order of time, and writes
its samples. A series that has not changed for `QUIET_MS` is left out until it does again, as
one is that left; what it showed holds at its next change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from costmeter.metrics.text import decimal_text
from costmeter.model import MS_PER_DAY
from costmeter.reports.timeline import Grid, Timeline

#: Longer than the week with which the dashboards compare.
QUIET_MS = 8 * MS_PER_DAY
_SECOND = 1000

Changes = Sequence[tuple[int, int]]


def counter(
    out: Timeline, grid: Grid, head: bytes, changes: Changes, end: int, decimals: int
) -> None:
    """A counter that stands at `end` when the grid ends.

    Where more happened than `end` says, the counter had a life before: it grew to what is
    missing and began anew at 0. A reset is what Prometheus expects of counters, so what
    `increase()` finds is right on both sides of it, and no value is below 0.
    """
    steps = _by_place(grid, ((hour, amount) for hour, amount in changes if amount > 0))
    if not steps:
        return
    before = end - sum(amount for _, amount in steps)
    missing = max(-before, 0)
    total = max(before, 0)
    places = [place for place, _ in steps]
    if places[0] > 0:
        out.run(head + decimal_text(total, decimals), grid, places[0] - 1, places[0])
    for (place, amount), until in zip(steps, [*places[1:], len(grid)], strict=True):
        reached = total + amount
        if missing and total <= missing < reached:
            if place > 0:
                if total < missing:
                    at_ms = grid.at_ms[place] - 2 * _SECOND
                    out.point(head + decimal_text(missing, decimals), at_ms)
                out.point(head + b"0", grid.at_ms[place] - _SECOND)
            reached -= missing
            missing = 0
        total = reached
        text = head + decimal_text(total, decimals)
        for first, last in _shown(grid, place, until):
            out.run(text, grid, first, last)


def growth(
    out: Timeline, grid: Grid, head: bytes, changes: Changes, decimals: int, lead: int = 0
) -> None:
    """What was added between each instant and the one before it; `lead` zeros stand before it.

    With them the mean over a day is right whose whole growth stands in its last hour.
    """
    steps = _by_place(grid, changes)
    if not steps:
        return
    places = [place for place, _ in steps]
    zero = head + b"0"
    out.run(zero, grid, max(places[0] - lead, 1), places[0])
    for (place, amount), until in zip(steps, [*places[1:], len(grid)], strict=True):
        if place > 0:
            out.run(head + decimal_text(amount, decimals), grid, place, place + 1)
        for first, last in _shown(grid, place, until):
            out.run(zero, grid, max(first, place + 1), last)


class Span(NamedTuple):
    """The places of a grid that lie in one period."""

    period: int
    first: int
    last: int


class Periods:
    """Periods of one kind on a grid. `of` and `before` number them and go back by one."""

    def __init__(self, grid: Grid, of: Callable[[int], int], before: Callable[[int], int]) -> None:
        self.grid = grid
        self.of = of
        self.before = before
        self.spans: list[Span] = []
        for place, at_ms in enumerate(grid.at_ms):
            period = of(at_ms)
            if self.spans and self.spans[-1].period == period:
                self.spans[-1] = self.spans[-1]._replace(last=place + 1)
            else:
                self.spans.append(Span(period, place, place + 1))


def to_date(out: Timeline, periods: Periods, head: bytes, changes: Changes, decimals: int) -> None:
    """What its period holds up to each instant; absent when it and the one before are 0."""
    by_period = _by_period(periods, changes)
    totals = {period: sum(n for _, n in found) for period, found in by_period.items()}
    for period, first, last in periods.spans:
        known = totals.get(periods.before(period), 0) != 0
        if not known and period not in by_period:
            continue
        total, at = 0, first
        for place, amount in _by_place(periods.grid, by_period.get(period, ())):
            if (total or known) and place > at:
                out.run(head + decimal_text(total, decimals), periods.grid, at, place)
            total, at = total + amount, place
        if total or known:
            out.run(head + decimal_text(total, decimals), periods.grid, at, last)


def whole_before(
    out: Timeline, periods: Periods, head: bytes, changes: Changes, decimals: int
) -> None:
    """What the whole period before held; absent when it and the one before that are 0."""
    totals = {
        period: sum(n for _, n in found) for period, found in _by_period(periods, changes).items()
    }
    for period, first, last in periods.spans:
        before = periods.before(period)
        value = totals.get(before, 0)
        if value or totals.get(periods.before(before), 0):
            out.run(head + decimal_text(value, decimals), periods.grid, first, last)


def _by_period(periods: Periods, changes: Changes) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    for hour, amount in changes:
        found.setdefault(periods.of(hour), []).append((hour, amount))
    return found


def _by_place(grid: Grid, changes: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Amounts added up by the first place that shows them; none behind the grid's end."""
    found: list[tuple[int, int]] = []
    for hour, amount in changes:
        place = grid.after(hour)
        if found and found[-1][0] == place:
            found[-1] = (place, found[-1][1] + amount)
        else:
            found.append((place, amount))
    return [(place, amount) for place, amount in found if amount and place < len(grid)]


def _shown(grid: Grid, place: int, until: int) -> Iterator[tuple[int, int]]:
    """The places at which a value shows from its change until the next one."""
    quiet = min(grid.after(grid.at_ms[place] + QUIET_MS), until)
    yield place, quiet
    if quiet < until < len(grid):
        yield until - 1, until
