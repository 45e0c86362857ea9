"""Where a budget stands and where it is heading: pure functions of figures and `now`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from costmeter.ledger.history import BudgetSpend
from costmeter.ledger.periods import Calendar
from costmeter.model import CHUNK_SIZE, MS_PER_DAY, Budget, Chunk

#: The rate is the mean of the last seven days: one whole week, so that weekends count.
RATE_WINDOW_MS = 7 * MS_PER_DAY
#: A budget that is younger than a day has its spend spread over a day; an hour's worth
#: multiplied by a month would cry wolf.
_SHORTEST_WINDOW_MS = MS_PER_DAY
#: The ledger-wide monthly budget's name among the others.
ORGANIZATION = "organization"
#: Of many budgets, so many are exported in the order of the configuration, and so many
#: of the rest by how much of them is spent.
EXPORTED_FIRST, EXPORTED_WORST = 2_000, 500

Level = Literal["none", "warning", "critical", "exceeded"]
State = Literal["over_budget", "projected_over", "at_risk", "on_track", "under_budget"]


class BudgetStatus(NamedTuple):
    """One budget in its current period; money in nano-USD, instants in milliseconds."""

    budget: Budget
    start_ms: int
    end_ms: int
    spent: int
    forecast: int
    exhaustion_ms: int | None
    level: Level
    state: State


def period_of(budget: Budget, now_ms: int) -> tuple[int, int]:
    """The budget's current period [start, end) in its own time zone."""
    return Calendar(budget.timezone).month_bounds(now_ms - now_ms % 60_000)


def assess(budget: Budget, figures: BudgetSpend, now_ms: int) -> BudgetStatus:
    """Projection = spent + mean rate of the last 7 days x time left.

    Unlike the elapsed share of the month it does not jump on the 1st, and unlike today's
    rate it does not follow a nightly batch.
    """
    start_ms, end_ms = period_of(budget, now_ms)
    spent, limit = figures.spent, budget.limit_nano
    window_ms = RATE_WINDOW_MS
    if figures.first_ms is not None:
        window_ms = min(window_ms, max(now_ms - figures.first_ms, _SHORTEST_WINDOW_MS))
    recent = max(figures.recent, 0)
    forecast = spent + recent * max(end_ms - now_ms, 0) // window_ms
    exhaustion_ms = None
    if spent < limit and recent > 0:
        at_ms = now_ms + (limit - spent) * window_ms // recent
        exhaustion_ms = at_ms if at_ms < end_ms else None
    return BudgetStatus(
        budget, start_ms, end_ms, spent, forecast, exhaustion_ms,
        _level(budget, spent), _state(limit, spent, forecast),
    )  # fmt: skip


def exported(statuses: Sequence[BudgetStatus]) -> list[BudgetStatus]:
    """The first budgets in their order, and of the rest those that are spent the most."""
    rest = sorted(
        statuses[EXPORTED_FIRST:],
        key=lambda s: s.spent * 1_000 // s.budget.limit_nano,
        reverse=True,
    )
    return [*statuses[:EXPORTED_FIRST], *rest[:EXPORTED_WORST]]


_FIGURES: Mapping[str, Callable[[BudgetStatus], int | None]] = {
    "llm_budget_limit": lambda s: s.budget.limit_nano,
    "llm_budget_spent": lambda s: s.spent,
    "llm_budget_forecast": lambda s: s.forecast,
    "llm_budget_exhaustion_timestamp_seconds": lambda s: s.exhaustion_ms,
    "llm_budget_warning_ratio": lambda s: s.budget.warning_permille,
    "llm_budget_critical_ratio": lambda s: s.budget.critical_permille,
}


def families(statuses: Sequence[BudgetStatus]) -> dict[str, tuple[Chunk, ...]]:
    """The budget gauges by catalog name."""
    found: dict[str, tuple[Chunk, ...]] = {}
    for name, figure in _FIGURES.items():
        rows = [(status.budget.series_labels, figure(status)) for status in statuses]
        found[name] = _chunked([(labels, value) for labels, value in rows if value is not None])
    monthly = [s.budget.limit_nano for s in statuses if s.budget.name == ORGANIZATION]
    found["llm_budget_monthly"] = _chunked([((), limit) for limit in monthly])
    return found


def _level(budget: Budget, spent: int) -> Level:
    permille = spent * 1_000
    if spent > budget.limit_nano:
        return "exceeded"
    if permille >= budget.critical_permille * budget.limit_nano:
        return "critical"
    return "warning" if permille >= budget.warning_permille * budget.limit_nano else "none"


def _state(limit: int, spent: int, forecast: int) -> State:
    if spent > limit:
        return "over_budget"
    if forecast * 100 > limit * 110:
        return "projected_over"
    if forecast > limit:
        return "at_risk"
    return "on_track" if forecast * 100 > limit * 90 else "under_budget"


def _chunked(rows: Sequence[tuple[tuple[str, ...], int]]) -> tuple[Chunk, ...]:
    parts = [rows[i : i + CHUNK_SIZE] for i in range(0, len(rows), CHUNK_SIZE)]
    return tuple(
        Chunk(tuple(labels for labels, _ in part), tuple(value for _, value in part))
        for part in parts
    )
