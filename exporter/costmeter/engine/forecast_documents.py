"""Forecasts as they are stored and exported: one document a scope and day, and its metrics."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.analysis.forecast import HORIZONS, Forecast, Interval, Intervals
from costmeter.ledger import documents
from costmeter.ledger.daily import Scope
from costmeter.model import CHUNK_SIZE, MS_PER_DAY, Chunk

#: Documents of sums and quality, kept for 90 days, and of single days, kept for a few.
KIND, DAYS_KIND = "forecast", "forecast_days"
MONTH_END = "month_end"
BOUNDS = ("mean", "lower80", "upper80", "lower95", "upper95")
#: After so long nobody is shown a forecast any more.
_SHOWN_MS = 7 * MS_PER_DAY
_STATE, _NEWEST = "forecast", "newest"

Bounds = tuple[int, int, int, int, int]


class Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """One scope's forecast. Amounts are nano-USD; `horizons` are sums by name, such as 7d.

    The last four are of a budget's period, as budgets read them. `scored` is how the forecasts
    of the last 30 days did: error ratios by horizon, and the share within the 95 % interval.
    """

    made_ms: int
    zone: str
    last_day: int
    horizons: dict[str, Bounds]
    month_end_ms: int
    method: str
    method_share: float
    history_days: int
    trend: str
    trend_per_day: float
    strongest_weekday: int
    weekday_factor: float
    backtest_error: float | None = None
    backtest_coverage: float | None = None
    level_shift_days: int | None = None
    lag_days: int = 0
    scored: dict[str, float] = {}
    scored_coverage: float | None = None
    end_ms: int | None = None
    total_nano: int | None = None
    low_nano: int | None = None
    high_nano: int | None = None


class Stored(NamedTuple):
    scope: Scope
    rev: int
    body: Body


_decode = msgspec.json.Decoder(Body).decode


def identity(scope: Scope) -> str:
    return f"{scope[0]}:{scope[1]}"


def scope_of(text: str) -> Scope:
    dimension, _, value = text.partition(":")
    return dimension, value


def bounds(one: Interval) -> Bounds:
    return one.point, one.lower80, one.upper80, one.lower95, one.upper95


def horizons_of(found: Forecast) -> dict[str, Bounds]:
    totals = ((days, found.total(days)) for days in HORIZONS)
    return {f"{days}d": bounds(one) for days, one in totals if one is not None}


def days_body(found: Forecast) -> str:
    return base64.b64encode(found.days.packed).decode()


def stored_days(connection: Connection, scope: Scope, rev: int) -> Intervals:
    """The single days of a stored forecast; none where they are not kept any more."""
    held = documents.one(connection, DAYS_KIND, identity(scope))
    if held is None or held.rev != rev:
        return Intervals(b"")
    return Intervals(base64.b64decode(held.body))


def made_newest(connection: Connection) -> tuple[int, int] | None:
    """(day, instant in ms) of the newest complete run; None before the first."""
    row = connection.execute(
        "SELECT value, at_ms FROM state WHERE kind = ? AND name = ?", (_STATE, _NEWEST)
    ).fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


def note_newest(connection: Connection, rev: int, at_ms: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)", (_STATE, _NEWEST, str(rev), at_ms)
    )


def read(connection: Connection, since_rev: int) -> list[Stored]:
    """The newest forecast of each scope that has one from `since_rev` on.

    What another version wrote and this one cannot read is left out.
    """
    found = []
    for one in documents.newest(connection, KIND, since_rev=since_rev):
        try:
            found.append(Stored(scope_of(one.id), one.rev, _decode(one.body)))
        except msgspec.MsgspecError:
            continue
    return found


def past(connection: Connection, scope: Scope, since_rev: int) -> list[Body]:
    """A scope's stored forecasts, oldest first."""
    found = []
    for one in documents.revisions(connection, KIND, identity(scope), since_rev=since_rev):
        try:
            found.append(_decode(one.body))
        except msgspec.MsgspecError:
            continue
    return found


class ForecastFigures:
    """The gauges of the newest run, for the exporter that writes and for one that reads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._made: tuple[int, int] | None = None
        self._stored: list[Stored] = []
        self._ended: tuple[bool, ...] = ()
        self._families: dict[str, tuple[Chunk, ...]] = {}

    def refresh(self, now_ms: int) -> Mapping[str, tuple[Chunk, ...]]:
        """By catalog name; nothing before the first run, and from a run of long ago."""
        made = made_newest(self._connection)
        if made is None or now_ms - made[1] > _SHOWN_MS:
            return {}
        if made != self._made:
            # A scope that the newest run left out is gone.
            self._stored = read(self._connection, made[0])
            self._made, self._ended = made, ()
        ended = tuple(one.body.month_end_ms <= now_ms for one in self._stored)
        if ended != self._ended or not self._families:
            self._families = families(self._stored, now_ms)
            self._families["llm_forecast_made_timestamp_seconds"] = chunked([((), made[1])])
            self._ended = ended
        return self._families


def families(stored: Iterable[Stored], now_ms: int) -> dict[str, tuple[Chunk, ...]]:
    """The gauges of stored forecasts; a month that is over has no forecast of its end."""
    costs: list[tuple[tuple[str, ...], int]] = []
    errors: list[tuple[tuple[str, ...], int]] = []
    rest: dict[str, list[tuple[tuple[str, ...], int]]] = {name: [] for name in _RATIOS}
    for one in stored:
        body = one.body
        for horizon, amounts in body.horizons.items():
            if horizon == MONTH_END and body.month_end_ms <= now_ms:
                continue
            pairs = zip(BOUNDS, amounts, strict=True)
            costs += [((*one.scope, horizon, bound), nano) for bound, nano in pairs]
        errors += [
            ((*one.scope, horizon), round(ratio * 1_000)) for horizon, ratio in body.scored.items()
        ]
        for name, figure in _RATIOS.items():
            value = figure(body)
            if value is not None:
                rest[name].append((one.scope, round(value * 1_000)))
    found = {"llm_forecast_cost": chunked(costs), "llm_forecast_error_ratio": chunked(errors)}
    found.update((name, chunked(rows)) for name, rows in rest.items())
    return found


_RATIOS: Mapping[str, Callable[[Body], float | None]] = {
    "llm_forecast_interval_coverage": lambda b: b.scored_coverage,
    "llm_forecast_backtest_error_ratio": lambda b: b.backtest_error,
    "llm_forecast_trend_ratio": lambda b: weekly_trend(b.trend_per_day),
}


def weekly_trend(per_day: float) -> float:
    """The change of the daily level in a week."""
    return float((1 + max(per_day, -1.0)) ** 7 - 1)


def chunked(rows: Sequence[tuple[tuple[str, ...], int]]) -> tuple[Chunk, ...]:
    parts = [rows[i : i + CHUNK_SIZE] for i in range(0, len(rows), CHUNK_SIZE)]
    return tuple(
        Chunk(tuple(labels for labels, _ in part), tuple(value for _, value in part))
        for part in parts
    )
