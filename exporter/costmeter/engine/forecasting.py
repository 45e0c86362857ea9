"""The job `forecast`: every scope's forecast, stored once a day, and yesterday's scored.

The writer stores; the arithmetic runs in the worker's process. Either all scopes get a new
forecast or none does: after a failure the old ones stay, with their age.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from sqlite3 import Connection
from zoneinfo import ZoneInfo

import msgspec

from costmeter.analysis.budgets import BudgetStatus
from costmeter.analysis.forecast import Interval, WorkerError, score
from costmeter.clock import Clock
from costmeter.engine.forecast_documents import (
    DAYS_KIND,
    KIND,
    MONTH_END,
    Body,
    Bounds,
    bounds,
    days_body,
    horizons_of,
    identity,
    note_newest,
    past,
)
from costmeter.engine.forecasts import Made, Settings, make, month_end, period_end, scopes_now
from costmeter.ledger import documents
from costmeter.ledger.daily import Daily, Series, day_number
from costmeter.ledger.documents import Document
from costmeter.ledger.store import Store
from costmeter.ledger.writer import Writer
from costmeter.model import MS_PER_DAY
from costmeter.pricing.exchange import Exchange

JOB = "forecast"
_KEPT_MS = 90 * MS_PER_DAY
#: Single days are large, and only the newest are drawn.
_DAYS_KEPT_MS = 3 * MS_PER_DAY
_SCORED_DAYS = 30
#: Horizons that are scored, in days.
_SCORED = (1, 7)
#: Documents of one transaction; ingest goes on between two.
_STORED_AT_ONCE = 250


class Forecasting:
    """Makes and stores forecasts; one run at a time, from whatever thread."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        clock: Clock,
        settings: Settings,
        exchange: Callable[[], Exchange],
        zone: str,
    ) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._settings = settings
        self._exchange = exchange
        self._zone = zone
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End after the worker's present run; nothing of it is stored."""
        self._stopping.set()

    def run(self) -> str:
        """What was made. Raises WorkerError, and then nothing was stored."""
        now_ms = self._clock.now_ms()
        # What is committed is in the file; what waits in memory is not, and is to count.
        self._writer.run(self._writer.booking.write_totals).result()
        connection = self._store.reader()
        try:
            dailies, statuses = scopes_now(
                connection, now_ms, self._zone, self._exchange(), self._settings
            )
            found = list(make(dailies, self._settings, self._stopping.is_set))
            bodies = [(made, body_of(made, now_ms, statuses, connection)) for made in found]
        finally:
            connection.close()
        rev = day_number(now_ms, ZoneInfo(self._zone))
        self._keep(bodies, rev, now_ms)
        if not bodies:
            return "nothing was spent yet that could be forecast"
        return f"{len(bodies)} forecasts"

    def _keep(self, bodies: Iterable[tuple[Made, Body]], rev: int, now_ms: int) -> None:
        if self._stopping.is_set():
            raise WorkerError("the exporter stops; forecasts are made after its next start")
        connection = self._writer.booking.connection
        sums, days = [], []
        for made, body in bodies:
            name, text = identity(made.scope), msgspec.json.encode(body).decode()
            sums.append(Document(name, rev, now_ms, text))
            days.append(Document(name, rev, now_ms, days_body(made.found)))
        for kind, found in ((KIND, sums), (DAYS_KIND, days)):
            for at in range(0, len(found), _STORED_AT_ONCE):
                part = found[at : at + _STORED_AT_ONCE]
                self._writer.run(partial(documents.put, connection, kind, part)).result()
        self._writer.run(partial(_finish, connection, rev, now_ms)).result()


def _finish(connection: Connection, rev: int, now_ms: int) -> None:
    documents.prune(connection, KIND, now_ms - _KEPT_MS)
    documents.prune(connection, DAYS_KIND, now_ms - _DAYS_KEPT_MS)
    note_newest(connection, rev, now_ms)


def body_of(
    made: Made, now_ms: int, statuses: Mapping[str, BudgetStatus], connection: Connection
) -> Body:
    """A forecast as it is stored, with its scope's month, its budget's period and past scores."""
    found, character = made.found, made.found.character
    horizons = horizons_of(found)
    month, month_ms = month_end(made, now_ms)
    if month is not None:
        horizons[MONTH_END] = bounds(month)
    status = statuses.get(made.scope[1]) if made.scope[0] == "budget" else None
    period = None if status is None else _budget_end(made, status, now_ms)
    scored, coverage = scores(past(connection, made.scope, made.daily.today - 40), made)
    return Body(
        made_ms=now_ms,
        zone=made.daily.zone,
        last_day=found.last_day,
        horizons=horizons,
        month_end_ms=month_ms,
        method=found.method,
        method_share=found.method_share,
        history_days=found.history_days,
        trend=character.trend,
        trend_per_day=character.trend_per_day,
        strongest_weekday=character.strongest_weekday,
        weekday_factor=character.weekday_factor,
        backtest_error=found.quality.total_error,
        backtest_coverage=found.quality.coverage,
        level_shift_days=character.level_shift_days,
        lag_days=made.lag,
        scored=scored,
        scored_coverage=coverage,
        end_ms=None if period is None or status is None else status.end_ms,
        total_nano=None if period is None else period.point,
        low_nano=None if period is None else period.lower80,
        high_nano=None if period is None else period.upper80,
    )


def _budget_end(made: Made, status: BudgetStatus, now_ms: int) -> Interval | None:
    first = day_number(status.start_ms, ZoneInfo(made.daily.zone))
    # What is planned and still to come is known beforehand: no history shows it.
    spent = status.spent + status.plans.left
    return period_end(made, spent, first, status.end_ms, now_ms)


def scores(bodies: Iterable[Body], made: Made) -> tuple[dict[str, float], float | None]:
    """How the forecasts of the last 30 days did: (error ratio by horizon, coverage of a day's
    95 % interval). A day whose bills are still to come scores nothing."""
    held = list(bodies)
    daily: Daily = made.daily
    final, series = daily.today - 1 - made.lag, made.series
    ratios: dict[str, float] = {}
    coverage = None
    for days in _SCORED:
        known, came = [], list[int | None]()
        for body in held:
            first, last = body.last_day + 1, body.last_day + days
            sums = body.horizons.get(f"{days}d")
            if sums is not None and final - _SCORED_DAYS < last <= final:
                known.append(_interval(sums))
                came.append(_between(series, first, last))
        found = score(known, came)
        if found is None:
            continue
        if found.error_ratio is not None:
            ratios[f"{days}d"] = found.error_ratio
        if days == 1:
            coverage = found.coverage
    return ratios, coverage


def _between(series: Series, first: int, last: int) -> int:
    return sum(series.days.get(day, 0) for day in range(first, last + 1))


def _interval(sums: Bounds) -> Interval:
    return Interval(*sums)
