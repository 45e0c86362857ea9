"""Every PromQL expression of the dashboard about budgets, by name.

A budget's period is its own: an hour, a month, or dates. So whatever is compared with time is
compared with that period. `$owner` is known to `budget:llm_budget_info:max` alone; everything else
is narrowed to the budgets that it names.
"""

from __future__ import annotations

from dashboards.budget_queries import WINDOWS
from dashboards.queries import zero
from dashboards.selection import LEDGER

CHOSEN = f'{LEDGER}, budget=~"$budget", period=~"$period", tenant_id=~"$tenant"'
OWNED = f'{CHOSEN}, owner=~"$owner"'
BUDGET = "job, budget, period, tenant_id"

#: Alerts that name a budget.
ALERTS = "Budget.*|ForecastOverBudget"
_ALERT = "job, alertname, severity, budget, period, tenant_id"

_SPENT, _LIMIT = "budget:llm_budget_spent:max", "budget:llm_budget_limit:max"
_USED, _HEADING = "budget:llm_budget_spent:ratio", "budget:llm_budget_forecast:ratio"
_EXHAUSTED = "budget:llm_budget_exhaustion_timestamp_seconds:max"
_END, _LENGTH = (
    "budget:llm_budget_period_end_timestamp_seconds:max",
    "budget:llm_budget_period_seconds:max",
)

BUDGETS = f"label_values({_LIMIT}{{{LEDGER}}}, budget)"
PERIODS = f"label_values({_LIMIT}{{{LEDGER}}}, period)"
TENANTS = f"label_values({_LIMIT}{{{LEDGER}}}, tenant_id)"
OWNERS = f"label_values(budget:llm_budget_info:max{{{LEDGER}}}, owner)"


def of(record: str, at: str = "") -> str:
    """A figure of the chosen budgets."""
    info = f"budget:llm_budget_info:max{{{OWNED}}}{at}"
    return f"({record}{{{CHOSEN}}}{at} and on ({BUDGET}) {info})"


def fullest(count: int) -> str:
    """The budgets that are nearest to their limits, ranked once for the whole time range."""
    return f"topk({count}, {of(_USED, ' @ end()')})"


def of_fullest(record: str, count: int) -> str:
    return f"({record}{{{CHOSEN}}} and on ({BUDGET}) {fullest(count)})"


def _count(expression: str) -> str:
    return f"count by (job) ({expression}) or {zero()}"


# At a glance


def watched() -> str:
    """Budgets with a limit."""
    return _count(of(_LIMIT))


def exceeded() -> str:
    return _count(f"{of(_USED)} > 1")


def near() -> str:
    """Budgets over their own warning threshold and not over their limit."""
    return _count(f"({of(_USED)} <= 1) > {of('budget:llm_budget_warning_ratio:max')}")


def heading_over() -> str:
    """Budgets whose projection is over 110 % of a limit that is not used up yet."""
    return _count(f"{of(_HEADING)} > 1.1 unless on ({BUDGET}) {of(_USED)} > 1")


def used_up_early() -> str:
    """Budgets that will be used up before their period ends."""
    return _count(f"{of(_EXHAUSTED)} < {of(_END)}")


def next_used_up_ms() -> str:
    """When the first of them is used up, Unix time in milliseconds."""
    return f"1000 * min by (job) ({of(_EXHAUSTED)})"


def firing() -> str:
    """Alerts of the chosen budgets that fire now."""
    return _count(_alerts())


def quiet_seconds() -> str:
    """For how long a source of cost has been silent, so that alerts that compare are quiet."""
    return f"max by (job) (job:costmeter_cost_data:stale{{{LEDGER}}}) or {zero()}"


# State


def column(record: str, count: int) -> str:
    """One figure of the fullest budgets, for a table."""
    return f"max by ({BUDGET}) ({of_fullest(record, count)})"


def spent(count: int) -> str:
    """Spend of the fullest budgets, USD, with their owners."""
    info = f"budget:llm_budget_info:max{{{OWNED}}}"
    return (
        f"max by ({BUDGET}, owner) "
        f"({of_fullest(_SPENT, count)} * on ({BUDGET}) group_left (owner) {info})"
    )


