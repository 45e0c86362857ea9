"""The dashboard "Budgets": where each budget stands, how fast it is used, and who was told."""

from __future__ import annotations

from typing import Any

from dashboards import budget_state_queries as ask
from dashboards import colours, house, panels, queries
from dashboards.budget_history_panels import BESIDE, HISTORY
from dashboards.budget_looks import (
    NONE_IS_BETTER,
    NONE_IS_GOOD,
    NOT_KNOWN,
    RATIO,
    ROWS,
    SEVERAL,
    USD,
    coloured,
    meter,
)
from dashboards.budget_pace_panels import BURN, FAST
from dashboards.panels import At, Look, Panel, Query
from dashboards.selection import ANYTHING

UID = "costmeter-budgets"
TITLE = "Budgets"
ABOUT = (
    "Where every budget stands in its period, where it is heading, how fast it is used, and which"
    " alerts spoke of it. Figures are exact, net and in USD; each budget has its own period."
)


def _count(title: str, x: int, about: str, expression: str, steps: Any, *runbooks: str) -> Panel:
    return panels.stat(
        title, At(x, 0, 3, 4), about, Query(expression, title.lower(), now=True),
        Look("none", 0, nothing="Not known", steps=steps),
        size=36, runbooks=runbooks,
    )  # fmt: skip


GLANCE = (
    _count(
        "Budgets watched",
        0,
        "How many budgets are there? Those that the variables choose.",
        ask.watched(),
        ((None, colours.CALM),),
    ),
    _count(
        "Exceeded",
        3,
        "How many budgets are used up? costmeter blocks nothing, so they go on.",
        ask.exceeded(),
        NONE_IS_GOOD,
        "BudgetExceeded",
    ),
    _count(
        "Near their limit",
        6,
        "How many may soon be? Those over their own warning threshold, and not over the limit.",
        ask.near(),
        NONE_IS_BETTER,
        "BudgetWarning",
        "BudgetCritical",
    ),
    _count(
        "Heading over",
        9,
        "How many are on their way over? Projected beyond 110 %, of a limit not used up yet.",
        ask.heading_over(),
        NONE_IS_BETTER,
        "ForecastOverBudget",
    ),
    _count(
        "Used up early",
        12,
        "How many will not last? Used up before their period ends, at the rate of the last 7 days.",
        ask.used_up_early(),
        NONE_IS_BETTER,
        "BudgetExhaustionSoon",
    ),
    panels.stat(
        "Next one used up",
        At(15, 0, 3, 4),
        "When is the next budget used up? The earliest of those that will be within their period.",
        Query(ask.next_used_up_ms(), "used up", now=True),
        Look("dateTimeFromNow", nothing="None", colour=colours.CALM),
        size=24,
        runbooks=("BudgetExhaustionSoon",),
    ),
    _count(
        "Alerts of budgets",
        18,
        "Is somebody being told? Alerts of the chosen budgets that fire now.",
        ask.firing(),
        NONE_IS_GOOD,
        "BudgetExceeded",
        "BudgetBurnFast",
    ),
    panels.stat(
        "Quiet alerts",
        At(21, 0, 3, 4),
        "Is a source of cost silent? While it is, alerts that compare spend are quiet, and budgets"
        " may stand higher than they look. For how long it has been; of the whole ledger.",
        Query(ask.quiet_seconds(), "silent", now=True),
        Look(
            "s", 0, nothing="Not known", steps=NONE_IS_BETTER,
            mappings=(
                {"type": "value", "options": {"0": {"text": "Not quiet", "index": 0}}},
            ),
        ),
        size=24,
        runbooks=("CostDataStale",),
    ),
)  # fmt: skip

STATES = (
    panels.table(
        "Every budget",
        At(0, 0, 24, 12),
        f"Where does each budget stand, and where is it heading? The {ROWS} nearest to their"
        " limits: spent and projected in their period, when the money is gone at the rate of the"
        " last 7 days, and what may be spent a day from now on.",
        [
            Query(ask.spent(ROWS), now=True, table=True),
            Query(ask.column("budget:llm_budget_limit:max", ROWS), now=True, table=True),
            Query(ask.column("budget:llm_budget_spent:ratio", ROWS), now=True, table=True),
            Query(ask.column("budget:llm_budget_forecast:max", ROWS), now=True, table=True),
            Query(ask.column("budget:llm_budget_forecast:ratio", ROWS), now=True, table=True),
            Query(
                ask.when_ms("budget:llm_budget_exhaustion_timestamp_seconds:max", ROWS),
                now=True,
                table=True,
            ),
            Query(ask.left_a_day(ROWS), now=True, table=True),
            Query(
                ask.when_ms("budget:llm_budget_period_end_timestamp_seconds:max", ROWS),
                now=True,
                table=True,
            ),
        ],
        Look(
            USD,
            2,
            nothing=NOT_KNOWN,
            lines={
                "Budget": {"unit": "string"},
                "Owner": {"unit": "string", "custom.width": 140, "noValue": NOT_KNOWN},
                "Tenant": {"unit": "string", "custom.width": 110, "mappings": [SEVERAL]},
                "Period": {"unit": "string", "custom.width": 85},
                **{name: {"custom.width": 110} for name in ("Spent", "Limit", "Projected")},
                "Used": meter(),
                "Heading for": coloured(
                    RATIO, ((None, colours.CALM), (1, colours.WARN), (1.1, colours.BAD)),
                    decimals=0, **{"custom.width": 110},
                ),
                "Used up": {"unit": "dateTimeFromNow", "custom.width": 120},
                "Period ends": {"unit": "dateTimeFromNow", "custom.width": 120},
                "Left a day": {"custom.width": 110},
            },
        ),
        [
            "budget as Budget",
            "owner as Owner",
            "tenant_id as Tenant",
            "period as Period",
            "Value #A as Spent",
            "Value #B as Limit",
            "Value #C as Used",
            "Value #D as Projected",
            "Value #E as Heading for",
            "Value #F as Used up",
            "Value #G as Left a day",
            "Value #H as Period ends",
        ],
        sort="Used",
        runbooks=("BudgetExceeded", "BudgetCritical", "BudgetWarning", "ForecastOverBudget"),
    ),
)  # fmt: skip


def build() -> dict[str, Any]:
    """The dashboard as JSON data."""
    return house.dashboard(
        UID,
        TITLE,
        ABOUT,
        {
            "At a glance": GLANCE,
            "Where they stand": STATES,
            "How fast they are used": FAST,
            "Burn-rate windows": BURN,
            "What happened": HISTORY,
            "Categories and plans": BESIDE,
        },
        [
            house.source_variable(),
            house.variable("ledger", "Ledger", queries.LEDGERS),
            house.variable("budget", "Budget", ask.BUDGETS, ANYTHING),
            house.variable("owner", "Owner", ask.OWNERS, ANYTHING),
            house.variable("period", "Period", ask.PERIODS, ANYTHING),
            house.variable("tenant", "Tenant", ask.TENANTS, ANYTHING),
        ],
        [
            house.dashboard_link(
                "LLM Cost Monitoring", "costmeter-llm-cost", "Who spends it, and on what"
            ),
            house.page_link(
                "Budgets", f"{house.REPOSITORY}/docs/budgets.md", "How budgets are written down"
            ),
        ],
        start="now-30d",
        refresh="5m",
    )
