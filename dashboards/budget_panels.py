"""Panels of "LLM Cost Monitoring" about budgets."""

from __future__ import annotations

from typing import Any

from dashboards import budget_queries as ask
from dashboards import colours, panels
from dashboards.panels import At, Look, Panel, Query
from dashboards.spend_panels import ONLY_TENANTS, RATIO, USD

BUDGETS, BURNING = 15, 5

_BUDGET_COLOURS: dict[str, Any] = {
    "mode": "absolute",
    "steps": [
        {"value": None, "color": colours.GOOD},
        {"value": 0.8, "color": colours.WARN},
        {"value": 1, "color": colours.BAD},
    ],
}


def _share_column() -> dict[str, Any]:
    return {
        "unit": RATIO,
        "decimals": 0,
        "min": 0,
        "max": 1.5,
        "custom.cellOptions": {"type": "gauge", "mode": "basic", "valueDisplayMode": "color"},
        "color": {"mode": "thresholds"},
        "thresholds": _BUDGET_COLOURS,
    }


_TABLE_OF = (
    "budget:llm_budget_spent:max",
    "budget:llm_budget_limit:max",
    "budget:llm_budget_spent:ratio",
    "budget:llm_budget_forecast:ratio",
)


def budgets() -> tuple[Panel, ...]:
    """Which are in danger, and how fast they are used."""
    return (
        panels.table(
            "Budgets",
            At(0, 0, 24, 8),
            f"Which budgets are in danger? The {BUDGETS} fullest, with what is spent, where the"
            " period ends at the pace of the last 7 days, and when the money is gone at that pace."
            f" A budget without a tenant is over several. {ONLY_TENANTS}",
            [
                *(Query(ask.column(record, BUDGETS), now=True, table=True) for record in _TABLE_OF),
                Query(ask.exhaustion_ms(BUDGETS), now=True, table=True),
            ],
            Look(
                USD,
                2,
                nothing="No budget",
                lines={
                    "Budget": {"unit": "string"},
                    "Tenant": {
                        "unit": "string",
                        "mappings": [
                            {"type": "value", "options": {"": {"text": "(several)", "index": 0}}}
                        ],
                    },
                    "Period": {"unit": "string", "custom.width": 90},
                    "Used": _share_column(),
                    "Forecast": _share_column(),
                    "Used up": {"unit": "dateTimeFromNow", "custom.width": 150, "noValue": "-"},
                    "Spent": {"custom.width": 140},
                    "Limit": {"custom.width": 140},
                },
            ),
            [
                "budget as Budget",
                "tenant_id as Tenant",
                "period as Period",
                "Value #A as Spent",
                "Value #B as Limit",
                "Value #C as Used",
                "Value #D as Forecast",
                "Value #E as Used up",
            ],
            sort="Used",
            runbooks=("BudgetWarning", "BudgetCritical", "BudgetExceeded", "ForecastOverBudget"),
        ),
        panels.lines(
            "Budget used, against an even pace",
            At(0, 8, 12, 8),
            f"Is spending ahead of the calendar? Share of the limit that the {BURNING} fullest"
            " monthly budgets have used; the dashed line uses them up evenly over the month."
            f" {ONLY_TENANTS}",
            [
                Query(ask.monthly(BURNING), "{{budget}}"),
                Query(ask.pace(), "even pace"),
            ],
            Look(
                RATIO,
                1,
                minimum=0,
                nothing="No budget",
                steps=((None, "transparent"), (1, colours.BAD)),
                lines={
                    "even pace": {
                        "color": panels.fixed(colours.REST),
                        "custom.lineStyle": {"fill": "dash", "dash": [8, 8]},
                        "custom.fillOpacity": 0,
                    }
                },
            ),
            limits=True,
            placement="right",
            interval="1h",
            calcs=("lastNotNull",),
            runbooks=("ForecastOverBudget", "BudgetExhaustionSoon"),
        ),
        panels.lines(
            "Budget burn",
            At(12, 8, 12, 8),
            "How fast are budgets used? Spend of the last 24 hours over a day's even share of the"
            " present limit, for the fullest budgets. At 1 a budget lasts exactly its period; at 2,"
            f" half of it. {ONLY_TENANTS}",
            [Query(ask.burn(BURNING), "{{budget}}")],
            Look(
                "suffix: x",
                1,
                minimum=0,
                nothing="No budget",
                steps=((None, "transparent"), (1, colours.WARN)),
            ),
            limits=True,
            placement="right",
            interval="1h",
            runbooks=("BudgetBurnFast", "BudgetBurnSlow", "CostSpike"),
        ),
    )
