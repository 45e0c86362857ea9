"""Panels of "Budgets" about what happened to them, and what lies beside them."""

from __future__ import annotations

from dashboards import budget_state_queries as ask
from dashboards import colours, panels
from dashboards.budget_looks import (
    ALERTS,
    LINES,
    NOT_KNOWN,
    RATIO,
    SEVERAL,
    USD,
    meter,
)
from dashboards.panels import At, Look, Query

HISTORY = (
    panels.lines(
        "Share used",
        At(0, 0, 12, 9),
        f"How full were the budgets? Share of the limit that the {LINES} fullest had used; it falls"
        " where a period ends. Lines at 80 % and 100 %.",
        [Query(ask.column("budget:llm_budget_spent:ratio", LINES), "{{budget}}")],
        Look(
            RATIO, 0, minimum=0, nothing="No budget",
            steps=((None, "transparent"), (0.8, colours.WARN), (1, colours.BAD)),
        ),
        limits=True,
        interval="1h",
        placement="right",
        calcs=("max", "lastNotNull"),
        runbooks=("BudgetExceeded", "BudgetWarning"),
    ),
    panels.lines(
        "Budgets with alerts",
        At(12, 0, 12, 9),
        "When was somebody told? How many budgets each alert spoke of.",
        [Query(ask.alerts_over_time(), "{{alertname}}")],
        Look(
            "none", 0, minimum=0, nothing="No alert in this time range",
            lines=colours.by_name(ALERTS),
        ),
        stacked="normal",
        interval="1h",
        placement="right",
        calcs=("max", "lastNotNull"),
        runbooks=("BudgetExceeded", "BudgetWarning", "BudgetCritical"),
    ),
    panels.table(
        "Alerts in this time range",
        At(0, 9, 24, 9),
        "Which budgets did alerts speak of, and for how long? Hours within the time range, and"
        " whether it fires now. The exporter's own history of crossings, with who acknowledged"
        " them, is in the command `costmeter budget history`.",
        [
            Query(ask.hours_fired(), now=True, table=True),
            Query(ask.fires_now(), now=True, table=True),
        ],
        Look(
            "none",
            1,
            nothing=NOT_KNOWN,
            lines={
                "Alert": {"unit": "string"},
                "Severity": {
                    "unit": "string",
                    "custom.cellOptions": {"type": "color-text"},
                    "mappings": [
                        {
                            "type": "value",
                            "options": {
                                "critical": {"text": "critical", "color": "red", "index": 0},
                                "warning": {"text": "warning", "color": "yellow", "index": 1},
                            },
                        }
                    ],
                },
                "Budget": {"unit": "string"},
                "Tenant": {"unit": "string", "mappings": [SEVERAL]},
                "Period": {"unit": "string"},
                "Hours": {"unit": "none", "decimals": 1},
                "Now": {
                    "custom.cellOptions": {"type": "color-text"},
                    "mappings": [
                        {
                            "type": "value",
                            "options": {"1": {"text": "fires", "color": "red", "index": 0}},
                        }
                    ],
                },
            },
        ),
        [
            "alertname as Alert",
            "severity as Severity",
            "budget as Budget",
            "tenant_id as Tenant",
            "period as Period",
            "Value #A as Hours",
            "Value #B as Now",
        ],
        sort="Hours",
        runbooks=("BudgetExceeded", "BudgetCritical", "BudgetBurnFast", "BudgetBurnSlow"),
    ),
)  # fmt: skip

BESIDE = (
    panels.table(
        "Categories against their thresholds",
        At(0, 0, 12, 7),
        "Is a category of cost dearer than somebody expected? This month against the thresholds of"
        " the configuration; of the whole ledger, whatever budgets, tenants, owners are chosen.",
        [
            Query(ask.category_spend(), now=True, table=True),
            Query(ask.category_threshold("warning"), now=True, table=True),
            Query(ask.category_threshold("critical"), now=True, table=True),
            Query(ask.category_share(), now=True, table=True),
        ],
        Look(
            USD,
            2,
            nothing=NOT_KNOWN,
            lines={"Category": {"unit": "string"}, "Of the lowest": meter()},
        ),
        [
            "category as Category",
            "Value #A as This month",
            "Value #B as Warning at",
            "Value #C as Critical at",
            "Value #D as Of the lowest",
        ],
        sort="Of the lowest",
        runbooks=("CategoryCostHigh",),
    ),
    panels.table(
        "Planned spend",
        At(12, 0, 12, 7),
        "What was known beforehand? Of budgets that declare plans: what has begun in this period,"
        " and what is going on now. Burn-rate alerts leave it out. Owner does not narrow it.",
        [
            Query(ask.planned(), now=True, table=True),
            Query(ask.planned_open(), now=True, table=True),
        ],
        Look(
            USD,
            2,
            nothing="No budget plans",
            lines={"Budget": {"unit": "string"}, "Period": {"unit": "string"}},
        ),
        [
            "budget as Budget",
            "period as Period",
            "Value #A as Begun in this period",
            "Value #B as Going on now",
        ],
        sort="Begun in this period",
        runbooks=("BudgetBurnFast",),
    ),
)
