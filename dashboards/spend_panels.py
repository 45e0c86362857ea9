"""Panels of "LLM Cost Monitoring" about the money: how much, who spends it, on what."""

from __future__ import annotations

from dashboards import budget_queries, colours, panels, queries
from dashboards.panels import At, Look, Panel, Query

USD = "currencyUSD"
RATIO = "percentunit"

MODELS, TENANTS = 8, 10

#: Said wherever a figure does not know all that the variables choose.
ONLY_TENANTS = "Budgets know their tenant only: `model` and `environment` do not narrow them."


def glance() -> tuple[Panel, ...]:
    """The figures at the top."""
    return (
        panels.stat(
            "Month to date",
            At(0, 0, 5, 6),
            "What has this month cost so far? Exact net spend of the chosen tenants, models and"
            " environments since the first of the month. Yellow from 10,000 USD, red from 50,000.",
            Query(queries.month_to_date(), "spend", now=True),
            Look(
                USD,
                2,
                nothing="No spend this month",
                steps=((None, colours.GOOD), (10_000, colours.WARN), (50_000, colours.BAD)),
            ),
            size=48,
            runbooks=("CostSpike", "UnexpectedTenantCost", "CategoryCostHigh"),
        ),
        panels.gauge(
            "Cost vs budget",
            At(5, 0, 5, 6),
            "How much of the budget is used? The budget over the whole ledger; with tenants chosen,"
            " or where there is none, the fullest budget of those chosen. Yellow from 80 %, red"
            f" from 100 %. {ONLY_TENANTS}",
            Query(budget_queries.used(), "budget", now=True),
            Look(
                RATIO,
                1,
                minimum=0,
                maximum=1.5,
                nothing="No budget",
                steps=((None, colours.GOOD), (0.8, colours.WARN), (1, colours.BAD)),
            ),
            runbooks=("BudgetExceeded", "BudgetWarning"),
        ),
        panels.stat(
            "Month forecast",
            At(10, 0, 5, 6),
            "Where does the month end at the pace of the last 7 days? Spend so far, plus the mean"
            " of the last 7 days for the time left. Under All it is the exporter's own projection,"
            " which alerts read, if there is a budget over the whole ledger.",
            Query(queries.month_forecast(), "forecast", now=True),
            Look(
                USD,
                2,
                nothing="No spend this month",
                steps=((None, colours.GOOD), (10_000, colours.WARN), (50_000, colours.BAD)),
            ),
            size=48,
            runbooks=("ForecastOverBudget",),
        ),
        panels.stat(
            "Today",
            At(15, 0, 3, 3),
            "What has today cost so far? Exact net spend since midnight.",
            Query(queries.today(), "today", now=True),
            Look(USD, 2, nothing="None yet", colour=colours.CALM),
        ),
        panels.stat(
            "Last month",
            At(15, 3, 3, 3),
            "What did the last calendar month cost? It is kept by tenant, not by model or"
            " environment, so it is shown for all models and environments only.",
            Query(queries.last_month(), "last month", now=True),
            Look(USD, 2, nothing="Not known", colour=colours.CALM),
        ),
        panels.stat(
            "Cost per request",
            At(18, 0, 3, 3),
            "What does a call to an LLM provider cost? API spend of the last 24 hours over the"
            " calls of providers that bill for them. Red from 0.10 USD, where the alert stands.",
            Query(queries.cost_per_call_today(), "a call", now=True),
            Look(USD, 4, nothing="No calls", steps=((None, colours.CALM), (0.1, colours.BAD))),
            runbooks=("HighCostPerRequest",),
        ),
        panels.stat(
            "Alerts firing",
            At(18, 3, 3, 3),
            "Does an alert of costmeter fire now? Those of the chosen tenants and those that"
            " concern everybody; an alert has no model or environment.",
            Query(queries.alerts_firing(), "firing", now=True),
            Look(
                "none",
                0,
                nothing="Not known",
                steps=((None, colours.GOOD), (1, colours.BAD)),
            ),
            runbooks=("CostmeterDown", "SnapshotStale"),
        ),
        panels.stat(
            "Unpriced calls",
            At(21, 0, 3, 3),
            "Is spend missing because a price is not known? Calls without a price now, of the"
            " chosen models, of every tenant and environment. They cost nothing until a price is"
            " there.",
            Query(queries.unpriced_now(), "calls", now=True),
            Look("short", 0, nothing="Not known", steps=((None, colours.GOOD), (1, colours.BAD))),
            runbooks=("UnpricedUsage",),
        ),
        panels.stat(
            "Without an owner",
            At(21, 3, 3, 3),
            "How much of this month's spend belongs to no tenant? The share booked as"
            " `unattributed`.",
            Query(queries.share_of("unattributed"), "unattributed", now=True),
            Look(
                RATIO,
                1,
                nothing="No spend",
                steps=((None, colours.GOOD), (0.1, colours.WARN), (0.3, colours.BAD)),
            ),
        ),
    )


