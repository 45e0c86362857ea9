"""Every PromQL expression of the dashboard about GPUs, by name.

These families come from the nodes themselves: one page a node, which may be scraped twice. So
each counter's growth is folded to its own labels first (`max by` of what the family has), and
summed after. What no owner has, such as unallocated time, has empty owner labels: it is there
under All and gone where a tenant or a namespace is chosen.

Rankings of a day read the records of each hour; `DAY` is a day of them.
"""

from __future__ import annotations

from dashboards.queries import DAY, zero
from dashboards.selection import LEDGER

#: What the hardware tells is narrowed by these alone: a GPU has no tenant of its own.
HARDWARE = f'{LEDGER}, node=~"$node", gpu_model=~"$gpu_model"'
#: What belongs to somebody, or to nobody.
OWNED = f'{HARDWARE}, tenant_id=~"$tenant", namespace=~"$namespace"'
ON_NODE = f'{LEDGER}, node=~"$node"'
#: Model servers beside the GPUs know whose they are, not on which GPU model.
SERVED = f'{ON_NODE}, tenant_id=~"$tenant", namespace=~"$namespace"'

_GPU = "job, node, gpu, uuid, gpu_model"
_HELD = f"{_GPU}, namespace, pod, tenant_id"
_OWNER = f"{_GPU}, mig_profile, namespace, pod, container, tenant_id, team"
_SERVED = "job, node, model, engine, namespace, pod, tenant_id"
POD = "job, tenant_id, namespace, pod, node, gpu_model"

#: Hours of an average month.
MONTH_HOURS = 730
#: Reasons for which a GPU does less than it could, and should not have to.
_HELD_BACK = "hw_slowdown|hw_thermal_slowdown|sw_thermal_slowdown|hw_power_brake"

#: Buckets of the histogram, as bands of utilisation: name, from over, up to.
BANDS = (
    ("idle", "", "0.0"),
    ("up to 25 %", "0.0", "0.25"),
    ("25 to 50 %", "0.25", "0.5"),
    ("50 to 75 %", "0.5", "0.75"),
    ("75 to 90 %", "0.75", "0.9"),
    ("over 90 %", "0.9", "1.0"),
)

NODES = f"label_values(gpu_memory_total_bytes{{{LEDGER}}}, node)"
MODELS = f"label_values(gpu_memory_total_bytes{{{LEDGER}}}, gpu_model)"
TENANTS = f"label_values(gpu_owner_used_seconds_total{{{LEDGER}}}, tenant_id)"
NAMESPACES = f"label_values(gpu_owner_used_seconds_total{{{LEDGER}}}, namespace)"


def _grown(metric: str, window: str, labels: str = _OWNER, chosen: str = OWNED) -> str:
    return f"max by ({labels}) (increase({metric}{{{chosen}}}[{window}]))"


def _sum(by: str, inner: str) -> str:
    return f"sum by ({by}) ({inner})"


def _wasted(window: str) -> str:
    """Money for what nobody used, one series an owner: allocated and idle, or allocated to nobody.

    What is unallocated has empty labels, so the two are never the same series.
    """
    idle, free = "gpu_idle_cost_usd_total", "gpu_unallocated_cost_usd_total"
    return f"{_grown(idle, window)} or {_grown(free, window)}"


def _parted(text: str, part: str) -> str:
    return f'label_replace({text}, "kind", "{part}", "", "")'


# Money


def money(part: str, window: str = "1h") -> str:
    """USD of used, idle or unallocated time in a window, or of unobserved time."""
    metric = f"gpu_{part}_cost_usd_total"
    return _sum("job", _grown(metric, window, _GPU if part == "unobserved" else _OWNER))


def cost(window: str, by: str = "job") -> str:
    """USD of all GPU time in a window, unobserved time included."""
    owned = _grown("gpu_cost_usd_total", window)
    lost = _parted(_grown("gpu_unobserved_cost_usd_total", window, _GPU), "unobserved")
    return _sum(by, f"{owned} or {lost}")


