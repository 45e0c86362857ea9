"""Daily spend by scope: what forecasts and findings are made from. Integers of nano-USD.

A scope is (dimension, value). Days are those of a time zone, numbered from 1970-01-01. The
newest days also say when their amounts were booked, so that a day whose bills are still to
come is told from a cheap one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from sqlite3 import Connection
from zoneinfo import ZoneInfo

from msgspec import Struct, field

from costmeter.ledger.budget_reads import numbered
from costmeter.model import MS_PER_DAY

#: (dimension, value); the whole ledger is ("ledger", "").
Scope = tuple[str, str]
LEDGER: Scope = ("ledger", "")
#: Dimensions whose values are scopes, beside the ledger as a whole and budgets.
DIMENSIONS = ("category", "provider", "model", "tenant_id", "team", "feature")
#: What the values beyond the largest ones add up to.
OTHER = "_other"
#: Days by which what a day cost is taken to have arrived; what comes later changes the past.
ARRIVAL_DAYS = 14
#: Days of which the arrival is looked at.
_LESSON_DAYS = 42
_RANKED_DAYS = 30
_EARLY_DAYS = 28
_EPOCH = date(1970, 1, 1).toordinal()


class Series(Struct):
    """One scope's net spend by day, and of the newest days by (day, days until it was booked)."""

    days: dict[int, int] = field(default_factory=dict)
    booked: dict[tuple[int, int], int] = field(default_factory=dict)
    early: int = 0
    """Of the last four weeks, what was spent before this time of the day."""

    def add(self, day: int, age: int | None, nano: int) -> None:
        self.days[day] = self.days.get(day, 0) + nano
        if age is not None:
            self.booked[day, age] = self.booked.get((day, age), 0) + nano

    def merge(self, other: Series) -> None:
        for day, nano in other.days.items():
            self.add(day, None, nano)
        for (day, age), nano in other.booked.items():
            self.booked[day, age] = self.booked.get((day, age), 0) + nano
        self.early += other.early

    def share_before(self, today: int) -> float | None:
        """The share of an ordinary day that is spent by this time of it; None if not known."""
        whole = self.between(today - _EARLY_DAYS, today - 1)
        return min(max(self.early / whole, 0.0), 1.0) if whole > 0 else None

    def between(self, first: int, last: int) -> int:
        """Net spend of the days from `first` to `last`, both included."""
        return sum(nano for day, nano in self.days.items() if first <= day <= last)


class Daily(Struct, frozen=True):
    """All scopes as of one instant; `today` is the day that is not over.

    `first_booked` is the day on which the ledger first booked anything: what lies before it
    came as history, and says nothing about how late amounts are.
    """

    zone: str
    today: int
    first_booked: int
    scopes: Mapping[Scope, Series]


def day_number(at_ms: int, zone: ZoneInfo) -> int:
    """The day of an instant in a zone, counted from 1970-01-01."""
    return datetime.fromtimestamp(at_ms / 1000, zone).toordinal() - _EPOCH


def start_of(day: int, zone: ZoneInfo) -> int:
    """The first instant of a day in ms."""
    local = date.fromordinal(_EPOCH + day)
    return int(datetime(local.year, local.month, local.day, tzinfo=zone).timestamp()) * 1_000


def date_of(day: int) -> date:
    return date.fromordinal(_EPOCH + day)


def spend_by_day(
    connection: Connection,
    now_ms: int,
    zone_name: str,
    *,
    days: int = 400,
    most: int = 200,
    only: Scope | None = None,
) -> Daily:
    """Read `days` complete days and today of the ledger and of every dimension.

    Of a dimension the `most` largest values of the last 30 days are scopes of their own, and
    the rest is OTHER; with `only` it is that scope alone. Inside a read transaction.
    """
    zone = ZoneInfo(zone_name)
    today = day_number(now_ms, zone)
    since = start_of(today - days, zone)
    lessons = today - ARRIVAL_DAYS - _LESSON_DAYS
    names = _scopes_of(connection, only)
    found: dict[Scope, Series] = {}
    for begin, end, offset in _spans(zone, since, start_of(today + 1, zone)):
        # A span has one offset from UTC: days are cut by plain arithmetic, on 23 hours too.
        for day, dim, booked, nano in connection.execute(
            "SELECT (hour + ?) / 86400000 AS d, dim, "
            "CASE WHEN hour >= ? THEN booked END AS b, sum(up) - sum(down) "
            "FROM cell WHERE org IN (SELECT org FROM org) AND hour >= ? AND hour < ? "
            "GROUP BY d, dim, b",
            (offset, start_of(lessons, zone), begin, end),
        ):
            age = None if booked is None else max(booked - day, 0)
            for scope in names.get(dim, ()):
                found.setdefault(scope, Series()).add(day, age, nano)
    start = start_of(today, zone)
    for dim, nano in connection.execute(
        "SELECT dim, sum(up) - sum(down) FROM cell WHERE org IN (SELECT org FROM org) "
        "AND hour >= ? AND hour < ? AND (hour - ? + 86400000) % 86400000 < ? GROUP BY dim",
        (start - _EARLY_DAYS * MS_PER_DAY, start, start % MS_PER_DAY, now_ms - start),
    ):
        for scope in names.get(dim, ()):
            found[scope].early += nano
    first = connection.execute("SELECT min(booked) FROM cell").fetchone()[0]
    scopes = found if only is not None else _largest(found, today, most)
    return Daily(zone_name, today, today if first is None else int(first), scopes)


