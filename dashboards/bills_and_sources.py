"""The dashboard "Bills and sources": whether meters and invoices agree, and who brings them."""

from __future__ import annotations

from typing import Any

from dashboards import bill_queries as ask
from dashboards import colours, house, panels, queries
from dashboards.panels import At, Look, Query
from dashboards.selection import ANYTHING

UID = "costmeter-bills-and-sources"
TITLE = "Bills and sources"
ABOUT = (
    "Whether what was metered is what providers bill, which days are final, and whether the"
    " sources that bring the bills answer."
)

NONE_IS_GOOD = ((None, colours.GOOD), (1, colours.BAD))
#: The alert BillMismatch stands at 90 and 110 %.
CAPTURE = (
    (None, colours.BAD),
    (0.9, colours.WARN),
    (0.95, colours.GOOD),
    (1.05, colours.WARN),
    (1.1, colours.BAD),
)
BAND = ((None, "transparent"), (0.9, colours.WARN), (1.1, colours.WARN))
_NO_TROUBLE = {"none": {"color": panels.fixed(colours.REST)}}


def _coloured(unit: str, *steps: tuple[float | None, str]) -> dict[str, Any]:
    """A column whose figures are coloured by their size."""
    return {
        "unit": unit,
        "custom.cellOptions": {"type": "color-text"},
        "color": {"mode": "thresholds"},
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": colour} for value, colour in steps],
        },
    }


GLANCE = (
    panels.stat(
        "Billed",
        At(0, 0, 4, 4),
        "What do providers charge? Bills of each scope's newest 30 final days, taxes and credits"
        " included.",
        Query(ask.all_scopes("llm_cost_billed"), "billed", now=True),
        Look("currencyUSD", None, nothing="No final day yet", colour=colours.CALM),
    ),
    panels.stat(
        "Captured by meters",
        At(4, 0, 4, 4),
        "Is everything metered, at the right price? What was metered on these days, over what was"
        " billed, where somebody meters. Below 100 % there are calls that nobody meters, above it"
        " prices are too high. The alert stands at 90 and 110 %.",
        Query(ask.captured(), "captured", now=True),
        Look("percentunit", 1, nothing="No final day yet", steps=CAPTURE),
        runbooks=("BillMismatch",),
    ),
    panels.stat(
        "Without an owner",
        At(8, 0, 4, 4),
        "How much of the bills does no tenant bear? Share of the newest 30 final days of each"
        " scope.",
        Query(ask.without_owner(), "without an owner", now=True),
        Look(
            "percentunit",
            1,
            nothing="No final day yet",
            steps=((None, colours.GOOD), (0.1, colours.WARN), (0.25, colours.BAD)),
        ),
    ),
    panels.stat(
        "Lost or counted twice",
        At(12, 0, 4, 4),
        "Does it add up? What tenants and nobody bear, minus the bills, over all final days. It is"
        " 0 to the billionth of a dollar, or there is an error in costmeter.",
        Query(ask.conservation(), "difference", now=True),
        Look(
            "currencyUSD",
            2,
            nothing="No final day yet",
            steps=((None, colours.GOOD), (1e-9, colours.BAD)),
        ),
    ),
    panels.stat(
        "Lines without a rate",
        At(16, 0, 4, 4),
        "Is a currency missing? Lines of bills that have no rate of exchange; they are in no"
        " figure.",
        Query(ask.unconverted(), "lines", now=True),
        Look("short", 0, nothing="Not known", steps=NONE_IS_GOOD),
        runbooks=("UnconvertedCurrency",),
    ),
    panels.stat(
        "Sources that fail",
        At(20, 0, 4, 4),
        "Does a provider stay silent? Sources whose last poll failed.",
        Query(ask.silent_sources(), "sources", now=True),
        Look("short", 0, nothing="Not known", steps=NONE_IS_GOOD),
        runbooks=("SourceStale", "PollingBudgetSpent"),
    ),
)

