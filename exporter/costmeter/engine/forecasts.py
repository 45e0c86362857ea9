"""What is asked of the forecast worker, and what its answers mean for months and budgets.

Reads one committed state; the arithmetic runs in the worker's process.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from sqlite3 import Connection
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from costmeter.analysis.budgets import BudgetStatus
from costmeter.analysis.forecast import (
    Forecast,
    Grown,
    Interval,
    Request,
    WorkerError,
    run_worker,
    to_period_end,
)
from costmeter.config import Config
from costmeter.engine.budget_watch import BudgetWatch
from costmeter.ledger.daily import (
    ARRIVAL_DAYS,
    Daily,
    Scope,
    Series,
    budgets_by_day,
    day_number,
    spend_by_day,
    start_of,
)
from costmeter.ledger.periods import Calendar
from costmeter.ledger.store import transaction_for_reading
from costmeter.pricing.exchange import Exchange

#: Complete days that a forecast looks back.
HISTORY_DAYS = 400
#: Series of one worker's run, and of them those that may get deep models.
_AT_ONCE, _DEEP = 1_000, 500
#: A scope that spent nothing for so long is not forecast.
_SILENT_DAYS = 60
_LESSONS = 42
_FEWEST_LESSONS = 3
#: Amounts that differ by less than this from the final ones are final.
_SAME = 0.005


class Settings(Struct, frozen=True):
    most_scopes: int = 200
    timeout_seconds: float = 300
    deep: bool = False


def settings_of(config: Config) -> Settings:
    asked = config.forecast
    return Settings(asked.most_scopes, asked.timeout_seconds, asked.deep)


class Made(NamedTuple):
    """A forecast, the days it was made from, and by how many days that scope's bills lag."""

    scope: Scope
    found: Forecast
    series: Series
    daily: Daily
    lag: int


def scopes_now(
    connection: Connection,
    now_ms: int,
    zone: str,
    exchange: Exchange,
    settings: Settings,
    *,
    only: Scope | None = None,
    days: int = HISTORY_DAYS,
) -> tuple[list[Daily], dict[str, BudgetStatus]]:
    """Daily spend of every scope and of exported budgets; where those budgets stand.

    `only` reads that scope alone (besides the ledger, which shows how late amounts come for
    a budget).
    """
    budget = only is not None and only[0] == "budget"
    found = []
    with transaction_for_reading(connection):
        asked = None if only is None else (("ledger", "") if budget else only)
        found.append(
            spend_by_day(connection, now_ms, zone, days=days, most=settings.most_scopes, only=asked)
        )
    statuses: dict[str, BudgetStatus] = {}
    if only is None or budget:
        watch = BudgetWatch(connection, lambda: exchange, only=None if only is None else [only[1]])
        watch.refresh(now_ms)
        numbers = watch.exported() if only is None else [watch.number_of(only[1]) or 0]
        numbers = [number for number in numbers if number]
        by_zone: dict[str, list[int]] = defaultdict(list)
        for number in numbers:
            # One by one: a budget without a limit now has no standing.
            for status in watch.statuses([number]):
                if status.budget.period == "hour":
                    continue
                by_zone[status.budget.timezone].append(number)
                statuses[status.budget.name] = status
        with transaction_for_reading(connection):
            for name, members in sorted(by_zone.items()):
                found.append(budgets_by_day(connection, now_ms, name, members, days=days))
    return found, statuses


def make(
    dailies: Sequence[Daily], settings: Settings, stopping: Callable[[], bool] = lambda: False
) -> Iterator[Made]:
    """Forecast every scope that spent something lately, in runs of the worker.

    Raises WorkerError where one of them fails.
    """
    groups: dict[tuple[int, int], list[tuple[Scope, Daily]]] = defaultdict(list)
    whole = next((d.scopes[s] for d in dailies for s in d.scopes if s[0] == "ledger"), None)
    ledger_lag = 0 if whole is None else lag_of(whole, dailies[0])
    lessons: dict[tuple[int, int], list[Series]] = defaultdict(list)
    for daily in dailies:
        for scope, series in daily.scopes.items():
            if not any(series.days.get(daily.today - 1 - k, 0) for k in range(_SILENT_DAYS)):
                continue
            budget = scope[0] == "budget"
            lag = ledger_lag if budget else lag_of(series, daily)
            groups[daily.today, lag].append((scope, daily))
            if lag:
                lessons[daily.today, lag].append(whole if budget and whole else series)
    for (today, lag), members in sorted(groups.items(), key=lambda item: item[0]):
        members.sort(key=lambda m: -sum(m[1].scopes[m[0]].days.values()))
        grown = _grown(lessons[today, lag], dailies[0]) if lag else ()
        deep = _DEEP if settings.deep else 0
        for at in range(0, len(members), _AT_ONCE):
            if stopping():
                raise WorkerError("the exporter stops; forecasts are made after its next start")
            part = members[at : at + _AT_ONCE]
            request = Request(
                last_day=today - 1,
                series=[history(d.scopes[s], today, lag, known=bool(grown)) for s, d in part],
                deep=max(0, min(deep - at, len(part))),
                grown=grown,
            )
            answer = _run(request, settings.timeout_seconds)
            for (scope, daily), found in zip(part, answer, strict=True):
                if found.history_days:
                    yield Made(scope, found, daily.scopes[scope], daily, lag)


