"""Every PromQL expression about forecasts and anomalies, by name.

A forecast is of a scope: a dimension (`tenant_id`, `model`, ..., or `ledger` for everything) and a
value of it. They are gauges that every process of a ledger shows alike, so the highest is taken.
A day's forecast is made in its first hours; `_of_day` puts it at that day's beginning.

What a scope spent is found by its dimension as a label: `$dimension="$value"`. With
dimension `ledger` that is a label that no series has, and its empty value matches them all.
"""

from __future__ import annotations

from dashboards.queries import DAY, zero
from dashboards.selection import ENVIRONMENT, LEDGER, MODEL

DIMENSION = f'{LEDGER}, dimension="$dimension"'
SCOPE = f'{DIMENSION}, value="$value"'
#: The ledger's own forecast under All, else those of the chosen tenants: the one has an empty
#: value, the others have theirs. There is none of a model or an environment within a tenant.
TENANTS = f'{LEDGER}, {MODEL}, {ENVIRONMENT}, dimension=~"ledger|tenant_id", value=~"$tenant"'

DIMENSIONS = f"label_values(llm_forecast_cost{{{LEDGER}}}, dimension)"
VALUES = f"label_values(llm_forecast_cost{{{DIMENSION}}}, value)"

#: Alerts that speak of spend and not of a budget's limit.
ALERTS = "CostAnomaly|ImplausiblePrice|CostSpike|UnexpectedTenantCost|ForecastOverBudget"

_EACH = "job, dimension, value"
_ANOMALY = f"{_EACH}, kind, direction"


# The chosen scope


def ahead(horizon: str, bound: str) -> str:
    """The forecast of a horizon, USD."""
    return f'max by (job) (llm_forecast_cost{{{SCOPE}, horizon="{horizon}", bound="{bound}"}})'


def ahead_by_horizon(bound: str) -> str:
    """Every horizon's forecast, USD."""
    return f'max by (job, horizon) (llm_forecast_cost{{{SCOPE}, bound="{bound}"}})'


def figure(metric: str, also: str = "") -> str:
    """A figure of the scope."""
    return f"max by (job) ({metric}{{{SCOPE}{also}}})"


def error(horizon: str) -> str:
    """How far the forecasts of the last 30 days were from what came (ratio)."""
    return figure("llm_forecast_error_ratio", f', horizon="{horizon}"')


def made_ms() -> str:
    """When the newest forecasts were made, Unix time in milliseconds."""
    return f"1000 * max by (job) (llm_forecast_made_timestamp_seconds{{{LEDGER}}})"


def spent_to_date() -> str:
    """The scope's spend of the month, USD."""
    return _spent(
        "rollup:llm_cost_month_to_date:sum",
        "series:llm_cost_month_to_date:max",
        'budget:llm_budget_spent:max{period="month", ',
    )


def spent_each_day() -> str:
    """The scope's net spend of each day (UTC), USD; one point a day, at its beginning."""
    hour = _spent(
        "rollup:llm_net_cost:increase1h",
        "series:llm_net_cost:increase1h",
        "budget:llm_budget_cost:increase1h{",
    )
    return f"sum_over_time(({hour}){DAY} offset -1d)"


def _spent(rollup: str, series: str, budget: str) -> str:
    """From the smallest series that know the dimension: the next are asked where none does.

    Each but the first is empty unless it is its turn, so that no query reads every tenant. The
    fourth is for teams and features, whose names are no category's, provider's or model's.
    """
    of = f'{LEDGER}, $dimension="$value"'
    told = f'{of}, $dimension!=""'
    none_of = 'category!="$value", provider!="$value", model!="$value"'
    asked = (
        f'{rollup}{{{of}, tenant_id="", model=""}}',
        f'{rollup}{{{told}, tenant_id="$value", model=""}}',
        f'{rollup}{{{told}, tenant_id="", model="$value"}}',
        f"{series}{{{told}, {none_of}}}",
        f'{budget}{told}, budget="$value"}}',
    )
    return "\nor\n".join(f"sum by (job) ({one})" for one in asked)