def when_ms(record: str, count: int) -> str:
    """An instant of the fullest budgets, Unix time in milliseconds."""
    return f"1000 * {column(record, count)}"


def left_a_day(count: int) -> str:
    """USD that may be spent a day until the period ends, at most what is left."""
    left = f"clamp_min({column(_LIMIT, count)} - {column(_SPENT, count)}, 0)"
    return f"{left} / clamp_min(({column(_END, count)} - time()) / 86400, 1)"


# Burn


def even(count: int) -> str:
    """What an even pace would have spent by now, USD."""
    return f"{column(_LIMIT, count)} * {_elapsed(count)}"


def _elapsed(count: int) -> str:
    """Share of its period that has passed."""
    return f"(1 - ({column(_END, count)} - time()) / {column(_LENGTH, count)})"


def ahead(count: int) -> str:
    """USD that are spent beyond an even pace; the largest."""
    elapsed = f"(1 - ({of(_END)} - time()) / {of(_LENGTH)})"
    return f"sort_desc(topk({count}, {of(_SPENT)} - {of(_LIMIT)} * {elapsed} > 0))"


def pace(count: int) -> str:
    """Used share over the share of the period that has passed; not in its first twentieth."""
    return f"{column(_USED, count)} / ({_elapsed(count)} > 0.05)"


def burn(window: str, count: int) -> str:
    """Spend of a window over what an even pace takes in it. At 1 a budget lasts its period."""
    record, seconds, _ = WINDOWS[window]
    even_share = f"({column(_LIMIT, count)} > 0) * {seconds} / {column(_LENGTH, count)}"
    return f"{column(record, count)} / ({even_share})"


def window_share(window: str, count: int) -> str:
    """Spend of a window over the limit (ratio), of budgets whose period is long enough for it.

    As in `alert_rules/burn_rates.yml`: the alert's share of the period is at least the window.
    """
    record, seconds, share = WINDOWS[window]
    lasting = f"{column(_LENGTH, count)} >= {seconds / share:g}"
    return f"{column(record, count)} / ({column(_LIMIT, count)} > 0) and on ({BUDGET}) {lasting}"


# Alerts


def _alerts() -> str:
    return f'ALERTS{{{OWNED}, alertstate="firing", alertname=~"{ALERTS}"}}'


def alerts_over_time() -> str:
    """Budgets that an alert speaks of, by alert."""
    each = f"max by (job, alertname, budget, period, tenant_id) ({_alerts()})"
    return f"count by (job, alertname) ({each})"


def hours_fired() -> str:
    """Hours for which each alert fired within the time range."""
    return f"max by ({_ALERT}) (count_over_time({_alerts()}[$__range:10m])) / 6"


def fires_now() -> str:
    """1 for those that fire now."""
    return f"max by ({_ALERT}) ({_alerts()})"


# Categories and plans


def category_spend() -> str:
    """This month's spend of the categories that have a threshold, USD."""
    spent = (
        "sum by (job, category) "
        f'(rollup:llm_cost_month_to_date:sum{{{LEDGER}, tenant_id="", model=""}})'
    )
    known = f"max by (job, category) (category:llm_category_cost_threshold:max{{{LEDGER}}})"
    return f"{spent} and on (job, category) {known}"


def category_threshold(level: str) -> str:
    """A threshold of each category, USD."""
    chosen = f'{LEDGER}, level="{level}"'
    return f"max by (job, category) (category:llm_category_cost_threshold:max{{{chosen}}})"


def category_share() -> str:
    """Spend over the lowest threshold (ratio)."""
    lowest = f"min by (job, category) (category:llm_category_cost_threshold:max{{{LEDGER}}})"
    return f"({category_spend()}) / {lowest}"


def planned() -> str:
    """Planned spend whose time has begun in the period, USD; of budgets that plan."""
    return f"max by ({BUDGET}) (llm_budget_planned{{{CHOSEN}}})"


def planned_open() -> str:
    """Planned spend whose time is now, USD."""
    return f"max by ({BUDGET}) (budget:llm_budget_planned_open:max{{{CHOSEN}}})"