AGREEMENT = (
    panels.table(
        "Metered and billed by day",
        At(0, 0, 12, 16),
        "On which days do meters and bills part? The newest 14 days of each scope that have a"
        " bill, final or not. A scope that nobody meters shows its bill alone.",
        [
            Query(ask.of_day("metered"), now=True, table=True),
            Query(ask.of_day("billed"), now=True, table=True),
            Query(ask.captured_of_day(), now=True, table=True),
        ],
        Look(
            "currencyUSD",
            2,
            nothing="No bill has come yet",
            lines={
                "Day": {"unit": "string"},
                "Scope": {"unit": "string"},
                "Metered": {"noValue": "not metered"},
                "Captured": {
                    **_coloured("percentunit", *CAPTURE),
                    "decimals": 1,
                    "noValue": "-",
                },
            },
        ),
        [
            "day as Day",
            "scope as Scope",
            "Value #A as Metered",
            "Value #B as Billed",
            "Value #C as Captured",
        ],
        sort="Day",
        runbooks=("BillMismatch",),
    ),
    panels.lines(
        "Captured by meters, by scope",
        At(12, 0, 12, 8),
        "Do meters and bills drift apart? Metered over billed usage of the newest 30 final days,"
        " as it was known at each time.",
        [Query(ask.of_scope("llm_cost_capture_ratio"), "{{scope}}")],
        Look("percentunit", 1, nothing="No final day in this time range", steps=BAND),
        limits=True,
        placement="right",
        runbooks=("BillMismatch",),
    ),
    panels.lines(
        "Without an owner, by scope",
        At(12, 8, 12, 8),
        "Whose bill does nobody bear? The share of the newest 30 final days without a tenant.",
        [Query(ask.of_scope("llm_cost_unattributed_ratio"), "{{scope}}")],
        Look("percentunit", 1, minimum=0, nothing="No final day in this time range"),
        at_least=0.1,
        placement="right",
    ),
)

COMPARED = (
    panels.table(
        "Feeds that are only compared",
        At(0, 0, 24, 6),
        "Do a gateway, an SDK and a provider's own report tell of the same calls? Yesterday's calls"
        " and tokens of each observed feed over what its scope booked, and how many of its records"
        " are booked under the same identity: those would count twice without the scope.",
        [
            Query(ask.observed("calls"), now=True, table=True),
            Query(ask.observed("tokens"), now=True, table=True),
            Query(ask.observed("overlap"), now=True, table=True),
        ],
        Look(
            "percentunit",
            1,
            nothing="No feed is only compared",
            lines={"Scope": {"unit": "string"}, "Feed": {"unit": "string"}},
        ),
        [
            "scope as Scope",
            "feed as Feed",
            "Value #A as Calls",
            "Value #B as Tokens",
            "Value #C as Same records",
        ],
        sort="Tokens",
    ),
)

BILLS = (
    panels.lines(
        "Days until a bill is final",
        At(0, 0, 8, 8),
        "How old is the newest day that will not change any more? Days between now and the end of"
        " each scope's final days.",
        [Query(ask.days_behind(), "{{scope}}")],
        Look("d", 1, minimum=0, nothing="No final day in this time range"),
    ),
    panels.lines(
        "Restated in a day",
        At(8, 0, 8, 8),
        "Do providers change what they published? USD by which lines of bills were raised or"
        " lowered within a day.",
        [
            Query(ask.restated("up"), "{{scope}}, up"),
            Query(ask.restated("down"), "{{scope}}, down"),
        ],
        Look("currencyUSD", 2, minimum=0, nothing="Nothing was restated"),
        at_least=1,
        calcs=("max", "lastNotNull"),
    ),
    panels.lines(
        "Lines of bills",
        At(16, 0, 8, 8),
        "What comes? Lines of bills read in an hour: new ones, the same again, restated,"
        " converted once a rate was there, or older than what stands.",
        [Query(ask.lines_by_outcome(), "{{outcome}}")],
        Look("short", 0, minimum=0, nothing="No line in this time range"),
        calcs=("max", "lastNotNull"),
    ),
)

