"""The dashboard "Forecast and anomalies": where spend is heading, how good that figure is, and
what did not go as expected."""

from __future__ import annotations

from typing import Any

from dashboards import colours, house, panels, queries
from dashboards import forecast_queries as ask
from dashboards.anomaly_panels import ANOMALIES, DAYS
from dashboards.outlook_panels import AS_COLUMNS, AS_LINES, BAND
from dashboards.panels import At, Look, Panel, Query
from dashboards.spend_panels import RATIO, USD

UID = "costmeter-forecast-anomalies"
TITLE = "Forecast and anomalies"
ABOUT = (
    "Where the spend of everything, a tenant, a model, a team or a budget is heading, with"
    " intervals; how far such forecasts were from what came; and which days, prices and levels"
    " were not as expected. Days and months are in UTC."
)
SCOPES = 25
_NONE = "No forecast yet"
#: Errors of forecasts and trends, as people judge them.
ERROR = ((None, colours.GOOD), (0.1, colours.WARN), (0.25, colours.BAD))
#: The share that should lie within a 95 % interval.
COVERAGE = ((None, colours.BAD), (0.85, colours.WARN), (0.92, colours.GOOD))
_HORIZONS = {
    "type": "value",
    "options": {
        key: {"text": text, "index": place}
        for place, (key, text) in enumerate(
            (
                ("1d", "1 day"),
                ("7d", "7 days"),
                ("14d", "14 days"),
                ("30d", "30 days"),
                ("90d", "90 days"),
                ("month_end", "this whole month"),
            )
        )
    },
}


def _column(unit: str, steps: tuple[tuple[float | None, str], ...], width: int) -> dict[str, Any]:
    return {
        "unit": unit,
        "decimals": 1,
        "custom.cellOptions": {"type": "color-text"},
        "custom.width": width,
        "color": {"mode": "thresholds"},
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": colour} for value, colour in steps],
        },
    }


def _stat(title: str, x: int, about: str, expression: str, look: Look, *runbooks: str) -> Panel:
    return panels.stat(
        title, At(x, 0, 3, 4), about, Query(expression, title.lower(), now=True), look,
        size=24, runbooks=runbooks,
    )  # fmt: skip


GLANCE = (
    _stat(
        "Month ends at",
        0,
        "Where does this month end for the chosen scope? The middle of its forecast.",
        ask.ahead("month_end", "mean"),
        Look(USD, 2, nothing=_NONE, colour=colours.MONEY),
        "ForecastOverBudget",
    ),
    _stat(
        "At least (80 %)",
        3,
        "Where does the month end if it goes well? The lower end of the 80 % interval.",
        ask.ahead("month_end", "lower80"),
        Look(USD, 2, nothing=_NONE, colour=colours.CALM),
    ),
    _stat(
        "At most (80 %)",
        6,
        "Where does the month end if it does not go well? The upper end of the 80 % interval.",
        ask.ahead("month_end", "upper80"),
        Look(USD, 2, nothing=_NONE, colour=colours.CALM),
    ),
    _stat(
        "Trend a week",
        9,
        "Does the daily level rise or fall? Its change in a week, of the chosen scope.",
        ask.figure("llm_forecast_trend_ratio"),
        Look(RATIO, 1, nothing="Not known", colour=colours.CALM),
    ),
    _stat(
        "Off by, in 7 days",
        12,
        "How far were forecasts of 7 days from what came? Of the last 30 days; of the chosen scope."
        " Not known in the first week.",
        ask.error("7d"),
        Look(RATIO, 1, nothing="Not known yet", steps=ERROR),
    ),
    _stat(
        "Within 95 %",
        15,
        "How many days lay within their 95 % interval? Of the last 30 days; of the chosen scope."
        " Near 95 % the intervals are honest.",
        ask.figure("llm_forecast_interval_coverage"),
        Look(RATIO, 0, nothing="Not known yet", steps=COVERAGE),
    ),
    _stat(
        "Open anomalies",
        18,
        "What is not as expected, and not acknowledged? Of every dimension, whatever is chosen.",
        ask.open_anomalies(),
        Look("none", 0, nothing="Not known", steps=((None, colours.GOOD), (1, colours.BAD))),
        "CostAnomaly",
    ),
    _stat(
        "Forecasts made",
        21,
        "How old are the forecasts? When the newest ones were made; it happens every night.",
        ask.made_ms(),
        Look("dateTimeFromNow", nothing="None yet", colour=colours.CALM),
    ),
)

