"""Why an exported series shows what it shows: what it holds, and what is withheld."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from sqlite3 import Connection
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from costmeter.ledger.admission import EXPORTED, Admission, Limits
from costmeter.ledger.periods import Calendar, quarter_months, shift_month
from costmeter.model import Labels, Release

_encode = msgspec.json.Encoder(order="sorted").encode
_CALL = ("provider", "model", "tenant_id", "environment")
#: Labels of each counter family, in the order in which its series keep their values.
COUNTERS: Mapping[str, tuple[str, ...]] = {
    "llm_cost_total": EXPORTED,
    "llm_cost_credit_total": EXPORTED,
    "llm_requests_total": (*_CALL, "status"),
    "llm_tokens_total": (*_CALL, "token_class"),
    "llm_unpriced_requests_total": ("provider", "model"),
    "llm_budget_cost_total": ("budget", "period", "tenant_id"),
}
_COARSE = ("category", "provider", "tenant_id")
#: The gauges to date, with their labels.
GAUGES: Mapping[str, tuple[str, ...]] = {
    "llm_cost_day_to_date": EXPORTED,
    "llm_cost_month_to_date": EXPORTED,
    "llm_cost_last_month": _COARSE,
    "llm_cost_quarter_to_date": _COARSE,
    "llm_cost_year_to_date": _COARSE,
}


class Counter(NamedTuple):
    """One counter at the ledger's release clock; `value = cells + opening`.

    What is shown is `value` without what `releases` still hold back; during the birth hold
    it is 0. Money in nano-USD, the others in pieces.
    """

    family: str
    labels: Mapping[str, str]
    clock_ms: int
    value: int
    opening: int
    hold_until_ms: int
    releases: Sequence[Release]

    @property
    def cells(self) -> int:
        return self.value - self.opening

    @property
    def held(self) -> bool:
        return self.clock_ms < self.hold_until_ms

    @property
    def pending(self) -> int:
        return sum(release.pending(self.clock_ms) for release in self.releases)

    @property
    def shown(self) -> int:
        return 0 if self.held else self.value - self.pending


class GaugeCells(NamedTuple):
    """Cells of a gauge that differ only in their hour."""

    labels: Labels
    kind: str
    booked: int
    hours: int
    net: int


class Gauge(NamedTuple):
    """A gauge to date: the stored figure, and the cells that make it, largest first."""

    family: str
    labels: Mapping[str, str]
    start_ms: int
    end_ms: int
    value: int
    cells: Sequence[GaugeCells]


def counters(connection: Connection, family: str, wanted: Mapping[str, str]) -> list[Counter]:
    """Series of a family with these label values. Inside a read transaction."""
    clock_ms = int(_meta(connection, "release_clock"))
    found = []
    for series, text, value, opening, hold_until in connection.execute(
        "SELECT series, labels, value, opening, hold_until FROM series WHERE family = ? "
        "ORDER BY labels",
        (family,),
    ).fetchall():
        labels = dict(zip(COUNTERS[family], msgspec.json.decode(text), strict=False))
        if wanted.items() <= labels.items():
            releases = [
                Release(*row)
                for row in connection.execute(
                    "SELECT amount, from_ms, until_ms FROM release "
                    "WHERE series = ? AND until_ms > ? ORDER BY from_ms, until_ms",
                    (series, clock_ms),
                )
            ]
            found.append(Counter(family, labels, clock_ms, value, opening, hold_until, releases))
    return found


def gauges(connection: Connection, family: str, wanted: Mapping[str, str]) -> list[Gauge]:
    """Gauges of a family with these label values. Inside a read transaction."""
    calendar = Calendar(_meta(connection, "reporting_timezone") or "UTC")
    clock_ms = int(_meta(connection, "release_clock"))
    grain, starts, start_ms, end_ms = _period(calendar, family, clock_ms)
    names = GAUGES[family]
    values: dict[tuple[str, ...], int] = {}
    marks = ", ".join("?" * len(starts))
    for text, net in connection.execute(
        f"SELECT labels, net FROM period_cost WHERE grain = ? AND start IN ({marks})",
        (grain, *starts),
    ):
        key = _narrow(msgspec.json.decode(text), names)
        values[key] = values.get(key, 0) + net
    kept = {
        key: value
        for key, value in values.items()
        if wanted.items() <= dict(zip(names, key, strict=True)).items()
    }
    cells: dict[tuple[str, ...], list[GaugeCells]] = {key: [] for key in kept}
    admission = Admission(connection, Limits(), admitting=False)
    for *labels, kind, booked, hours, net in connection.execute(
        f"SELECT {', '.join(f'dim.{name}' for name in Labels._fields)}, kind, booked, "
        "count(DISTINCT hour), sum(up - down) FROM cell JOIN dim USING (dim) "
        "WHERE hour >= ? AND hour < ? GROUP BY dim.dim, kind, booked",
        (start_ms, end_ms),
    ).fetchall():
        own = Labels(*labels)
        key = _narrow(admission.exported(own, booked), names)
        if key in cells and net:
            cells[key].append(GaugeCells(own, kind, booked, hours, net))
    return [
        Gauge(
            family,
            dict(zip(names, key, strict=True)),
            start_ms,
            end_ms,
            value,
            sorted(cells[key], key=lambda cell: (-abs(cell.net), cell)),
        )
        for key, value in sorted(kept.items())
    ]


def _narrow(values: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(values[EXPORTED.index(name)] for name in names)


def _period(calendar: Calendar, family: str, clock_ms: int) -> tuple[str, Sequence[int], int, int]:
    """Grain and keys in `period_cost`, and the period's first instant and end."""
    day, month = calendar.day_and_month(clock_ms - clock_ms % 60_000)
    if family == "llm_cost_day_to_date":
        midnight = datetime(
            day // 10_000, day // 100 % 100, day % 100, tzinfo=ZoneInfo(calendar.zone_name)
        )
        # Wall-clock arithmetic: a day on which the clocks change is no 24 hours.
        ends = midnight + timedelta(days=1)
        return "day", [day], int(midnight.timestamp()) * 1_000, int(ends.timestamp()) * 1_000
    months: Sequence[int] = [month]
    if family == "llm_cost_last_month":
        months = [shift_month(month, -1)]
    elif family == "llm_cost_quarter_to_date":
        months = quarter_months(month)
    elif family == "llm_cost_year_to_date":
        months = [month // 100 * 100 + number for number in range(1, 13)]
    end = calendar.start_of_month(shift_month(months[-1], 1))
    return "month", months, calendar.start_of_month(months[0]), end


def _meta(connection: Connection, key: str) -> str:
    row = connection.execute("SELECT v FROM meta WHERE k = ?", (key,)).fetchone()
    return str(row[0])
