"""The dashboard "LLM Cost Monitoring": what it costs, who spends it, on what, how well."""

from __future__ import annotations

from typing import Any

from dashboards import budget_panels, house, outlook_panels, queries, spend_panels, usage_panels
from dashboards.selection import ABSENT, ANYTHING, EACH_TENANT

UID = "costmeter-llm-cost"
TITLE = "LLM Cost Monitoring"
ABOUT = (
    "What LLM calls and GPUs cost this month, who spends it on what, how efficiently, and how that"
    " compares with the budgets. Figures are net, in USD; days and months are in UTC."
)


def build() -> dict[str, Any]:
    """The dashboard as JSON data."""
    return house.dashboard(
        UID,
        TITLE,
        ABOUT,
        {
            "At a glance": spend_panels.glance(),
            "Where the month ends": outlook_panels.outlook(),
            "Who spends it, and on what": spend_panels.who_and_what(),
            "How well it is spent": usage_panels.efficiency(),
            "Against the budgets": budget_panels.budgets(),
            "Whether the figures are complete": usage_panels.quality(),
        },
        [
            house.source_variable(),
            house.variable("ledger", "Ledger", queries.LEDGERS),
            house.variable("tenant", "Tenant", queries.values_of("tenant_id"), ABSENT),
            house.variable("model", "Model", queries.values_of("model", EACH_TENANT), ABSENT),
            house.variable(
                "environment", "Environment", queries.values_of("environment"), ANYTHING
            ),
        ],
        [
            house.dashboard_link("Budgets", "costmeter-budgets", "Where each budget stands"),
            house.dashboard_link(
                "Forecast and anomalies",
                "costmeter-forecast-anomalies",
                "Where it is heading, and what was not as expected",
            ),
            house.dashboard_link(
                "Exporter health", "costmeter-exporter-health", "Can these figures be trusted?"
            ),
            house.page_link(
                "Alerts and runbooks", f"{house.REPOSITORY}/docs/alerts.md", "What to do when"
            ),
            house.page_link(
                "Metrics", f"{house.REPOSITORY}/docs/metrics.md", "What the figures mean"
            ),
        ],
        start="now-30d",
        refresh="5m",
    )