AHEAD = (
    panels.lines(
        "Month to date, and its forecast",
        At(0, 0, 14, 10),
        "Where does the month end, and does that figure hold still? Exact spend of the month so"
        " far, and on each day the forecast of the whole month with its 80 and 95 % intervals,"
        " which close as the month goes by.",
        [
            *(Query(ask.ahead("month_end", bound), name) for bound, name in BAND),
            Query(ask.spent_to_date(), "spent"),
        ],
        Look(USD, minimum=0, nothing=_NONE, lines=AS_LINES),
        interval="1h",
        calcs=(),
        runbooks=("ForecastOverBudget",),
    ),
    panels.table(
        "Sums to come",
        At(14, 0, 10, 10),
        "What will it cost? Sums of the next days and of this whole month, of the chosen scope,"
        " with the ends of their 80 and 95 % intervals.",
        [
            Query(ask.ahead_by_horizon(bound), now=True, table=True)
            for bound in ("mean", "lower80", "upper80", "lower95", "upper95")
        ],
        Look(
            USD,
            2,
            nothing=_NONE,
            lines={
                "Sum of": {"unit": "string", "mappings": [_HORIZONS]},
                **{
                    name: {"custom.width": 94}
                    for name in ("Middle", "80 % from", "80 % to", "95 % from", "95 % to")
                },
            },
        ),
        [
            "horizon as Sum of",
            "Value #A as Middle",
            "Value #B as 80 % from",
            "Value #C as 80 % to",
            "Value #D as 95 % from",
            "Value #E as 95 % to",
        ],
        sort="Middle",
        runbooks=("ForecastOverBudget",),
    ),
    panels.lines(
        "Each day, and its forecast of that morning",
        At(0, 10, 24, 9),
        "Do days come as they were forecast? Net spend of each day (UTC) and the forecast that was"
        " made on its morning, with intervals. The last column is today, so far.",
        [
            *(Query(ask.day_ahead(bound), name) for bound, name in BAND),
            Query(ask.spent_each_day(), "spent"),
        ],
        Look(USD, minimum=0, nothing=_NONE, lines=AS_COLUMNS),
        interval="1d",
        calcs=(),
        runbooks=("CostSpike",),
    ),
)

GOOD = (
    panels.lines(
        "Error of the forecasts",
        At(0, 0, 9, 9),
        "How far off are forecasts? Error of the last 30 days over what came, for a day and for"
        " 7 days, and what the same method makes on the past of the chosen scope.",
        [
            Query(ask.error("1d"), "of a day"),
            Query(ask.error("7d"), "of 7 days"),
            Query(
                ask.figure("llm_forecast_backtest_error_ratio"), "of 7 days, tried on the past"
            ),
            Query(ask.figure("llm_forecast_interval_coverage"), "days within 95 %"),
        ],
        Look(
            RATIO, 1, minimum=0, nothing="Not known yet",
            lines={
                "of a day": {"color": panels.fixed("semi-dark-blue")},
                "of 7 days": {"color": panels.fixed("semi-dark-orange")},
                "of 7 days, tried on the past": {
                    "color": panels.fixed(colours.REST),
                    "custom.lineStyle": {"fill": "dash", "dash": [8, 8]},
                },
                "days within 95 %": {
                    "color": panels.fixed("semi-dark-green"),
                    "custom.axisPlacement": "right",
                    "custom.axisLabel": "days within 95 %",
                    "max": 1,
                },
            },
        ),
        interval="1h",
        calcs=(),
    ),
    panels.table(
        "Forecasts of this dimension",
        At(9, 0, 15, 9),
        f"Who is heading where? The {SCOPES} values of the chosen dimension with the dearest 30"
        " days to come, their trend, and how good their forecasts are. Value does not narrow it.",
        [
            Query(ask.dearest(SCOPES), now=True, table=True),
            *(
                Query(ask.of_dearest(metric, SCOPES, also), now=True, table=True)
                for metric, also in (
                    ("llm_forecast_cost", ', horizon="month_end", bound="mean"'),
                    ("llm_forecast_trend_ratio", ""),
                    ("llm_forecast_error_ratio", ', horizon="7d"'),
                    ("llm_forecast_backtest_error_ratio", ""),
                    ("llm_forecast_interval_coverage", ""),
                )
            ),
        ],
        Look(
            USD,
            2,
            nothing="-",
            lines={
                "Value": {"unit": "string"},
                "Next 30 days": {"custom.width": 125},
                "This month": {"custom.width": 110},
                "Trend a week": {"unit": RATIO, "decimals": 1, "custom.width": 110},
                "Off by": _column(RATIO, ERROR, 90),
                "On the past": _column(RATIO, ERROR, 100),
                "Within 95 %": _column(RATIO, COVERAGE, 100),
            },
        ),
        [
            "value as Value",
            "Value #A as Next 30 days",
            "Value #B as This month",
            "Value #C as Trend a week",
            "Value #D as Off by",
            "Value #E as On the past",
            "Value #F as Within 95 %",
        ],
        sort="Next 30 days",
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
            "What is to come": AHEAD,
            "How good the forecasts are": GOOD,
            "What was not as expected": ANOMALIES,
            "Final days, as expected and as they came": DAYS,
        },
        [
            house.source_variable(),
            house.variable("ledger", "Ledger", queries.LEDGERS),
            house.variable("dimension", "Dimension", ask.DIMENSIONS, first="ledger"),
            house.variable("value", "Value", ask.VALUES),
        ],
        [
            house.dashboard_link("Budgets", "costmeter-budgets", "What may be spent"),
            house.dashboard_link(
                "LLM Cost Monitoring", "costmeter-llm-cost", "Who spends it, and on what"
            ),
            house.page_link(
                "Anomalies", f"{house.REPOSITORY}/docs/anomalies.md", "What is found, and how"
            ),
        ],
        start="now-30d",
        refresh="5m",
    )
