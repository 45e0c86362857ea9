"""Where a budget stands and where it is heading: pure functions of figures and `now`."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Literal, NamedTuple

from costmeter.analysis.budgets.plans import NO_PLANS, Plans
from costmeter.ledger.budget_periods import periods_of
from costmeter.ledger.history import BudgetSpend
from costmeter.model import MS_PER_DAY, Budget

#: The rate is the mean of the last seven days: one whole week, so that weekends count.
RATE_WINDOW_MS = 7 * MS_PER_DAY
#: A budget that is younger than a day has its spend spread over a day; an hour's worth
#: multiplied by a month would cry wolf.
_SHORTEST_WINDOW_MS = MS_PER_DAY
#: Student's t for 80 % between both ends, in thousandths, by degrees of freedom (1 to 6).
_T80 = (3_078, 1_886, 1_638, 1_533, 1_476, 1_440)
#: Days of spend without which an interval would be a guess.
_LEAST_DAYS = 3

Level = Literal["none", "warning", "critical", "exceeded"]
State = Literal["over_budget", "projected_over", "at_risk", "on_track", "under_budget"]


class Expected(NamedTuple):
    """A forecast of what the whole period comes to, with the ends of its interval."""

    total: int
    low: int
    high: int


class Standing(NamedTuple):
    """What an assessment goes by beside spend.

    `limit` is the limit in USD with what was `carried` over; None takes the budget's own.
    `once` is one-time spend in the period's recent days: part of what is spent, no part of
    the rate. `days` is net spend of each of the last days, newest first, for intervals.
    """

    limit: int | None = None
    carried: int = 0
    once: int = 0
    plans: Plans = NO_PLANS
    expected: Expected | None = None
    days: Sequence[int] = ()


NOTHING_ELSE = Standing()


class BudgetStatus(NamedTuple):
    """One budget in its current period; money in nano-USD, instants in milliseconds.

    `daily_rate` is the mean of recent days, `daily_left` what may be spent a day until the
    period ends. `exhaustion_ms` is None when the limit lasts, and once it is exceeded;
    `exhaustion_low_ms` and `exhaustion_high_ms` are the ends of its 80 % interval, None
    beyond the period. `low` and `high` are the ends of the forecast's.
    """

    budget: Budget
    start_ms: int
    end_ms: int
    spent: int
    forecast: int
    exhaustion_ms: int | None
    level: Level
    state: State
    limit: int
    carried: int = 0
    daily_rate: int = 0
    daily_left: int = 0
    days_left: float = 0.0
    overage: int = 0
    low: int | None = None
    high: int | None = None
    exhaustion_low_ms: int | None = None
    exhaustion_high_ms: int | None = None
    plans: Plans = NO_PLANS
    from_forecast: bool = False

    @property
    def permille(self) -> int:
        """Thousandths of the limit that are spent; of a limit of 0, its nano-USD."""
        return self.spent * 1_000 // self.limit if self.limit else self.spent


def period_of(budget: Budget, now_ms: int) -> tuple[int, int]:
    """The budget's current period [start, end) in its own time zone.

    Before the first and after the last one, that one; (0, 0) where there is none.
    """
    periods = periods_of(budget.cut)
    return periods.latest(now_ms) or (0, 0)


def assess(
    budget: Budget, figures: BudgetSpend, now_ms: int, standing: Standing = NOTHING_ELSE
) -> BudgetStatus:
    """Projection = spent + mean rate of the last 7 days x time left + what is planned.

    Unlike the elapsed share of the month it does not jump on the 1st, and unlike today's
    rate it does not follow a nightly batch. A forecast that somebody made takes its place.
    """
    start_ms, end_ms = period_of(budget, now_ms)
    spent = figures.spent
    limit = budget.limit_nano if standing.limit is None else standing.limit
    window_ms = window_of(figures.first_ms, now_ms)
    recent = max(figures.recent - standing.once - standing.plans.in_rate, 0)
    left_ms = max(end_ms - now_ms, 0)
    planned = standing.plans.left
    forecast = forecast_of(spent, recent, window_ms, left_ms) + planned
    slack = _slack(standing, recent, window_ms)
    low = high = exhaustion_low = exhaustion_high = None
    if slack is not None:
        low = forecast_of(spent, max(recent - slack, 0), window_ms, left_ms) + planned
        high = forecast_of(spent, recent + slack, window_ms, left_ms) + planned
        exhaustion_low = _exhaustion(limit - spent, recent + slack, window_ms, standing, now_ms)
        exhaustion_high = _exhaustion(
            limit - spent, max(recent - slack, 0), window_ms, standing, now_ms
        )
    expected = standing.expected
    if expected is not None:
        forecast = max(expected.total, spent)
        low, high = max(expected.low, spent), max(expected.high, spent)
    exhaustion = _exhaustion(limit - spent, recent, window_ms, standing, now_ms)
    days_left = left_ms / MS_PER_DAY
    return BudgetStatus(
        budget=budget,
        start_ms=start_ms,
        end_ms=end_ms,
        spent=spent,
        forecast=forecast,
        exhaustion_ms=_within(exhaustion, end_ms),
        level=level_of(limit, spent, budget.warning_permille, budget.critical_permille),
        state=state_of(limit, spent, forecast),
        limit=limit,
        carried=standing.carried,
        daily_rate=recent * MS_PER_DAY // window_ms,
        daily_left=max(limit - spent, 0) * MS_PER_DAY // max(left_ms, MS_PER_DAY),
        days_left=days_left,
        overage=max(spent - limit, 0),
        low=low,
        high=high,
        exhaustion_low_ms=_within(exhaustion_low, end_ms),
        exhaustion_high_ms=_within(exhaustion_high, end_ms),
        plans=standing.plans,
        from_forecast=expected is not None,
    )


def window_of(first_ms: int | None, now_ms: int) -> int:
    """The time that recent spend is divided by: a week, or less of a younger budget."""
    if first_ms is None:
        return RATE_WINDOW_MS
    return min(RATE_WINDOW_MS, max(now_ms - first_ms, _SHORTEST_WINDOW_MS))


def forecast_of(spent: int, recent: int, window_ms: int, left_ms: int) -> int:
    """Spent, and the recent rate for the time that is left."""
    return spent + recent * left_ms // window_ms


def level_of(limit: int, spent: int, warning_permille: int, critical_permille: int) -> Level:
    """Which of the budget's thresholds its spend has reached."""
    if spent > limit:
        return "exceeded"
    if spent <= 0:
        return "none"
    permille = spent * 1_000
    if permille >= critical_permille * limit:
        return "critical"
    return "warning" if permille >= warning_permille * limit else "none"