def _run(request: Request, timeout: float) -> tuple[Forecast, ...]:
    try:
        return run_worker(request, timeout).forecasts
    except WorkerError as error:
        if "No module named" in str(error):
            raise WorkerError(
                f"{error}; forecasts need numpy: install it where costmeter is installed "
                "(pip install numpy)"
            ) from None
        raise


def history(series: Series, today: int, lag: int, *, known: bool) -> list[int | None]:
    """Complete days up to yesterday, None before the first spend and where bills are to come.

    With a lag, what was booked today is left out: the lag is known by whole days of booking.
    """
    first = min((day for day, nano in series.days.items() if nano), default=today)
    days: list[int | None] = [series.days.get(day, 0) for day in range(first, today)]
    for back in range(1, min(len(days), lag) + 1):
        late = series.booked.get((today - back, back), 0)
        days[-back] = (days[-back] or 0) - late if known else None
    return days


def lag_of(series: Series, daily: Daily) -> int:
    """After how many days a day's amount is what it stays; 0 when at its own end.

    With too little to learn from, it is the least age at which anything was booked.
    """
    grown = _grown([series], daily)
    if len(grown) < _FEWEST_LESSONS:
        ages = [
            age
            for (day, age), nano in series.booked.items()
            if nano > 0 and daily.first_booked <= day < daily.today
        ]
        return min(min(ages, default=0), ARRIVAL_DAYS)
    for age in range(len(grown[0].known) - 1, -1, -1):
        share = statistics.median((one.known[age] or 0) / one.final for one in grown)
        if abs(share - 1) > _SAME:
            return age + 1
    return 0


def _grown(members: Sequence[Series], daily: Daily) -> tuple[Grown, ...]:
    """How the amounts of past days came in, of several scopes together."""
    # A young ledger learns from what it has seen, and takes less for final.
    ages = min(ARRIVAL_DAYS, max(daily.today - daily.first_booked, 0) // 2)
    first = max(daily.today - ages - _LESSONS, daily.first_booked)
    sums: dict[int, list[int]] = {day: [0] * (ages + 1) for day in range(first, daily.today - ages)}
    if not ages:
        return ()
    for series in members:
        for (day, age), nano in series.booked.items():
            if day in sums and age <= ages:
                sums[day][age] += nano
    found = []
    for row in sums.values():
        known = [sum(row[: age + 1]) for age in range(ages + 1)]
        if known[-1] > 0:
            found.append(Grown(tuple(known), known[-1]))
    return tuple(found)


def month_end(made: Made, now_ms: int) -> tuple[Interval | None, int]:
    """What this month comes to, and the instant in ms at which it ends."""
    zone = ZoneInfo(made.daily.zone)
    start_ms, end_ms = Calendar(made.daily.zone).month_bounds(now_ms)
    first = day_number(start_ms, zone)
    spent = made.series.between(first, made.daily.today)
    return period_end(made, spent, first, end_ms, now_ms), end_ms


def period_end(made: Made, spent: int, first: int, end_ms: int, now_ms: int) -> Interval | None:
    """A period from day `first` to `end_ms`: spent so far, bills still to come, what is left.

    None where it ends after the last day of the forecast.
    """
    zone, today = ZoneInfo(made.daily.zone), made.daily.today
    begin = start_of(today, zone)
    passed = made.series.share_before(today)
    if passed is None:
        passed = (now_ms - begin) / (start_of(today + 1, zone) - begin)
    due = _still_to_come(made, first)
    if made.lag:
        point = made.found.days[0].point
        passed = made.series.days.get(today, 0) / point if point > 0 else 0.0
    left = day_number(end_ms - 1, zone) - today + 1
    return to_period_end(spent + due, made.found, left, passed)


def _still_to_come(made: Made, first: int) -> int:
    """What days that are over will still be billed: a like weekday's forecast less the known."""
    amount = 0
    for back in range(1, made.lag + 1):
        day = made.daily.today - back
        like = (-back) % 7
        if day >= first and like < len(made.found.days):
            amount += max(made.found.days[like].point - made.series.days.get(day, 0), 0)
    return amount
