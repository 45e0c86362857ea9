"""`costmeter forecast`: what will be spent, by scope, and how far to trust it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from sqlite3 import Connection
from typing import NamedTuple

from msgspec.structs import replace

from costmeter.analysis.forecast import Intervals, WorkerError
from costmeter.cli.chart import Chart, check, save
from costmeter.cli.errors import CommandError
from costmeter.cli.settings import config_of, usd, wall_ms
from costmeter.cli.table import Value, show
from costmeter.config import Config
from costmeter.engine import forecast_documents as stored
from costmeter.engine.currencies import exchange_of
from costmeter.engine.forecast_documents import MONTH_END, Body, weekly_trend
from costmeter.engine.forecasting import body_of
from costmeter.engine.forecasts import make, scopes_now, settings_of
from costmeter.ledger.daily import DIMENSIONS, LEDGER, Scope, date_of
from costmeter.ledger.store import open_for_reading
from costmeter.model import NANO_PER_USD

#: After so long a stored forecast is made anew for whoever asks.
_FRESH_MS = 36 * 3_600_000
_HORIZONS = ("1d", "7d", "14d", "30d", "90d")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_CHART_DAYS = 60


class Shown(NamedTuple):
    scope: Scope
    body: Body
    days: Intervals


def forecast(arguments: argparse.Namespace) -> int:
    """A table of scopes; 1 when there is nothing to forecast from."""
    config, now_ms = config_of(arguments), wall_ms()
    by = arguments.by or "ledger"
    check(arguments.chart)
    if by not in ("ledger", "budget", *DIMENSIONS):
        raise CommandError(
            f"there is no forecast by {by!r}; write --by ledger, budget, {', '.join(DIMENSIONS)}"
        )
    if arguments.value and by == "ledger":
        raise CommandError("--value needs a dimension: --by team --value search")
    store = open_for_reading(config.ledger.path)
    try:
        found = _found(store.connection, config, now_ms, by, arguments.value)
        if not found:
            what = f"{by} {arguments.value!r}" if arguments.value else by
            print(f"nothing was spent by {what} on days that are over", file=sys.stderr)
            return 1
        _show(found, arguments.horizon, as_json=arguments.json)
        if arguments.chart:
            _chart(store.connection, config, found[0], arguments.horizon, arguments.chart, now_ms)
    except WorkerError as error:
        raise CommandError(str(error)) from None
    finally:
        store.close()
    return 0


def _found(connection: Connection, config: Config, now_ms: int, by: str, value: str) -> list[Shown]:
    """Stored forecasts of the last day, else new ones; the largest first."""
    made = stored.made_newest(connection)
    found: list[Shown] = []
    if made is not None and now_ms - made[1] <= _FRESH_MS:
        found = [
            Shown(one.scope, one.body, stored.stored_days(connection, one.scope, one.rev))
            for one in stored.read(connection, made[0])
            if one.scope[0] == by and (not value or one.scope[1] == value)
        ]
    if not found:
        only = LEDGER if by == "ledger" else (by, value) if value else None
        zone, settings = config.ledger.reporting_timezone, settings_of(config)
        dailies, statuses = scopes_now(
            connection, now_ms, zone, exchange_of(config), settings, only=only
        )
        wanted = [
            replace(daily, scopes={s: x for s, x in daily.scopes.items() if s[0] in (by, "ledger")})
            for daily in dailies
        ]
        found = [
            Shown(one.scope, body_of(one, now_ms, statuses, connection), one.found.days)
            for one in make(wanted, settings)
            if one.scope[0] == by and (not value or one.scope[1] == value)
        ]
    return sorted(found, key=lambda one: (-one.body.horizons["30d"][0], one.scope))


def _show(found: Sequence[Shown], horizon: int, *, as_json: bool) -> None:
    if as_json:
        columns = [
            "dimension", "value", "made", "method", "history_days", "backtest_error_ratio",
            "backtest_coverage", "error_ratio_1d", "error_ratio_7d", "coverage", "trend",
            "trend_per_week_ratio", "strongest_weekday", "weekday_factor", "lag_days",
        ]  # fmt: skip
        amounts = [
            f"{name}_{bound}_usd"
            for name in (*_HORIZONS, MONTH_END, "asked")
            for bound in stored.BOUNDS
        ]
        show([*columns, *amounts], [_whole(one, horizon) for one in found], as_json=True)
        return
    asked = f"{horizon}_days"
    standard = horizon == 30
    columns = ["value" if found[0].scope[0] != "ledger" else "scope", "next_day", "7_days",
               "30_days", "95_%_of_it", *(() if standard else (asked,)), "month_end", "95_%",
               "method", "error", "coverage", "trend_a_week", "weekday"]  # fmt: skip
    show(columns, [_row(one, horizon, standard=standard) for one in found],
         as_json=False, places=2)  # fmt: skip
    if all(one.body.backtest_error is None for one in found):
        print("the history is short: how well this method did before is not known yet")


def _row(one: Shown, horizon: int, *, standard: bool) -> list[Value]:
    body = one.body
    sums = {name: body.horizons.get(name) for name in ("1d", "7d", "30d", MONTH_END)}
    month = sums[MONTH_END]
    coverage = body.scored_coverage if body.scored_coverage is not None else body.backtest_coverage
    error = body.scored.get("7d", body.backtest_error)
    asked = _sum(one, horizon)
    return [
        one.scope[1] or ("everything" if one.scope[0] == "ledger" else ""),
        _usd(sums["1d"], 0), _usd(sums["7d"], 0), _usd(sums["30d"], 0), _span(sums["30d"]),
        *(() if standard else (None if asked is None else usd(asked),)),
        _usd(month, 0), _span(month), body.method, _percent(error), _percent(coverage),
        _percent(weekly_trend(body.trend_per_day), sign=True),
        f"{_WEEKDAYS[body.strongest_weekday]} x{body.weekday_factor:.2f}",
    ]  # fmt: skip


def _whole(one: Shown, horizon: int) -> list[Value]:
    body = one.body
    amounts: list[Value] = []
    for name in (*_HORIZONS, MONTH_END):
        sums = body.horizons.get(name)
        amounts += [_usd(sums, at) for at in range(len(stored.BOUNDS))]
    asked = body.horizons.get(f"{horizon}d")
    if asked is not None:
        amounts += [_usd(asked, at) for at in range(len(stored.BOUNDS))]
    else:
        # Between the horizons only the mean is a sum of days; intervals do not add up.
        total = _sum(one, horizon)
        amounts += [None if total is None else usd(total), None, None, None, None]
    return [
        *one.scope, str(date_of(body.last_day + 1)), body.method, body.history_days,
        _ratio(body.backtest_error), _ratio(body.backtest_coverage), _ratio(body.scored.get("1d")),
        _ratio(body.scored.get("7d")), _ratio(body.scored_coverage), body.trend,
        _ratio(weekly_trend(body.trend_per_day)), _WEEKDAYS[body.strongest_weekday],
        _ratio(body.weekday_factor), body.lag_days, *amounts,
    ]  # fmt: skip


def _sum(one: Shown, horizon: int) -> int | None:
    sums = one.body.horizons.get(f"{horizon}d")
    if sums is not None:
        return sums[0]
    return sum(day.point for day in one.days[:horizon]) if len(one.days) >= horizon else None


def _chart(
    connection: Connection, config: Config, one: Shown, horizon: int, path: Path, now_ms: int
) -> None:
    dailies, _ = scopes_now(
        connection, now_ms, config.ledger.reporting_timezone, exchange_of(config),
        settings_of(config), only=one.scope, days=_CHART_DAYS,
    )  # fmt: skip
    series = next(d.scopes[one.scope] for d in dailies if one.scope in d.scopes)
    last = one.body.last_day
    first = min(series.days, default=last)
    spent = [
        (date_of(day), series.days.get(day, 0) / NANO_PER_USD) for day in range(first, last + 1)
    ]
    ahead = [(date_of(last + 1 + at), day) for at, day in enumerate(one.days[:horizon])]
    month = one.body.horizons.get(MONTH_END)
    about = f"method: {one.body.method}"
    if month is not None:
        about = f"this month {_span(month)} USD in 95 of 100 cases; {about}"
    save(
        path,
        Chart(
            title=f"Daily cost in USD: {one.scope[1] or 'everything'}",
            about=about,
            spent=spent,
            ahead=[(day, it.point / NANO_PER_USD) for day, it in ahead],
            narrow=[
                (day, it.lower80 / NANO_PER_USD, it.upper80 / NANO_PER_USD) for day, it in ahead
            ],
            wide=[(day, it.lower95 / NANO_PER_USD, it.upper95 / NANO_PER_USD) for day, it in ahead],
        ),
    )


def _usd(sums: stored.Bounds | None, at: int) -> Decimal | None:
    return None if sums is None else usd(sums[at])


def _span(sums: stored.Bounds | None) -> str:
    return "-" if sums is None else f"{usd(sums[3]):,.2f} to {usd(sums[4]):,.2f}"


def _ratio(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(f"{value:.4f}")


def _percent(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value * 100:+.1f} %" if sign else f"{value * 100:.1f} %"
