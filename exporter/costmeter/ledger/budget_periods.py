"""The periods of a budget: which one an instant falls in, in the budget's own time zone.

Periods are [start, end) and lie side by side: what ends one begins the next, on days of 23
and of 25 hours too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import lru_cache
from zoneinfo import ZoneInfo

from costmeter.model import Cut, Planned

_HOUR = 3_600
#: Days that a custom period may repeat over; it keeps the arithmetic within the calendar.
_LAST = dt.date(9990, 1, 1)


class Periods:
    """Answers for one cut. Remembers the period that was asked for last."""

    def __init__(self, cut: Cut) -> None:
        """Raises ValueError for days that are none, and for an unknown zone or period."""
        self.cut = cut
        self._zone = ZoneInfo(cut.timezone)
        self._last: tuple[int, int] | None = None
        self._start = dt.date.fromisoformat(cut.start) if cut.start else None
        self._end = dt.date.fromisoformat(cut.end) if cut.end else None
        if cut.period == "custom" and (
            self._start is None or self._end is None or self._end <= self._start
        ):
            raise ValueError("a custom period needs a start, and an end after it")
        self._only: tuple[int, int] | None = None
        if cut.repeats == "never" and cut.period != "custom":
            if self._start is None:
                raise ValueError("a budget that does not renew needs a start")
            self._only = self._calendar(self._midnight(self._start))

    def of(self, at_ms: int) -> tuple[int, int] | None:
        """[start, end) of the period of an instant; None where the budget has none."""
        last = self._last
        if last is not None and last[0] <= at_ms < last[1]:
            return last
        if self._only is not None:
            found = self._only if self._only[0] <= at_ms < self._only[1] else None
        elif self.cut.period == "custom":
            found = self._custom(at_ms)
        else:
            found = self._calendar(at_ms)
        if found is not None:
            self._last = found
        return found

    def latest(self, at_ms: int) -> tuple[int, int] | None:
        """The period of an instant, else the last one before it; None before the first."""
        found = self.of(at_ms)
        if found is not None:
            return found
        for start, end in self._ended():
            if end <= at_ms:
                return start, end
        return None

    def next_start(self, at_ms: int) -> int | None:
        """When the period after that of `at_ms` begins; None when there is none."""
        found = self.of(at_ms)
        if found is not None:
            after = self.of(found[1])
            self._last = found
            if after is not None:
                return after[0]
        if self.cut.period == "custom" and self._start is not None:
            begin = self._midnight(self._start)
            if self.cut.repeats == "year":
                year = self._local(at_ms).year
                begins = (self._midnight(_in_year(self._start, y)) for y in range(year, year + 3))
                return next((b for b in begins if b > at_ms), None)
            return begin if begin > at_ms else None
        return self._only[0] if self._only is not None and self._only[0] > at_ms else None

    def _ended(self) -> Iterator[tuple[int, int]]:
        if self._only is not None:
            yield self._only
        elif self._start is not None and self._end is not None:
            yield self._midnight(self._start), self._midnight(self._end)

    def _custom(self, at_ms: int) -> tuple[int, int] | None:
        assert self._start is not None and self._end is not None  # noqa: PT018
        day = self._local(at_ms).date()
        start, end = self._start, self._end
        if self.cut.repeats == "length":
            length = end - start
            times = (day - start) // length
            if times >= 0 and day < _LAST:
                start, end = start + times * length, end + times * length
        elif self.cut.repeats == "year":
            for year in (day.year, day.year - 1):
                moved = _in_year(self._start, year)
                until = _in_year(self._end, year + self._end.year - self._start.year)
                if moved >= self._start and moved <= day < until:
                    start, end = moved, until
                    break
        first, after = self._midnight(start), self._midnight(end)
        return (first, after) if first <= at_ms < after else None

    def _calendar(self, at_ms: int) -> tuple[int, int]:
        if self.cut.period == "hour":
            return self._hour(at_ms)
        day = self._local(at_ms).date()
        start = self._first_day(day)
        first, after = self._midnight(start), self._midnight(self._next(start))
        # Where clocks go back over midnight a date may come twice.
        if at_ms < first:
            start = self._first_day(start - dt.timedelta(days=1))
            return self._midnight(start), first
        if at_ms >= after:
            return after, self._midnight(self._next(self._next(start)))
        return first, after

    def _first_day(self, day: dt.date) -> dt.date:
        period = self.cut.period
        if period == "day":
            return day
        if period == "week":
            return day - dt.timedelta(days=(day.weekday() - self.cut.week_starts) % 7)
        if period == "month":
            return day.replace(day=1)
        if period == "quarter":
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        if period == "year":
            return day.replace(month=1, day=1)
        raise ValueError(f"{period!r} is no period")

    def _next(self, start: dt.date) -> dt.date:
        period = self.cut.period
        if period in ("day", "week"):
            return start + dt.timedelta(days=1 if period == "day" else 7)
        return _months_on(start, {"month": 1, "quarter": 3, "year": 12}[period])

    def _hour(self, at_ms: int) -> tuple[int, int]:
        """A clock's hour; where the clock is put by less than one, the rest of it."""
        at = at_ms // 1000
        local = dt.datetime.fromtimestamp(at, self._zone)
        start = at - local.minute * 60 - local.second
        if self._offset(start) != self._offset(at):
            start = self._change(start, at)
        local = dt.datetime.fromtimestamp(start, self._zone)
        end = start + _HOUR - local.minute * 60 - local.second
        if self._offset(end - 1) != self._offset(start):
            end = self._change(start, end - 1)
        return start * 1000, end * 1000

    def _change(self, before: int, after: int) -> int:
        """The second from which the offset of `after` holds."""
        offset = self._offset(after)
        while after - before > 1:
            middle = (before + after) // 2
            if self._offset(middle) == offset:
                after = middle
            else:
                before = middle
        return after

    def _offset(self, at: int) -> dt.timedelta | None:
        return dt.datetime.fromtimestamp(at, self._zone).utcoffset()

    def _local(self, at_ms: int) -> dt.datetime:
        return dt.datetime.fromtimestamp(at_ms // 1000, self._zone)

    def _midnight(self, day: dt.date) -> int:
        return int(dt.datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp()) * 1000


@lru_cache(maxsize=4096)
def periods_of(cut: Cut) -> Periods:
    """The periods of a cut. Raises ValueError for a cut that is none."""
    return Periods(cut)


def due_between(
    planned: Planned, zone: str, since_ms: int, until_ms: int
) -> list[tuple[int, int, int]]:
    """(from, until, amount) of a planned item whose time begins in [since, until)."""
    place = ZoneInfo(zone)
    first = dt.datetime.fromisoformat(planned.at)
    found: list[tuple[int, int, int]] = []
    for local in _times(first, planned.repeats, since_ms, until_ms, place):
        begin = int(local.replace(tzinfo=place).timestamp()) * 1000
        if since_ms <= begin < until_ms:
            found.append((begin, begin + planned.hours * _HOUR * 1000, planned.amount_nano))
    return found


def _times(
    first: dt.datetime, repeats: str, since_ms: int, until_ms: int, zone: ZoneInfo
) -> Iterator[dt.datetime]:
    """Local times of the item around a span; a few more than lie in it."""
    if not repeats:
        yield first
        return
    since = dt.datetime.fromtimestamp(since_ms // 1000, zone).replace(tzinfo=None)
    until = dt.datetime.fromtimestamp(until_ms // 1000, zone).replace(tzinfo=None)
    if repeats in ("day", "week"):
        step = dt.timedelta(days=1 if repeats == "day" else 7)
        number = max((since - first) // step - 1, 0)
        at = first + number * step
        while at <= until + step:
            yield at
            at += step
        return
    months = {"month": 1, "quarter": 3, "year": 12}[repeats]
    passed = (since.year - first.year) * 12 + since.month - first.month
    number = max(passed // months - 1, 0)
    while True:
        day = _months_on(first.date().replace(day=1), number * months)
        last = (_months_on(day, 1) - dt.timedelta(days=1)).day
        at = dt.datetime.combine(day.replace(day=min(first.day, last)), first.time())
        if at > until + dt.timedelta(days=1):
            return
        yield at
        number += 1


def _months_on(day: dt.date, months: int) -> dt.date:
    index = day.year * 12 + day.month - 1 + months
    return day.replace(year=index // 12, month=index % 12 + 1)


def _in_year(day: dt.date, year: int) -> dt.date:
    """The same day in another year; the 29th of February is the 28th where there is none."""
    try:
        return day.replace(year=year)
    except ValueError:
        return day.replace(year=year, day=28)
