"""The PromQL expressions about budgets, by name.

`@ end()` ranks once, at the end of the time range, so that lines do not come and go.
"""

from __future__ import annotations

from dashboards.selection import CHOSEN_BUDGETS, LEDGER, TENANT

#: Share of the month that has passed, in UTC.
ELAPSED = "scalar((day_of_month() - 1 + hour() / 24) / days_in_month())"

#: Windows of the burn rates: how a record is called, how long it is in seconds, and the share of
#: a limit from which its alert speaks.
WINDOWS = {
    "1 hour": ("budget:llm_budget_cost:increase1h", 3_600, 0.02),
    "6 hours": ("budget:llm_budget_cost:increase6h", 21_600, 0.05),
    "1 day": ("budget:llm_budget_cost:sum1d", 86_400, 0.05),
    "3 days": ("budget:llm_budget_cost:sum3d", 259_200, 0.10),
}

_BUDGET = "job, budget, period, tenant_id"
_MONTHLY = f'{CHOSEN_BUDGETS}, period="month"'


def used() -> str:
    """Share of the ledger's own budget, or of the fullest one of the chosen tenants (ratio)."""
    ratio = "budget:llm_budget_spent:ratio"
    return (
        f'{ratio}{{{LEDGER}, {TENANT}, budget="organization"}}\n'
        f"or on (job)\n"
        f"topk by (job) (1, {ratio}{{{CHOSEN_BUDGETS}}})"
    )


def _fullest(count: int, chosen: str = CHOSEN_BUDGETS) -> str:
    return f"topk({count}, budget:llm_budget_spent:ratio{{{chosen}}} @ end())"


def _of_fullest(record: str, count: int, at: str = "") -> str:
    """Of hundreds of budgets the few that are shown; what follows then handles few as well."""
    return f"{record}{{{CHOSEN_BUDGETS}}}{at} and on ({_BUDGET}) {_fullest(count)}"


def column(record: str, count: int) -> str:
    """One figure of the fullest budgets, for a table."""
    return f"max by ({_BUDGET}) ({_of_fullest(record, count)})"


def exhaustion_ms(count: int) -> str:
    """When the fullest budgets are used up at the present rate, Unix time in milliseconds."""
    record = "budget:llm_budget_exhaustion_timestamp_seconds:max"
    return f"1000 * ({_of_fullest(record, count)})"


def monthly(count: int) -> str:
    """The used share of the fullest monthly budgets (ratio)."""
    used_share = f"budget:llm_budget_spent:ratio{{{_MONTHLY}}}"
    return f"max by ({_BUDGET}) ({used_share} and on ({_BUDGET}) {_fullest(count, _MONTHLY)})"


def pace() -> str:
    """What an even pace would have used of any monthly budget (ratio)."""
    return f"group by (job) (budget:llm_budget_limit:max{{{_MONTHLY}}} @ end()) * {ELAPSED}"


def burn(count: int) -> str:
    """Spend of 24 hours over a day's share of the present limit; 1 uses the budget up exactly."""
    spent = _of_fullest("budget:llm_budget_cost:increase1d", count)
    limit = _of_fullest("budget:llm_budget_limit:max", count, " @ end()")
    length = _of_fullest("budget:llm_budget_period_seconds:max", count, " @ end()")
    return (
        f"max by ({_BUDGET}) ({length}) / 86400 * max by ({_BUDGET}) ({spent})\n"
        f"/ on ({_BUDGET})\n"
        f"(max by ({_BUDGET}) ({limit}) > 0)"
    )


def burn_rate(window: str) -> str:
    """Spend of a window over what an even pace takes in it: of the budget of `used`."""
    record, seconds, _ = WINDOWS[window]
    spent = f"{record}{{{CHOSEN_BUDGETS}}}"
    length = f"budget:llm_budget_period_seconds:max{{{CHOSEN_BUDGETS}}}"
    limit = f"budget:llm_budget_limit:max{{{CHOSEN_BUDGETS}}}"
    return f"({spent} * {length} / {seconds} / ({limit} > 0)) and on ({_BUDGET}) ({used()})"