def wasted(window: str, by: str = "job") -> str:
    """USD of allocated idle and of unallocated time in a window."""
    return _sum(by, _wasted(window))


def wasted_a_month() -> str:
    """The same of a month, at the pace of the last 24 hours."""
    return f"{MONTH_HOURS} / 24 * {wasted('1d')}"


def idle_by_tenant(count: int) -> str:
    """USD of what tenants had and did not use in a day; the largest."""
    return f"topk({count}, {_sum('job, tenant_id', _idle_cost())})"


def idle_by_pod(count: int) -> str:
    """The same by pod."""
    return f"topk({count}, {_sum(POD, _idle_cost())} > 0)"


def idle_hours_by_pod(count: int) -> str:
    """GPU-hours of it."""
    hours = _sum(POD, _day("owner:gpu_owner_idle_seconds:increase1h"))
    return f"{hours} / 3600 and on ({POD}) {idle_by_pod(count)}"


def used_by_pod(count: int) -> str:
    """Share of its GPU time that each of these pods used."""
    idle = _sum(POD, _day("owner:gpu_owner_idle_seconds:increase1h"))
    used = _sum(POD, _day("owner:gpu_owner_used_seconds:increase1h"))
    return f"{used} / ({used} + {idle}) and on ({POD}) {idle_by_pod(count)}"


def _day(record: str) -> str:
    return f"sum_over_time({record}{{{OWNED}}}{DAY})"


def _idle_cost() -> str:
    return _day("owner:gpu_idle_cost_usd:increase1h")


# Use


def gpus() -> str:
    """GPUs that answer."""
    return f"count by (job) (max by ({_GPU}) (gpu_memory_total_bytes{{{HARDWARE}}}))"


def allocated() -> str:
    """Share of the GPUs that somebody holds now."""
    return f"avg by (job) (max by ({_GPU}) (gpu_allocated_ratio{{{HARDWARE}}}))"


def busy(by: str = "job", window: str = "1h") -> str:
    """Share of time in which a kernel ran, allocated or not."""
    busy_s = _sum(by, _grown("gpu_busy_seconds_total", window, _GPU, HARDWARE))
    idle_s = _sum(by, _grown("gpu_idle_seconds_total", window, _GPU, HARDWARE))
    return f"{busy_s} / ({busy_s} + {idle_s} > 0)"


def used(by: str = "job", window: str = "1h") -> str:
    """Share of the GPU time that owners had in which they used it."""
    used_s = _sum(by, _grown("gpu_owner_used_seconds_total", window))
    idle_s = _sum(by, _grown("gpu_owner_idle_seconds_total", window))
    return f"{used_s} / ({used_s} + {idle_s} > 0)"


def band(over: str, up_to: str) -> str:
    """Share of the samples whose utilisation lay in a band of the histogram."""
    upper = _bucket(up_to)
    inside = f"({upper} - {_bucket(over)})" if over else upper
    return f"{inside} / ({_bucket('+Inf')} > 0)"


def _bucket(le: str) -> str:
    chosen = f'{HARDWARE}, le="{le}"'
    return _sum("job", _grown("gpu_utilization_ratio_bucket", "1h", _GPU, chosen))


def named_nobody(text: str) -> str:
    """With a name for the tenant of what nobody holds."""
    return f'label_replace({text}, "tenant_id", "nobody", "tenant_id", "")'


# Model servers


def cost_per_million(basis: str) -> str:
    """USD for a million tokens by model, of the last hour; servers weigh by their tokens."""
    chosen = f'{SERVED}, cost_basis="{basis}"'
    return _weighed(f"max by ({_SERVED}) (gpu_cost_per_million_tokens{{{chosen}}})")


def joules_per_token() -> str:
    """Joules for a token by model, of the last hour; the same."""
    return _weighed(f"max by ({_SERVED}) (gpu_energy_joules_per_token{{{SERVED}}})")