def state_of(limit: int, spent: int, forecast: int) -> State:
    """How the projection stands to the limit."""
    if spent > limit:
        return "over_budget"
    if forecast * 100 > limit * 110:
        return "projected_over"
    if forecast > limit:
        return "at_risk"
    return "on_track" if forecast * 100 > limit * 90 else "under_budget"


def _slack(standing: Standing, recent: int, window_ms: int) -> int | None:
    """How far off the recent sum may be as a measure of the days to come: 80 % of the time.

    The mean of n days lies within t(n - 1) x s / sqrt(n) of the true one, where s is their
    standard deviation (Student).
    """
    days = standing.days
    number = min(len(days), 7)
    if number < _LEAST_DAYS or not recent:
        return None
    mean = sum(days) // number
    variance = sum((day - mean) ** 2 for day in days) // (number - 1)
    per_day = isqrt(variance // number) * _T80[number - 2] // 1_000
    return per_day * window_ms // MS_PER_DAY


def _exhaustion(
    left: int, recent: int, window_ms: int, standing: Standing, now_ms: int
) -> int | None:
    """When what is left is spent, planned amounts included; None when never."""
    if left <= 0:
        return None
    at_ms = now_ms
    for due_ms, amount in standing.plans.ahead:
        spent = recent * (due_ms - at_ms) // window_ms
        if spent >= left:
            break
        left -= spent
        at_ms = due_ms
        if amount >= left:
            return at_ms
        left -= amount
    return at_ms + left * window_ms // recent if recent > 0 else None


def _within(at_ms: int | None, end_ms: int) -> int | None:
    return at_ms if at_ms is not None and at_ms < end_ms else None
