"""Where spend is heading: how a forecast's band is drawn, and "LLM Cost Monitoring"'s panels."""

from __future__ import annotations

from typing import Any

from dashboards import budget_queries, colours, forecast_queries, panels, queries
from dashboards.panels import At, Look, Panel, Query
from dashboards.spend_panels import ONLY_TENANTS, USD

_FORECAST = "semi-dark-orange"

#: A forecast's bounds and what they are called on a panel, each end of an interval with its other.
BAND = (
    ("upper95", "95 % to"),
    ("upper80", "80 % to"),
    ("mean", "forecast"),
    ("lower80", "80 % from"),
    ("lower95", "95 % from"),
)


def _upper(interval: str, opacity: int) -> dict[str, Any]:
    return {
        "color": panels.fixed(_FORECAST),
        "custom.lineWidth": 0,
        "custom.fillBelowTo": f"{interval} from",
        "custom.fillOpacity": opacity,
    }


_LOWER = {"color": panels.fixed(_FORECAST), "custom.lineWidth": 0}
_SPENT = {"color": panels.fixed(colours.MONEY), "custom.lineWidth": 3}

#: How the band and what was spent are drawn, the latter as a line or as columns.
AS_LINES: dict[str, Any] = {
    "95 % to": _upper("95 %", 15),
    "80 % to": _upper("80 %", 25),
    "forecast": {"color": panels.fixed(_FORECAST)},
    "80 % from": _LOWER,
    "95 % from": _LOWER,
    "spent": _SPENT,
}
AS_COLUMNS: dict[str, Any] = {
    **AS_LINES,
    "spent": {
        "color": panels.fixed(colours.MONEY),
        "custom.drawStyle": "bars",
        "custom.lineWidth": 0,
        "custom.fillOpacity": 60,
    },
}


def outlook() -> tuple[Panel, ...]:
    """Where the month ends, and how fast the budget is used."""
    return (
        panels.lines(
            "Month to date, and where it ends",
            At(0, 0, 16, 9),
            "Where does the month end, and does that figure hold still? Exact spend of the month so"
            " far, and on each day the forecast of the whole month with its 80 and 95 % intervals."
            " Of several tenants the ends of the intervals are added up, which makes them wide."
            " There is none of a model or an environment.",
            [
                *(
                    Query(forecast_queries.month_end_of_tenants(bound), name)
                    for bound, name in BAND
                ),
                Query(queries.month_to_date(), "spent"),
            ],
            Look(USD, minimum=0, nothing="No spend this month", lines=AS_LINES),
            interval="1h",
            calcs=(),
            runbooks=("ForecastOverBudget",),
        ),
        panels.bars(
            "Burn rate",
            At(16, 0, 8, 9),
            "How fast is the budget used? Spend of the last hour, 6 hours, day and 3 days over what"
            " an even pace takes in that time, of the ledger's budget or of the fullest one of the"
            f" chosen tenants. At 1 it lasts exactly its period. {ONLY_TENANTS}",
            [
                Query(budget_queries.burn_rate(window), window, now=True)
                for window in budget_queries.WINDOWS
            ],
            Look(
                "suffix: x",
                2,
                minimum=0,
                nothing="No budget",
                steps=((None, colours.GOOD), (1, colours.WARN), (2, colours.BAD)),
            ),
            runbooks=("BudgetBurnFast", "BudgetBurnSlow"),
        ),
    )