def budgets_by_day(
    connection: Connection, now_ms: int, zone_name: str, numbers: Sequence[int], *, days: int = 400
) -> Daily:
    """The same for budgets by their numbers, under ("budget", name). When their amounts were
    booked is not known."""
    zone = ZoneInfo(zone_name)
    today = day_number(now_ms, zone)
    names = {number: budget.name for number, budget in numbered(connection, list(numbers)).items()}
    found: dict[Scope, Series] = {("budget", name): Series() for name in names.values()}
    for begin, end, offset in _spans(zone, start_of(today - days, zone), start_of(today + 1, zone)):
        for number, name in names.items():
            series = found["budget", name]
            for day, nano in connection.execute(
                "SELECT (hour + ?) / 86400000 AS d, sum(net) FROM budget_net "
                "WHERE number = ? AND hour >= ? AND hour < ? GROUP BY d",
                (offset, number, begin, end),
            ):
                series.add(day, None, nano)
    start = start_of(today, zone)
    for number, name in names.items():
        found["budget", name].early = connection.execute(
            "SELECT coalesce(sum(net), 0) FROM budget_net WHERE number = ? "
            "AND hour >= ? AND hour < ? AND (hour - ? + 86400000) % 86400000 < ?",
            (number, start - _EARLY_DAYS * MS_PER_DAY, start, start % MS_PER_DAY, now_ms - start),
        ).fetchone()[0]
    return Daily(zone_name, today, today, found)


def _scopes_of(connection: Connection, only: Scope | None) -> dict[int, list[Scope]]:
    found: dict[int, list[Scope]] = {}
    columns = ", ".join(DIMENSIONS)
    for dim, *values in connection.execute(f"SELECT dim, {columns} FROM dim"):
        scopes = [LEDGER]
        # Most usage names no team or feature: nobody asks what nothing will cost.
        scopes += [pair for pair in zip(DIMENSIONS, values, strict=True) if pair[1]]
        found[dim] = scopes if only is None else [one for one in scopes if one == only]
    return found


def _largest(found: dict[Scope, Series], today: int, most: int) -> dict[Scope, Series]:
    kept: dict[Scope, Series] = {}
    for dimension in ("ledger", *DIMENSIONS):
        mine = [scope for scope in found if scope[0] == dimension]
        mine.sort(key=lambda s: (-found[s].between(today - _RANKED_DAYS, today), s))
        kept.update((scope, found[scope]) for scope in mine[:most])
        for scope in mine[most:]:
            kept.setdefault((dimension, OTHER), Series()).merge(found[scope])
    return kept


def _spans(zone: ZoneInfo, since_ms: int, until_ms: int) -> Iterator[tuple[int, int, int]]:
    """[begin, end) and the offset from UTC in ms, wherever that stays the same."""
    begin, at = since_ms, since_ms
    offset = _offset(zone, at)
    while at < until_ms:
        after = min(at + MS_PER_DAY, until_ms)
        if _offset(zone, after) != offset:
            low, high = at, after
            while high - low > 60_000:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
            # Clocks change on a full minute.
            change = high - high % 60_000
            yield begin, change, offset
            begin, offset = change, _offset(zone, after)
        at = after
    if begin < until_ms:
        yield begin, until_ms, offset


def _offset(zone: ZoneInfo, at_ms: int) -> int:
    moved = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).utcoffset()
    return (moved or timedelta()) // timedelta(milliseconds=1)