def requests_per_gpu_hour() -> str:
    """Requests for each hour of a GPU, by model: the mean of its servers."""
    each = f"max by ({_SERVED}) (gpu_requests_per_gpu_hour{{{SERVED}}})"
    return f"avg by (job, model) ({each})"


def _weighed(each: str) -> str:
    labels = f"{_SERVED}, token_class"
    tokens = _sum(_SERVED, _grown("gpu_serving_tokens_total", "1h", labels, SERVED))
    of_model = "sum by (job, model)"
    return f"{of_model} ({each} * {tokens}) / ({of_model} ({tokens} and {each}) > 0)"


# Power


def power() -> str:
    """Watts by node."""
    return _sum("job, node", f"max by ({_HELD}) (gpu_power_watts{{{OWNED}}})")


def energy_cost() -> str:
    """USD of energy an hour, by tenant."""
    return named_nobody(_sum("job, tenant_id", _grown("gpu_energy_cost_usd_total", "1h")))


def co2() -> str:
    """Grams of CO2 equivalent an hour, by tenant."""
    return named_nobody(_sum("job, tenant_id", _grown("gpu_co2_grams_total", "1h")))


# Health


def not_answering() -> str:
    """GPUs that answered before and do not now; 0 where the ledger is known."""
    known = f"max by (job, node, uuid) (gpu_lost_total{{{ON_NODE}}}) > 0"
    answer = f"max by (job, node, uuid) (gpu_memory_total_bytes{{{ON_NODE}}})"
    return f"count by (job) ({known} unless on (job, node, uuid) {answer}) or on (job) {zero()}"


def held_back() -> str:
    """Share of a quarter of an hour in which a reason held the clocks, of each node's worst GPU."""
    chosen = f'{HARDWARE}, reason=~"{_HELD_BACK}"'
    share = f"max by (job, node, reason) (rate(gpu_throttled_seconds_total{{{chosen}}}[15m]))"
    return f'{share} or on (job) label_replace({zero("reason")}, "node", "none", "", "")'


def xids() -> str:
    """Errors that the driver reported in a day, by code; a code's first error counts, too."""
    shown = f"max by ({_GPU}, xid) (gpu_xid_errors_by_code_total{{{HARDWARE}}})"
    before = f"max by ({_GPU}, xid) (gpu_xid_errors_by_code_total{{{HARDWARE}}} offset 1d)"
    grown = _grown("gpu_xid_errors_by_code_total", "1d", f"{_GPU}, xid", HARDWARE)
    each = f"({shown} unless {before}) or {grown}"
    return f"{_sum('job, xid', each)} > 0 or on (job) {zero('xid')}"


def hottest() -> str:
    """Temperature of each node's hottest GPU."""
    return f"max by (job, node) (gpu_temperature_celsius{{{HARDWARE}}})"


def ecc(kind: str) -> str:
    """Errors of the memory in a day: corrected, or uncorrected."""
    metric = f"gpu_ecc_{kind}_volatile_total"
    return _sum("job", _grown(metric, "1d", _GPU, HARDWARE))


def sample_age() -> str:
    """Age of the newest complete sample of each node, seconds."""
    return f"max by (job, node) (gpu_sample_age_seconds{{{ON_NODE}}})"


def spool_age() -> str:
    """Age of what waits longest at each agent, seconds."""
    return f"max by (job, instance) (costmeter_agent_spool_oldest_age_seconds{{{LEDGER}}})"


def spool_fill() -> str:
    """Share of its spool that an agent has filled."""
    waiting = f"max by (job, instance) (costmeter_agent_spool_bytes{{{LEDGER}}})"
    return f"{waiting} / max by (job, instance) (costmeter_agent_spool_limit_bytes{{{LEDGER}}})"


def dropped() -> str:
    """Segments that agents lost in an hour."""
    grown = f"increase(costmeter_agent_segments_dropped_total{{{LEDGER}}}[1h])"
    return f"sum by (job) (max by (job, instance, reason) ({grown}))"