SOURCES = (
    panels.table(
        "Sources",
        At(0, 0, 24, 8),
        "Who answers, and how fresh is what they say? How long ago the last poll that worked"
        " began, the age of the newest hour or day with data, how often it is asked, and the calls"
        " and their cost of a day.",
        [
            Query(ask.of_source("costmeter_source_up"), now=True, table=True),
            Query(
                ask.since("costmeter_source_last_success_timestamp_seconds"), now=True, table=True
            ),
            Query(
                ask.since("costmeter_source_newest_data_timestamp_seconds"), now=True, table=True
            ),
            Query(ask.of_source("costmeter_source_poll_interval_seconds"), now=True, table=True),
            Query(ask.in_a_day("costmeter_source_api_calls_total"), now=True, table=True),
            Query(ask.in_a_day("costmeter_source_api_cost_usd_total"), now=True, table=True),
        ],
        Look(
            "s",
            0,
            nothing="No source is configured",
            lines={
                "Source": {"unit": "string"},
                "State": {
                    **_coloured("none", (None, colours.BAD), (1, colours.GOOD)),
                    "mappings": [
                        {
                            "type": "value",
                            "options": {
                                "1": {"text": "answers", "index": 0},
                                "0": {"text": "fails", "index": 1},
                            },
                        }
                    ],
                },
                "Last answer": {"unit": "dtdurations", "decimals": 0},
                "Newest data": {"unit": "dtdurations", "decimals": 0},
                "Asked every": {"unit": "dtdurations", "decimals": 0},
                "Calls in a day": {"unit": "short", "decimals": 0},
                "Cost in a day": {"unit": "currencyUSD", "decimals": 2},
            },
        ),
        [
            "source as Source",
            "Value #A as State",
            "Value #B as Last answer",
            "Value #C as Newest data",
            "Value #D as Asked every",
            "Value #E as Calls in a day",
            "Value #F as Cost in a day",
        ],
        sort="Last answer",
        runbooks=("SourceStale",),
    ),
    panels.lines(
        "Age of the newest data",
        At(0, 8, 8, 7),
        "How far behind is each source? Between now and the start of the newest hour or day that"
        " it reported.",
        [Query(ask.since("costmeter_source_newest_data_timestamp_seconds"), "{{source}}")],
        Look("s", 1, minimum=0, nothing="No source has answered"),
        calcs=("max", "lastNotNull"),
        runbooks=("SourceStale", "CostDataStale"),
    ),
    panels.lines(
        "Polls that failed in an hour",
        At(8, 8, 8, 7),
        "Why does a source fail? By source and reason; the log says it in full.",
        [Query(ask.errors_by_reason(), "{{source}} {{reason}}")],
        Look("short", 0, minimum=0, nothing="Not known", lines=_NO_TROUBLE),
        at_least=1,
        calcs=("max",),
        runbooks=("SourceStale", "PollingBudgetSpent"),
    ),
    panels.lines(
        "Share of today's calls",
        At(16, 8, 8, 7),
        "Will the calls of today be enough? The larger share of `calls_per_day` and `usd_per_day`"
        " that is used; it begins anew at midnight UTC.",
        [Query(ask.of_source("costmeter_source_call_budget_used_ratio"), "{{source}}")],
        Look("percentunit", 0, minimum=0, nothing="No source has a limit"),
        at_least=1,
        calcs=("max", "lastNotNull"),
        runbooks=("PollingBudgetSpent",),
    ),
    panels.lines(
        "What polling costs",
        At(0, 15, 12, 7),
        "What do the questions themselves cost? USD within a day, by source.",
        [Query(ask.in_a_day("costmeter_source_api_cost_usd_total"), "{{source}}")],
        Look("currencyUSD", 2, minimum=0, nothing="No source has been asked"),
        at_least=0.1,
        calcs=("max", "lastNotNull"),
    ),
    panels.lines(
        "Time of a poll",
        At(12, 15, 12, 7),
        "Does a provider become slow? How long the last poll of each source took.",
        [Query(ask.of_source("costmeter_source_poll_duration_seconds"), "{{source}}")],
        Look("s", 1, minimum=0, nothing="No source has been asked"),
        calcs=("mean", "max"),
    ),
)


def build() -> dict[str, Any]:
    """The dashboard as JSON data."""
    return house.dashboard(
        UID,
        TITLE,
        ABOUT,
        {
            "At a glance": GLANCE,
            "Bills against meters": AGREEMENT,
            "How bills come in": BILLS,
            "Observed beside booked": COMPARED,
            "Who brings them": SOURCES,
        },
        [
            house.source_variable(),
            house.variable("ledger", "Ledger", queries.LEDGERS),
            house.variable("scope", "Scope", ask.SCOPES, ANYTHING),
            house.variable("source", "Source", ask.SOURCES, ANYTHING),
        ],
        [
            house.dashboard_link(
                "LLM Cost Monitoring", "costmeter-llm-cost", "What it costs, and who spends it"
            ),
            house.page_link(
                "Settlement", f"{house.REPOSITORY}/docs/settlement.md", "How a bill is divided"
            ),
            house.page_link(
                "Sources", f"{house.REPOSITORY}/docs/sources/index.md", "What each source yields"
            ),
        ],
        start="now-30d",
        refresh="5m",
    )
