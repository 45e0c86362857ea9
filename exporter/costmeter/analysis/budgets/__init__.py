"""Budgets: where each stands, where it is heading, and what is said about it.

Pure functions of figures and `now`; money is nano-USD, instants are milliseconds.
"""

from costmeter.analysis.budgets.families import (
    EXPORTED_FIRST,
    EXPORTED_WORST,
    ORGANIZATION,
    exported,
    families,
)
from costmeter.analysis.budgets.plans import NO_PLANS, Plans, plans
from costmeter.analysis.budgets.status import (
    RATE_WINDOW_MS,
    BudgetStatus,
    Expected,
    Level,
    Standing,
    State,
    assess,
    forecast_of,
    level_of,
    period_of,
    state_of,
)

__all__ = [
    "EXPORTED_FIRST",
    "EXPORTED_WORST",
    "NO_PLANS",
    "ORGANIZATION",
    "RATE_WINDOW_MS",
    "BudgetStatus",
    "Expected",
    "Level",
    "Plans",
    "Standing",
    "State",
    "assess",
    "exported",
    "families",
    "forecast_of",
    "level_of",
    "period_of",
    "plans",
    "state_of",
]
