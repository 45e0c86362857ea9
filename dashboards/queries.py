"""Every PromQL expression of the dashboard about spend, by name.

All of them read the recorded series of `alert_rules/`, in which the replicas of a ledger are
folded into one and counters never fall. One Prometheus job is one ledger, and `$ledger` is one
job, so an aggregation that keeps `job` never adds two ledgers up. `dashboards/selection.py` says
how the variables choose among them.

`[86399s:1h]` is a day of hourly values. A range of a whole day would hold 25 of them where it
begins and ends on the hour, because older Prometheus versions count both ends.

A selection that a metric has no label for is an empty label: it matches under All alone. What
can only be told for everything is therefore shown for everything or not at all.
"""

from __future__ import annotations

from dashboards.selection import (
    CALLS_HOUR,
    CHOSEN,
    EACH_MODEL,
    EACH_TENANT,
    ENVIRONMENT,
    LEDGER,
    MODEL,
    MONTH,
    NET_HOUR,
    TENANT_OR_NONE,
    TODAY,
    TOKENS_HOUR,
    Figure,
    total,
)

#: Not tenants: everyone past the limit of series, and usage that nobody owns.
NO_TENANT = "_other|unattributed"

DAY = "[86399s:1h]"
_API = 'category="llm_api"'

#: Hours from the moment of evaluation to the end of the month, in UTC.
HOURS_LEFT = "scalar(24 * (days_in_month() - day_of_month() + 1) - hour() - minute() / 60)"


def zero(labels: str = "") -> str:
    """0 for the ledger, where it is known: the difference between "none" and "not known"."""
    nothing = f"0 * max by (job) (costmeter_ledger_up{{{LEDGER}}})"
    return f'label_replace({nothing}, "{labels}", "none", "", "")' if labels else nothing


# At a glance


def month_to_date() -> str:
    """Net spend of this calendar month, USD."""
    return total(MONTH, "job")


def today() -> str:
    """Net spend of today, USD."""
    return total(TODAY, "job")


def last_month() -> str:
    """Net spend of the last calendar month, USD; known by tenant, not by model."""
    chosen = f"{LEDGER}, {EACH_TENANT}, {MODEL}, {ENVIRONMENT}"
    return f"sum by (job) (series:llm_cost_last_month:max{{{chosen}}})"


def month_forecast() -> str:
    """Spend at the end of the month, USD: so far, plus the mean of the last 7 days x time left.

    Under All it is the exporter's own projection, the one that alerts read, where there is a
    budget over the whole ledger.
    """
    exporters = f'budget:llm_budget_forecast:max{{{CHOSEN}, budget="organization"}}'
    hourly = f"avg_over_time({total(NET_HOUR, 'job')}[7d:1h])"
    return (
        f"max by (job) ({exporters})\nor\n{month_to_date()} + {HOURS_LEFT} * clamp_min({hourly}, 0)"
    )


def cost_per_call_today() -> str:
    """API spend over API calls of the last 24 hours, USD a call."""
    spend = _of_day(NET_HOUR, "job, provider", _API)
    calls = f"({_of_day(CALLS_HOUR, 'job, provider')} > 0)"
    return f"sum by (job) ({spend} and {calls}) / sum by (job) ({calls} and {spend})"


def _of_day(figure: Figure, by: str, also: str = "", offset: str = "") -> str:
    """The last 24 whole hours."""
    return f"sum_over_time({total(figure, by, also)}{DAY}{offset})"


def alerts_firing() -> str:
    """Alerts of this ledger that fire now. One without a tenant concerns everybody."""
    firing = f'ALERTS{{{LEDGER}, {TENANT_OR_NONE}, alertstate="firing"}}'
    return f"count by (job) ({firing}) or {zero()}"


def unpriced_now() -> str:
    """Calls that have no price now, all together."""
    return (
        f"sum by (job) (max by (job, provider, model) "
        f"(costmeter_unpriced_requests{{{LEDGER}, {EACH_MODEL}}})) or {zero()}"
    )


def unpriced_everywhere() -> str:
    """Calls of the ledger that have no price now, whatever is chosen."""
    return (
        f"sum by (job) (max by (job, provider, model) "
        f"(costmeter_unpriced_requests{{{LEDGER}}})) or {zero()}"
    )


# Who and what


def daily_by_category() -> str:
    """Net spend of each day (UTC) by category, USD; one point a day, at its beginning."""
    return _of_day(NET_HOUR, "job, category", offset=" offset -1d")


def top_models(count: int) -> str:
    """The dearest models of this month, USD."""
    return f"topk({count}, {total(MONTH, 'job, provider, model')} > 0)"


def other_models(count: int) -> str:
    """What the models below the dearest cost this month together, USD."""
    every = f"sum by (job) ({total(MONTH, 'job, provider, model')} > 0)"
    return f"{every} - sum by (job) ({top_models(count)}) > 0.005"


def top_tenants(count: int) -> str:
    """The dearest tenants of this month, USD."""
    owned = total(MONTH, "job, tenant_id", f'tenant_id!~"{NO_TENANT}"')
    return f"sort_desc(topk({count}, {owned}))"


def spend_of(tenant_id: str) -> str:
    """This month's spend under one value of tenant_id, USD."""
    named = total(MONTH, "job, tenant_id", f'tenant_id="{tenant_id}"')
    return f"sum by (job) ({named})"