def day_ahead(bound: str) -> str:
    """The forecast of each day that was made on its morning, USD."""
    return _of_day(f'llm_forecast_cost{{{SCOPE}, horizon="1d", bound="{bound}"}}')


def expected(bound: str) -> str:
    """What was to be expected of the newest final day, USD."""
    return figure("llm_cost_expected", f', bound="{bound}"')


def actual() -> str:
    """What the newest final day cost, USD."""
    return figure("llm_cost_actual")


def _of_day(selector: str) -> str:
    return f"max by (job) (last_over_time({selector}[1d] offset -1d))"


# Every scope of the dimension


def dearest(count: int) -> str:
    """The scopes with the dearest 30 days to come, USD."""
    return _named(_dearest(count))


def of_dearest(metric: str, count: int, also: str = "") -> str:
    """A figure of their forecasts."""
    one = f"max by ({_EACH}) ({metric}{{{DIMENSION}{also}}})"
    return _named(f"{one} and on ({_EACH}) {_dearest(count)}")


def _dearest(count: int) -> str:
    cost = f'llm_forecast_cost{{{DIMENSION}, horizon="30d", bound="mean"}}'
    return f"topk({count}, max by ({_EACH}) ({cost}))"


def difference(count: int) -> str:
    """Actual less expected cost of the newest final day, USD; the largest either way."""
    return _named(f"{_difference()} and on ({_EACH}) {_most_different(count)}")


def of_different(metric: str, count: int, also: str = "") -> str:
    """A figure of the days that differ most."""
    one = f"max by ({_EACH}) ({metric}{{{DIMENSION}{also}}})"
    return _named(f"{one} and on ({_EACH}) {_most_different(count)}")


def _most_different(count: int) -> str:
    return f"topk({count}, abs({_difference()}))"


def _difference() -> str:
    actual_cost = f"max by ({_EACH}) (llm_cost_actual{{{DIMENSION}}})"
    wanted = f'max by ({_EACH}) (llm_cost_expected{{{DIMENSION}, bound="mean"}})'
    return f"({actual_cost} - {wanted})"


def _named(text: str) -> str:
    """With a name for the value of the whole ledger, so that a table has the column."""
    return f'label_replace({text}, "value", "everything", "value", "")'


# Anomalies, of every dimension


def open_anomalies() -> str:
    """How many are open and not acknowledged."""
    return f"count by (job) ({_anomaly('llm_cost_anomaly_usd')}) or {zero()}"


def anomaly(metric: str, count: int) -> str:
    """A figure of the largest open anomalies."""
    largest = f"topk({count}, abs({_anomaly('llm_cost_anomaly_usd')}))"
    return _named(f"{_anomaly(metric)} and on ({_ANOMALY}) {largest}")


def anomalies_over_time() -> str:
    """How many are open, by kind and direction."""
    return f"count by (job, kind, direction) ({_anomaly('llm_cost_anomaly_usd')})"


def _anomaly(metric: str) -> str:
    return f"max by ({_ANOMALY}) ({metric}{{{LEDGER}}})"


def implausible(metric: str) -> str:
    """Calls at an absurd price, by model: how many, or for how much."""
    return f"max by (job, provider, model) ({metric}{{{LEDGER}}})"


def implausible_usd() -> str:
    return f"sum by (job) ({implausible('llm_implausible_price_usd')}) or {zero()}"


def firing() -> str:
    """Alerts on spend itself that fire now."""
    alerts = f'ALERTS{{{LEDGER}, alertstate="firing", alertname=~"{ALERTS}"}}'
    return f"count by (job) ({alerts}) or {zero()}"


# The spend dashboard: its tenants in place of a scope


def month_end_of_tenants(bound: str) -> str:
    """Where the month ends, USD. Ends of several tenants' intervals are added up, which is wide."""
    cost = f'llm_forecast_cost{{{TENANTS}, horizon="month_end", bound="{bound}"}}'
    return f"sum by (job) (max by ({_EACH}) ({cost}))"
