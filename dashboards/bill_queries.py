"""Every PromQL expression of the dashboard about bills and sources, by name.

Only the process that writes the ledger asks sources, and every process shows the same figures of
bills, so the highest of them is taken. Counters of trouble have no series before the first
trouble: where the ledger is known, nothing is then shown as 0.
"""

from __future__ import annotations

from dashboards.queries import zero
from dashboards.selection import LEDGER

#: What figures of a scope are narrowed by, and those of a source.
SCOPE = f'{LEDGER}, scope=~"$scope"'
SOURCE = f'{LEDGER}, source=~"$source"'

SCOPES = f"label_values(llm_cost_billed{{{LEDGER}}}, scope)"
SOURCES = f"label_values(costmeter_source_poll_interval_seconds{{{LEDGER}}}, source)"


def of_scope(metric: str) -> str:
    """A figure of each chosen scope."""
    return f"max by (job, scope) ({metric}{{{SCOPE}}})"


def of_source(metric: str) -> str:
    """A figure of each chosen source."""
    return f"max by (job, source) ({metric}{{{SOURCE}}})"


def all_scopes(metric: str) -> str:
    """The sum over the chosen scopes."""
    return f"sum by (job) ({of_scope(metric)})"


def captured() -> str:
    """Metered over billed of the scopes that somebody meters (ratio)."""
    # A scope that only has a bill has no capture ratio.
    metered = of_scope("llm_cost_capture_ratio")
    return (
        f"sum by (job) ({of_scope('llm_cost_metered')} and on (job, scope) {metered})"
        f" / (sum by (job) ({of_scope('llm_cost_billed')} and on (job, scope) {metered}) > 0)"
    )


def without_owner() -> str:
    """Share of the bills that no tenant bears (ratio)."""
    return f"{all_scopes('llm_cost_unattributed')} / ({all_scopes('llm_cost_billed')} > 0)"


def conservation() -> str:
    """What tenants and nobody bear, minus the bills, in USD, regardless of its sign: 0."""
    return f"sum by (job) (abs({of_scope('llm_cost_conservation')}))"


def unconverted() -> str:
    """Lines without a rate of exchange."""
    lines = f"max by (job, scope, currency) (llm_cost_unconverted_lines{{{SCOPE}}})"
    return f"sum by (job) ({lines}) or {zero()}"


def silent_sources() -> str:
    """Sources whose last poll failed."""
    return f"count by (job) ({of_source('costmeter_source_up')} == 0) or {zero()}"


def of_day(side: str) -> str:
    """A side of each of the newest days with a bill, USD."""
    return f'max by (job, scope, day) (llm_cost_of_day{{{SCOPE}, side="{side}"}})'


def captured_of_day() -> str:
    """Metered over billed of each of these days (ratio)."""
    return f"{of_day('metered')} / ({of_day('billed')} > 0)"


def days_behind() -> str:
    """Days between now and the newest final day."""
    return f"(time() - {of_scope('llm_cost_final_until_timestamp_seconds')}) / 86400"


def restated(direction: str) -> str:
    """USD by which lines of bills were restated in the last day, by scope."""
    moved = f'costmeter_bill_restated_usd_total{{{SCOPE}, direction="{direction}"}}'
    return f"sum by (job, scope) (increase({moved}[1d])) > 0"


def lines_by_outcome() -> str:
    """Lines of bills that came in an hour, by what became of them."""
    return f"sum by (job, outcome) (increase(costmeter_bill_lines_total{{{SCOPE}}}[1h]))"


def since(metric: str) -> str:
    """Time since a source's instant, seconds."""
    return f"time() - {of_source(metric)}"


def observed(figure: str) -> str:
    """A ratio of each feed that is only compared."""
    return f"max by (job, scope, feed) (llm_observed_{figure}_ratio{{{SCOPE}}})"


def errors_by_reason() -> str:
    """Polls that failed within an hour; 0 under "none" where there are none."""
    failed = f"increase(costmeter_source_errors_total{{{SOURCE}}}[1h])"
    return f"sum by (job, source, reason) ({failed}) > 0 or on (job) {zero('reason')}"


def in_a_day(metric: str) -> str:
    """Growth of a source's counter in a day."""
    return f"sum by (job, source) (increase({metric}{{{SOURCE}}}[1d]))"


def provider_forecast() -> str:
    """What a provider itself expects to bill, USD, with the ends of its interval."""
    return f"max by (job, source, bound) (llm_provider_forecast_cost{{{SOURCE}}})"