def spend_or_none(tenant_id: str) -> str:
    """The same, and 0 where nothing of the month's spend is under that value, USD."""
    return f"{spend_of(tenant_id)} or 0 * {month_to_date()}"


_MOVERS = "job, tenant_id, provider, model"


def _moved(record: str) -> str:
    each = f"{LEDGER}, {EACH_TENANT}, {EACH_MODEL}, {ENVIRONMENT}"
    return f"sum by ({_MOVERS}) (series:llm_net_cost:{record}{{{each}}})"


def movers(up: int, down: int) -> str:
    """Where the last 24 hours differ most from the same hours a week ago, USD."""
    change = _moved("change24h")
    return f"topk({up}, {change} > 0.005)\nor\nbottomk({down}, {change} < -0.005)"


def movers_now(up: int, down: int) -> str:
    """What those cost in the last 24 hours, USD."""
    return f"{_moved('sum24h')} and on ({_MOVERS}) ({movers(up, down)})"


# Efficiency


def _hourly(figure: Figure, by: str, also: str = "") -> str:
    """The mean hour of each step."""
    return f"avg_over_time({total(figure, by, also)}[$__interval:1h])"


def cost_per_call() -> str:
    """API spend over calls by provider, USD a call; only who has both is shown."""
    labels = "job, provider"
    return f"{_hourly(NET_HOUR, labels, _API)} / ({_hourly(CALLS_HOUR, labels)} > 0)"


def token_mix() -> str:
    """Tokens an hour by class."""
    return _hourly(TOKENS_HOUR, "job, token_class")


def cache_share() -> str:
    """Share of prompt tokens that a cache served, by provider (ratio)."""
    served = _hourly(TOKENS_HOUR, "job, provider", 'token_class="cache_read"')
    prompt = _hourly(TOKENS_HOUR, "job, provider", 'token_class=~"input|cache_.*"')
    return f"{served} / ({prompt} > 0)"


def cache_savings() -> str:
    """USD an hour that cache reads saved at the list prices in force, by provider.

    Tokens read from a cache times what they would have cost more as plain input.
    """
    labels = "job, provider, model"
    served = _hourly(TOKENS_HOUR, labels, 'token_class="cache_read"')
    prices = [
        f"max by ({labels}) (model:llm_price_usd_per_million_tokens:max"
        f'{{{LEDGER}, {EACH_MODEL}, token_class="{name}"}})'
        for name in ("input", "cache_read")
    ]
    return f"sum by (job, provider) ({served} / 1e6 * on ({labels}) ({' - '.join(prices)}))"


def cost_per_million_tokens(count: int) -> str:
    """API spend of the last 24 hours over all tokens, USD a million, the dearest models."""
    labels = "job, provider, model"
    spend = _of_day(NET_HOUR, labels, _API)
    tokens = f"({_of_day(TOKENS_HOUR, labels)} > 0)"
    return f"sort_desc(topk({count}, 1e6 * {spend} / {tokens}))"


def gpu_utilization() -> str:
    """Average utilisation of the GPUs that answer, percent; GPUs have no tenant or model."""
    return f"avg_over_time(job:gpu_utilization_percent:avg{{{LEDGER}}}[$__interval])"


def calls_per_gpu_hour() -> str:
    """Chosen calls for each hour of a GPU that answers."""
    answering = f"avg_over_time(gpu_instance_count{{{LEDGER}}}[$__interval])"
    gpus = f"max by (job, node, gpu_model) ({answering})"
    return f"{_hourly(CALLS_HOUR, 'job')} / (sum by (job) ({gpus}) > 0)"


# Quality of the data


def share_of(tenant_id: str) -> str:
    """Share of this month's spend under one value of tenant_id (ratio)."""
    return f"({spend_or_none(tenant_id)}) / ({month_to_date()} > 0)"


def shares_of_no_tenant() -> str:
    """Share of this month's spend that has no tenant's name, by what it has instead (ratio)."""
    nobody = total(MONTH, "job, tenant_id", f'tenant_id=~"{NO_TENANT}"')
    return (
        f"({nobody} / on (job) group_left () ({month_to_date()} > 0))"
        f" or on (job) {zero('tenant_id')}"
    )


def unpriced_by_model(count: int) -> str:
    """Calls without a price, by model."""
    return (
        f"topk({count}, max by (job, provider, model) "
        f"(costmeter_unpriced_requests{{{LEDGER}, {EACH_MODEL}}}) > 0)"
    )


def failed_calls() -> str:
    """Share of calls that did not end well, by status (ratio)."""
    failed = _hourly(CALLS_HOUR, "job, status", 'status!="ok"')
    every = f"({_hourly(CALLS_HOUR, 'job')} > 0)"
    return f"{failed} / on (job) group_left () {every}"


# Variables


def values_of(label: str, *chosen: str) -> str:
    """The values that a variable offers: what had spend or calls."""
    names = '__name__=~"series:llm_(cost_month_to_date:max|requests_total:clamped)"'
    return f"label_values({{{', '.join([names, LEDGER, *chosen])}}}, {label})"


LEDGERS = "label_values(costmeter_ledger_up, job)"
