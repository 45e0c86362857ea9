"""Every metric family, once: the public contract that docs/metrics.md is generated from.

A family's `key` is its name. `scale` says what the integers behind it are: `nano`
(nano-USD, exported as USD), `count` (exported as it is), `milli` (milliseconds,
exported as seconds), or `float` for what is no ledger figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge"]
Scale = Literal["nano", "count", "milli", "float"]
Source = Literal["ledger", "gpu", "self"]


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    scale: Scale = "count"
    source: Source = "ledger"


#: Labels of spend; `extra_labels` of the ledger (team, feature) are appended to them.
COST_LABELS = ("category", "provider", "model", "tenant_id", "environment")
PERIOD_LABELS = ("category", "provider", "tenant_id")
CALL_LABELS = ("provider", "model", "tenant_id", "environment")
BUDGET_LABELS = ("budget", "period", "tenant_id")
GPU_LABELS = ("node", "gpu", "uuid", "gpu_model")

#: Families whose labels grow with the ledger's `extra_labels`.
EXTENSIBLE = frozenset(
    {
        "llm_cost_total",
        "llm_cost_credit_total",
        "llm_cost_month_to_date",
        "llm_cost_day_to_date",
    }
)

_LEDGER = (
    Family(
        "llm_cost_total",
        "counter",
        COST_LABELS,
        "Spend in USD: every upward posting. Net spend is this minus llm_cost_credit_total.",
        "nano",
    ),
    Family(
        "llm_cost_credit_total",
        "counter",
        COST_LABELS,
        "Credits in USD: every downward posting (corrections, credits, refunds).",
        "nano",
    ),
    Family(
        "llm_cost_month_to_date",
        "gauge",
        COST_LABELS,
        "Exact net spend in USD of this calendar month, in the reporting time zone.",
        "nano",
    ),
    Family(
        "llm_cost_day_to_date",
        "gauge",
        COST_LABELS,
        "Exact net spend in USD of today, in the reporting time zone.",
        "nano",
    ),
    Family(
        "llm_cost_quarter_to_date",
        "gauge",
        PERIOD_LABELS,
        "Exact net spend in USD of this calendar quarter, in the reporting time zone.",
        "nano",
    ),
    Family(
        "llm_cost_year_to_date",
        "gauge",
        PERIOD_LABELS,
        "Exact net spend in USD of this calendar year, in the reporting time zone.",
        "nano",
    ),
    Family(
        "llm_cost_last_month",
        "gauge",
        PERIOD_LABELS,
        "Exact net spend in USD of the last calendar month, in the reporting time zone.",
        "nano",
    ),
    Family(
        "llm_requests_total",
        "counter",
        (*CALL_LABELS, "status"),
        "LLM calls booked, by status (ok, error, aborted).",
    ),
    Family(
        "llm_tokens_total",
        "counter",
        (*CALL_LABELS, "token_class"),
        "Tokens booked; the classes are disjoint.",
    ),
    Family(
        "llm_unpriced_requests_total",
        "counter",
        ("provider", "model"),
        "LLM calls that arrived without a known price. They are priced when one appears.",
    ),
    Family(
        "llm_budget_monthly",
        "gauge",
        (),
        "The organization-wide monthly budget in USD.",
        "nano",
    ),
    Family("llm_budget_limit", "gauge", BUDGET_LABELS, "The budget's limit in USD.", "nano"),
    Family(
        "llm_budget_spent",
        "gauge",
        BUDGET_LABELS,
        "Exact net spend in USD against the budget in its current period.",
        "nano",
    ),
    Family(
        "llm_budget_forecast",
        "gauge",
        BUDGET_LABELS,
        "Projected spend in USD at the end of the budget's current period.",
        "nano",
    ),
    Family(
        "llm_budget_exhaustion_timestamp_seconds",
        "gauge",
        BUDGET_LABELS,
        "When the budget is used up at the present rate; absent when not within its period.",
        "milli",
    ),
    Family(
        "llm_budget_warning_ratio",
        "gauge",
        BUDGET_LABELS,
        "The share of the limit at which the budget warns (0.8 is 80 %).",
        "milli",
    ),
    Family(
        "llm_budget_critical_ratio",
        "gauge",
        BUDGET_LABELS,
        "The share of the limit at which the budget turns critical.",
        "milli",
    ),
    Family(
        "llm_budget_cost_total",
        "counter",
        BUDGET_LABELS,
        "The budget's spend in USD as a counter, for burn rates.",
        "nano",
    ),
)

_GPU = (
    Family(
        "gpu_utilization_percent",
        "gauge",
        GPU_LABELS,
        "Share of the last sampling second in which a kernel ran, in percent.",
        "float",
        "gpu",
    ),
    Family(
        "gpu_memory_utilization_percent",
        "gauge",
        GPU_LABELS,
        "Share of time in which device memory was read or written, in percent.",
        "float",
        "gpu",
    ),
    Family(
        "gpu_instance_count", "gauge", ("node", "gpu_model"), "GPUs that answer.", "float", "gpu"
    ),
    Family("gpu_memory_used_bytes", "gauge", GPU_LABELS, "Device memory in use.", "float", "gpu"),
    Family("gpu_memory_total_bytes", "gauge", GPU_LABELS, "Device memory.", "float", "gpu"),
    Family("gpu_power_watts", "gauge", GPU_LABELS, "Power draw.", "float", "gpu"),
    Family(
        "gpu_energy_joules_total",
        "counter",
        GPU_LABELS,
        "Energy used since the sampler first saw the GPU.",
        "float",
        "gpu",
    ),
    Family("gpu_temperature_celsius", "gauge", GPU_LABELS, "Core temperature.", "float", "gpu"),
    Family(
        "gpu_busy_seconds_total",
        "counter",
        GPU_LABELS,
        "Seconds of kernel time, integrated from every sample.",
        "float",
        "gpu",
    ),
    Family(
        "gpu_idle_seconds_total",
        "counter",
        GPU_LABELS,
        "Seconds without a kernel, integrated from every sample.",
        "float",
        "gpu",
    ),
    Family(
        "gpu_lost_total",
        "counter",
        ("node", "uuid"),
        "Times that a GPU stopped answering.",
        "float",
        "gpu",
    ),
    Family(
        "gpu_sample_age_seconds",
        "gauge",
        ("node",),
        "Age of the newest complete sample.",
        "float",
        "gpu",
    ),
)


def _own(name: str, kind: Kind, labels: tuple[str, ...], text: str) -> Family:
    return Family(name, kind, labels, text, "float", "self")


_SELF = (
    _own("costmeter_build_info", "gauge", ("version", "python"), "Always 1; what is running."),
    _own("costmeter_ledger_up", "gauge", (), "1 while the ledger takes writes, else 0."),
    _own("costmeter_ledger_epoch", "gauge", (), "Rises by one when a backup is restored."),
    _own("costmeter_ledger_size_bytes", "gauge", (), "Size of the ledger's files."),
    _own("costmeter_ledger_free_bytes", "gauge", (), "Free space beside the ledger."),
    _own("costmeter_ledger_commits_total", "counter", (), "Committed write transactions."),
    _own("costmeter_ledger_commit_seconds_total", "counter", (), "Time spent in them."),
    _own(
        "costmeter_ledger_write_failures_total",
        "counter",
        ("reason",),
        "Write transactions that failed (disk_full, read_only, corrupt, clock, other).",
    ),
    _own("costmeter_snapshot_age_seconds", "gauge", (), "Age of the state that is exported."),
    _own("costmeter_clock_step_seconds", "gauge", (), "How far the wall clock has jumped."),
    _own("costmeter_events_accepted_total", "counter", ("feed",), "Events booked."),
    _own("costmeter_events_duplicate_total", "counter", ("feed",), "Events booked before."),
    _own(
        "costmeter_events_observed_total",
        "counter",
        ("feed", "scope"),
        "Events compared but not booked, because another feed books their scope.",
    ),
    _own("costmeter_events_rejected_total", "counter", ("feed", "reason"), "Events refused."),
    _own("costmeter_events_corrected_total", "counter", ("feed",), "Corrections of booked events."),
    _own("costmeter_ingest_queue_events", "gauge", (), "Events waiting for a commit."),
    _own("costmeter_ingest_throttled_total", "counter", (), "Bodies answered with 429."),
    _own(
        "costmeter_gpu_excess_seconds_total",
        "counter",
        ("uuid",),
        "GPU-seconds over 3600 an hour, set aside and not booked.",
    ),
    _own(
        "costmeter_unpriced_requests", "gauge", ("provider", "model"), "Calls without a price now."
    ),
    _own("costmeter_series", "gauge", ("family",), "Series exported."),
    _own(
        "costmeter_series_overflow_total",
        "counter",
        ("label",),
        "New label values that went to _other.",
    ),
    _own("costmeter_prices_age_seconds", "gauge", (), "Age of the price catalogue."),
    _own("costmeter_job_last_success_timestamp_seconds", "gauge", ("job_name",), "Last success."),
    _own("costmeter_job_duration_seconds", "gauge", ("job_name",), "Duration of the last run."),
    _own("costmeter_job_failures_total", "counter", ("job_name",), "Runs that failed."),
    _own("costmeter_config_reload_success", "gauge", (), "1 if the last reload worked, else 0."),
    _own(
        "costmeter_config_reload_success_timestamp_seconds",
        "gauge",
        (),
        "When the running configuration was read.",
    ),
    _own("costmeter_scrape_seconds", "gauge", (), "Time the last rendering took."),
    _own(
        "costmeter_collector_failures_total",
        "counter",
        ("part",),
        "Scrapes from which a family or a collector is missing because it failed.",
    ),
)

FAMILIES: tuple[Family, ...] = _LEDGER + _GPU + _SELF
CATALOG: Mapping[str, Family] = {family.name: family for family in FAMILIES}


def labels_of(name: str, extra_labels: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Label names of a family in the order in which values are kept."""
    family = CATALOG[name]
    return family.labels + (extra_labels if name in EXTENSIBLE else ())
