"""What settlement says of itself: how much of the bills was metered, and who bears it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from sqlite3 import Connection
from typing import NamedTuple

from costmeter.attribution import NONE
from costmeter.ledger.settle.plan import FINAL
from costmeter.model import CHUNK_SIZE, MS_PER_DAY, NANO_PER_USD, Chunk

#: Ratios are over so many of a scope's newest final days: each bills a whole month.
WINDOW_DAYS = 30
#: So many of a scope's newest days are shown one by one.
SHOWN_DAYS = 14
_EPOCH = date(1970, 1, 1)

Families = Mapping[str, tuple[Chunk, ...]]


class Day(NamedTuple):
    """A scope's day as it stands; `posted` is what its settlement booked beside the meters."""

    scope: str
    day: int
    detail: str
    status: str
    metered: int
    billed: int
    usage_billed: int
    unattributed: int
    posted: int


def days_of(connection: Connection, since_day: int = 0, scope: str = "") -> list[Day]:
    """The newest settlement of each day, by scope and day."""
    return [
        Day(*row)
        for row in connection.execute(
            "SELECT scope, day, detail, status, metered, billed, usage_billed, unattributed, "
            "(SELECT coalesce(sum(nano), 0) FROM posting WHERE posting.scope = s.scope "
            "AND hour >= day * 86400000 AND hour < (day + 1) * 86400000) "
            "FROM settlement AS s WHERE day >= ? AND (? IN ('', scope)) AND rev = "
            "(SELECT max(rev) FROM settlement WHERE scope = s.scope AND day = s.day) "
            "ORDER BY scope, day",
            (since_day, scope),
        )
    ]


class SettlementFigures:
    """Gauges by scope; read again only when a settlement changed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._seen: object = None
        self._families: Families = {}

    def refresh(self) -> Families:
        """Inside a read transaction."""
        seen = self._connection.execute(
            "SELECT (SELECT count(*) FROM settlement), (SELECT max(known_ms) FROM settlement), "
            "(SELECT count(*) FROM bill WHERE usd_nano IS NULL)"
        ).fetchone()
        if seen != self._seen:
            self._families = self._read()
            self._seen = seen
        return self._families

    def _read(self) -> Families:
        by_scope: dict[str, list[Day]] = {}
        for day in days_of(self._connection):
            by_scope.setdefault(day.scope, []).append(day)
        values: dict[str, dict[tuple[str, ...], int]] = {}
        for scope, days in by_scope.items():
            gap = first_unbilled(self._connection, scope, days)
            for name, value in figures(days, gap).items():
                values.setdefault(name, {})[(scope,)] = value
            for labels, value in by_day(scope, days).items():
                values.setdefault("llm_cost_of_day", {})[labels] = value
        unconverted = dict(_unconverted(self._connection))
        if unconverted:
            values["llm_cost_unconverted_lines"] = unconverted
        return {name: _chunks(series) for name, series in values.items()}


def figures(days: Sequence[Day], first_unbilled: int | None) -> Mapping[str, int]:
    """The gauges of one scope from its days, oldest first. Ratios are in billionths."""
    final = [day for day in days if day.status == FINAL]
    if not final:
        return {}
    newest = final[-WINDOW_DAYS:]
    found = {
        "llm_cost_billed": sum(day.billed for day in newest),
        "llm_cost_metered": sum(day.metered for day in newest),
        "llm_cost_unattributed": sum(day.unattributed for day in newest),
        "llm_cost_conservation": sum(day.metered + day.posted - day.billed for day in final),
    }
    usage = sum(day.usage_billed for day in newest)
    metered = sum(day.metered for day in newest)
    billed = sum(day.billed for day in newest)
    if usage > 0 and newest[-1].detail != NONE:
        found["llm_cost_capture_ratio"] = metered * NANO_PER_USD // usage
    if billed > 0:
        unattributed = found["llm_cost_unattributed"]
        found["llm_cost_unattributed_ratio"] = unattributed * NANO_PER_USD // billed
    open_days = [day.day for day in days if day.status != FINAL]
    if first_unbilled is not None:
        open_days.append(first_unbilled)
    until = min([*open_days, final[-1].day + 1])
    if until > days[0].day:
        found["llm_cost_final_until_timestamp_seconds"] = until * MS_PER_DAY
    return found


def by_day(scope: str, days: Sequence[Day]) -> Mapping[tuple[str, ...], int]:
    """Metered and billed nano-USD of the newest days, by (scope, day, side).

    A day without any metered amount has no such side where nobody meters the scope.
    """
    found: dict[tuple[str, ...], int] = {}
    for day in days[-SHOWN_DAYS:]:
        said = (_EPOCH + timedelta(days=day.day)).isoformat()
        if day.detail != NONE:
            found[scope, said, "metered"] = day.metered
        found[scope, said, "billed"] = day.billed
    return found


def first_unbilled(connection: Connection, scope: str, days: Sequence[Day]) -> int | None:
    """The first day between those of a bill on which there was usage and no bill."""
    first, last = days[0].day, days[-1].day
    known = {day.day for day in days}
    if len(known) == last - first + 1:
        return None
    rows = connection.execute(
        "SELECT DISTINCT day FROM day_cell JOIN dim USING (dim) "
        "WHERE day_cell.org IN (SELECT org FROM org) AND day > ? AND day < ? AND dim.scope = ?",
        (first, last, scope),
    )
    return min((day for (day,) in rows if day not in known), default=None)


def _unconverted(connection: Connection) -> list[tuple[tuple[str, ...], int]]:
    """Lines without an amount in USD, by scope and currency."""
    rows = connection.execute(
        "SELECT scope, currency, count(*) FROM bill AS b WHERE usd_nano IS NULL AND rev = "
        "(SELECT max(rev) FROM bill WHERE source = b.source AND day = b.day "
        "AND basis = b.basis AND line = b.line) GROUP BY scope, currency"
    )
    return [((scope, currency), count) for scope, currency, count in rows]


def _chunks(series: Mapping[tuple[str, ...], int]) -> tuple[Chunk, ...]:
    labels, values = tuple(series), tuple(series.values())
    return tuple(
        Chunk(labels[at : at + CHUNK_SIZE], values[at : at + CHUNK_SIZE])
        for at in range(0, len(labels), CHUNK_SIZE)
    )