def who_and_what() -> tuple[Panel, ...]:
    """Spend by day, model and tenant, and what changed."""
    return (
        panels.lines(
            "Daily cost by category",
            At(0, 0, 15, 9),
            "How does spend develop, and which kind of cost drives it? Net spend of each day (UTC);"
            " the last column is today so far. It comes from counters: what was booked late stands"
            " on the days on which it was released.",
            [Query(queries.daily_by_category(), "{{category}}")],
            Look(
                USD,
                None,
                minimum=0,
                nothing="No spend in this time range",
                lines=colours.by_name(colours.CATEGORIES),
            ),
            stacked="normal",
            bars=True,
            alignment=1,
            interval="1d",
            calcs=("sum", "mean", "max"),
            runbooks=("CostSpike",),
        ),
        panels.pie(
            "Cost by model",
            At(15, 0, 9, 9),
            f"Which models does the money go to? Net spend this month of the {MODELS} dearest"
            " models and of all others together. A GPU's model is the card.",
            [
                Query(queries.top_models(MODELS), "{{provider}} / {{model}}", now=True),
                Query(queries.other_models(MODELS), "all other models", now=True),
            ],
            Look(
                USD,
                2,
                nothing="No spend this month",
                lines=colours.by_provider() | colours.by_name({"all other models": colours.REST}),
            ),
        ),
        panels.bars(
            "Top tenants",
            At(0, 9, 10, 10),
            f"Who spends the most? Net spend this month of the {TENANTS} dearest tenants; grey is"
            " what belongs to no single one: tenants past the limit of series (`_other`) and usage"
            " without an owner (`unattributed`).",
            [
                Query(queries.top_tenants(TENANTS), "{{tenant_id}}", now=True),
                Query(queries.spend_of("_other"), "all other tenants", now=True),
                Query(queries.spend_or_none("unattributed"), "unattributed", now=True),
            ],
            Look(
                USD,
                2,
                minimum=0,
                nothing="No spend this month",
                lines=colours.by_name(
                    {"all other tenants": colours.REST, "unattributed": colours.REST}
                ),
            ),
            runbooks=("UnexpectedTenantCost", "SeriesOverflow"),
        ),
        panels.table(
            "Top movers",
            At(10, 9, 14, 10),
            "What changed? Where the last 24 hours differ most from the same hours a week ago: the"
            " six largest rises and the four largest falls. A week ago, so that weekends are"
            " compared with weekends.",
            [
                Query(queries.movers(6, 4), now=True, table=True),
                Query(queries.movers_now(6, 4), now=True, table=True),
            ],
            Look(
                USD,
                2,
                nothing="Nothing changed, or no data a week ago",
                lines={
                    "Tenant": {"unit": "string"},
                    "Provider": {"unit": "string", "custom.width": 120},
                    "Model": {"unit": "string", "noValue": "-"},
                    "Last 24 hours": {"custom.width": 130},
                    "Change": {
                        "custom.width": 130,
                        "custom.cellOptions": {"type": "color-text"},
                        "color": {"mode": "thresholds"},
                        "thresholds": {
                            "mode": "absolute",
                            "steps": [
                                {"value": None, "color": colours.GOOD},
                                {"value": 0, "color": "orange"},
                            ],
                        },
                    },
                },
            ),
            [
                "tenant_id as Tenant",
                "provider as Provider",
                "model as Model",
                "Value #B as Last 24 hours",
                "Value #A as Change",
            ],
            sort="Change",
            runbooks=("UnexpectedTenantCost",),
        ),
    )
