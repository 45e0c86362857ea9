"""Panels of "Forecast and anomalies" about days, levels and prices that were not as expected."""

from __future__ import annotations

from typing import Any

from dashboards import colours, panels
from dashboards import forecast_queries as ask
from dashboards.outlook_panels import AS_LINES
from dashboards.panels import At, Look, Query
from dashboards.spend_panels import USD

ROWS = 20
_WIDE = ("lower", "mean", "upper")

ANOMALIES = (
    panels.table(
        "Anomalies that are open",
        At(0, 0, 14, 9),
        f"What is not as expected, and nobody has acknowledged? The {ROWS} largest of every"
        " dimension, whatever is chosen. The same money may be in several: of a tenant, its team"
        " and its model. `costmeter anomalies` explains each.",
        [
            Query(ask.anomaly("llm_cost_anomaly_usd", ROWS), now=True, table=True),
            Query(ask.anomaly("llm_cost_anomaly_score", ROWS), now=True, table=True),
        ],
        Look(
            USD,
            2,
            nothing="Everything is as expected",
            lines={
                "Dimension": {"unit": "string", "custom.width": 110},
                "Value": {"unit": "string"},
                "Kind": {"unit": "string", "custom.width": 110},
                "Direction": {
                    "unit": "string",
                    "custom.width": 100,
                    "custom.cellOptions": {"type": "color-text"},
                    "mappings": [
                        {
                            "type": "value",
                            "options": {
                                "up": {"text": "up", "color": "red", "index": 0},
                                "down": {"text": "down", "color": "green", "index": 1},
                            },
                        }
                    ],
                },
                "Size": {"custom.width": 120},
                "Score": {"unit": "none", "decimals": 1, "custom.width": 90},
            },
        ),
        [
            "dimension as Dimension",
            "value as Value",
            "kind as Kind",
            "direction as Direction",
            "Value #A as Size",
            "Value #B as Score",
        ],
        sort="Size",
        runbooks=("CostAnomaly",),
    ),
    panels.lines(
        "Open anomalies by kind",
        At(14, 0, 10, 9),
        "Since when is something not as expected? How many anomalies of all dimensions were open:"
        " single hours or days, levels that moved, slow drifts.",
        [Query(ask.anomalies_over_time(), "{{kind}}, {{direction}}")],
        Look("none", 0, minimum=0, nothing="None in this time range"),
        stacked="normal",
        interval="1h",
        placement="right",
        calcs=("max", "lastNotNull"),
        runbooks=("CostAnomaly",),
    ),
    panels.table(
        "Prices that cannot be right",
        At(0, 9, 14, 5),
        "Was a call booked at an absurd price? Calls whose cost is far from what their tokens cost"
        " anywhere, by model, until they are corrected or acknowledged. Nothing narrows it.",
        [
            Query(ask.implausible("llm_implausible_price_usd"), now=True, table=True),
            Query(ask.implausible("llm_implausible_price_calls"), now=True, table=True),
        ],
        Look(
            USD,
            2,
            nothing="All prices are plausible",
            lines={
                "Provider": {"unit": "string"},
                "Model": {"unit": "string"},
                "Calls": {"unit": "none", "decimals": 0},
            },
        ),
        [
            "provider as Provider",
            "model as Model",
            "Value #A as Booked",
            "Value #B as Calls",
        ],
        sort="Booked",
        runbooks=("ImplausiblePrice",),
    ),
    panels.stat(
        "Booked at absurd prices",
        At(14, 9, 5, 5),
        "How much money is in calls whose price cannot be right? Of the whole ledger.",
        Query(ask.implausible_usd(), "absurd", now=True),
        Look(USD, 2, nothing="Not known", steps=((None, colours.GOOD), (0.01, colours.BAD))),
        runbooks=("ImplausiblePrice",),
    ),
    panels.stat(
        "Alerts of spend firing",
        At(19, 9, 5, 5),
        "Does an alert on spend itself fire now? Anomalies, implausible prices, spikes, and"
        " projections over a budget, of the whole ledger.",
        Query(ask.firing(), "firing", now=True),
        Look("none", 0, nothing="Not known", steps=((None, colours.GOOD), (1, colours.BAD))),
        size=48,
        runbooks=("CostSpike", "UnexpectedTenantCost", "ForecastOverBudget"),
    ),
)

_BAND: dict[str, Any] = {
    "to": {
        "color": panels.fixed("semi-dark-green"),
        "custom.lineWidth": 0,
        "custom.fillBelowTo": "from",
        "custom.fillOpacity": 25,
    },
    "expected": {"color": panels.fixed("semi-dark-green")},
    "from": {"color": panels.fixed("semi-dark-green"), "custom.lineWidth": 0},
    "actual": AS_LINES["spent"],
}
DAYS = (
    panels.lines(
        "A final day, expected and actual",
        At(0, 0, 12, 10),
        "Was the newest final day out of line? What it cost the chosen scope, and between which"
        " bounds it was to be expected; a new one comes every day, days later where bills do.",
        [
            Query(ask.expected("upper"), "to"),
            Query(ask.expected("mean"), "expected"),
            Query(ask.expected("lower"), "from"),
            Query(ask.actual(), "actual"),
        ],
        Look(USD, minimum=0, nothing="Not looked at yet", lines=_BAND),
        interval="1h",
        calcs=(),
        runbooks=("CostAnomaly",),
    ),
    panels.table(
        "The newest final day",
        At(12, 0, 12, 10),
        f"Who was off? The {ROWS} values of the chosen dimension whose newest final day differs"
        " most from what was to be expected. Value does not narrow it.",
        [
            Query(ask.difference(ROWS), now=True, table=True),
            Query(ask.of_different("llm_cost_actual", ROWS), now=True, table=True),
            *(
                Query(
                    ask.of_different("llm_cost_expected", ROWS, f', bound="{bound}"'),
                    now=True,
                    table=True,
                )
                for bound in _WIDE
            ),
        ],
        Look(
            USD,
            2,
            nothing="Not looked at yet",
            lines={
                "Value": {"unit": "string"},
                **{
                    name: {"custom.width": 100}
                    for name in ("Actual", "Expected", "From", "To", "Difference")
                },
            },
        ),
        [
            "value as Value",
            "Value #B as Actual",
            "Value #D as Expected",
            "Value #C as From",
            "Value #E as To",
            "Value #A as Difference",
        ],
        sort="Difference",
        runbooks=("CostAnomaly",),
    ),
)
