"""Every metric family, once: the public contract that docs/metrics.md is generated from.

A family's `key` is its name. `scale` says what the integers behind it are: `nano`
(nano-USD, exported as USD), `count` (exported as it is), `milli` (milliseconds,
exported as seconds), or `float` for what is no ledger figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Scale = Literal["nano", "count", "milli", "float"]
Source = Literal["ledger", "gpu", "self", "agent"]


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
#: What a forecast or a finding is about: team and search, or ledger and an empty value.
SCOPE_LABELS = ("dimension", "value")
ANOMALY_LABELS = (*SCOPE_LABELS, "kind", "direction")
GPU_LABELS = ("node", "gpu", "uuid", "gpu_model")
SERVED_LABELS = ("provider", "model", "tenant_id", "environment")
SERVING_LABELS = ("node", "model", "engine", "namespace", "pod", "tenant_id")
MIG_LABELS = (*GPU_LABELS, "mig_instance", "mig_profile")
#: With the one who holds the whole GPU; empty for nobody, and for several.
HELD_LABELS = (*GPU_LABELS, "namespace", "pod", "tenant_id")
OWNER_LABELS = (*GPU_LABELS, "mig_profile", "namespace", "pod", "container", "tenant_id", "team")
#: The owner's particulars, for joins.
INFO_LABELS = (
    "node", "uuid", "mig_profile", "namespace", "pod", "container", "workload", "tenant_id",
    "team", "environment", "project", "feature", "purpose", "serves",
)  # fmt: skip

#: Families whose labels grow with the ledger's `extra_labels`.
EXTENSIBLE = frozenset(
    {
        "llm_cost_total",
        "llm_cost_credit_total",
        "llm_cost_month_to_date",
        "llm_cost_day_to_date",
        "llm_cost_saved_by_contract_month_to_date",
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
        "llm_cost_saved_by_contract_month_to_date",
        "gauge",
        COST_LABELS,
        "List cost minus contracted cost in USD of what was metered this calendar month.",
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
        "llm_price_usd_per_million_tokens",
        "gauge",
        ("provider", "model", "token_class"),
        "List price in USD of a million tokens now: standard processing, first tier.",
        "nano",
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
        "llm_forecast_cost",
        "gauge",
        (*SCOPE_LABELS, "horizon", "bound"),
        "Forecast spend in USD of the next days from the day of the forecast on (1d, 7d, 14d, 30d, "
        "90d), and of the whole month (month_end): mean, and the ends of its 80 and 95 % "
        "intervals (lower80, upper80, lower95, upper95). Absent before the first forecast.",
        "nano",
    ),
    Family(
        "llm_cost_anomaly_score",
        "gauge",
        ANOMALY_LABELS,
        "Score of an anomaly of spend that is open and not acknowledged, in units in which the "
        "sensitivity alarms.",
        "milli",
    ),
    Family(
        "llm_cost_anomaly_usd",
        "gauge",
        ANOMALY_LABELS,
        "Its size: actual less expected spend in USD, since it was first seen.",
        "nano",
    ),
    Family(
        "llm_cost_expected",
        "gauge",
        (*SCOPE_LABELS, "bound"),
        "What the last final day (UTC) was expected to cost in USD: mean, and the bounds beyond "
        "which it would have been an anomaly (lower, upper).",
        "nano",
    ),
    Family(
        "llm_cost_actual",
        "gauge",
        SCOPE_LABELS,
        "What that day cost in USD.",
        "nano",
    ),
    Family(
        "llm_implausible_price_usd",
        "gauge",
        ("provider", "model"),
        "USD of records whose amounts cannot be right, until they are corrected or acknowledged.",
        "nano",
    ),
    Family(
        "llm_implausible_price_calls",
        "gauge",
        ("provider", "model"),
        "How many records these are.",
        "count",
    ),
    Family(
        "llm_forecast_error_ratio",
        "gauge",
        (*SCOPE_LABELS, "horizon"),
        "How far the forecasts of the last 30 days were from what came, over what came (1d, 7d).",
        "milli",
    ),
    Family(
        "llm_forecast_interval_coverage",
        "gauge",
        SCOPE_LABELS,
        "Share of the last 30 days that lay within the 95 % interval forecast for them.",
        "milli",
    ),
    Family(
        "llm_forecast_backtest_error_ratio",
        "gauge",
        SCOPE_LABELS,
        "Error of the sum of seven days over that sum, of the same method on the past.",
        "milli",
    ),
    Family(
        "llm_forecast_trend_ratio",
        "gauge",
        SCOPE_LABELS,
        "By what share the daily level changes in a week (0.1 is a rise of 10 %).",
        "milli",
    ),
    Family(
        "llm_forecast_made_timestamp_seconds",
        "gauge",
        (),
        "When the forecasts that are exported were made; absent before the first ones.",
        "milli",
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
        "llm_budget_planned",
        "gauge",
        BUDGET_LABELS,
        "Planned spend in USD whose time has begun in the current period; absent without plans.",
        "nano",
    ),
    Family(
        "llm_budget_planned_open",
        "gauge",
        BUDGET_LABELS,
        "Planned spend in USD whose time is now; absent without plans.",
        "nano",
    ),
    Family(
        "llm_budget_period_start_timestamp_seconds",
        "gauge",
        BUDGET_LABELS,
        "When the budget's current period began.",
        "milli",
    ),
    Family(
        "llm_budget_period_end_timestamp_seconds",
        "gauge",
        BUDGET_LABELS,
        "When the budget's current period ends.",
        "milli",
    ),
    Family(
        "llm_budget_info",
        "gauge",
        (*BUDGET_LABELS, "owner", "slack_channel"),
        "Always 1: who answers for the budget, and the Slack channel that is told.",
    ),
    Family(
        "llm_category_cost_threshold",
        "gauge",
        ("category", "level"),
        "Month-to-date spend in USD of a category at which somebody is told, by level "
        "(warning, critical).",
        "nano",
    ),
    Family(
        "llm_budget_cost_total",
        "counter",
        BUDGET_LABELS,
        "The budget's spend in USD as a counter, for burn rates.",
        "nano",
    ),
    Family(
        "llm_cost_final_until_timestamp_seconds",
        "gauge",
        ("scope",),
        "Days of the scope before this instant are settled by a final bill.",
        "milli",
    ),
    Family(
        "llm_cost_capture_ratio",
        "gauge",
        ("scope",),
        "Metered over billed usage of the scope's newest 30 final days; 1 is all of it.",
        "nano",
    ),
    Family(
        "llm_cost_billed",
        "gauge",
        ("scope",),
        "USD of the bills of the scope's newest 30 final days.",
        "nano",
    ),
    Family(
        "llm_cost_metered",
        "gauge",
        ("scope",),
        "USD that was metered on these days.",
        "nano",
    ),
    Family(
        "llm_cost_of_day",
        "gauge",
        ("scope", "day", "side"),
        "USD of one of the scope's newest 14 days that have a bill, final or not: metered, billed.",
        "nano",
    ),
    Family(
        "llm_cost_unattributed",
        "gauge",
        ("scope",),
        "USD of the scope's newest 30 final days that no tenant bears.",
        "nano",
    ),
    Family(
        "llm_cost_unattributed_ratio",
        "gauge",
        ("scope",),
        "The share of these days' bills that no tenant bears.",
        "nano",
    ),
    Family(
        "llm_cost_conservation",
        "gauge",
        ("scope",),
        "Borne by tenants plus unattributed minus billed, in USD, over all final days: 0.",
        "nano",
    ),
    Family(
        "llm_cost_unconverted_lines",
        "gauge",
        ("scope", "currency"),
        "Lines of bills that have no rate of exchange to USD; no figure holds them.",
    ),
)

_GPU = (
    Family(
        "gpu_utilization_percent",
        "gauge",
        HELD_LABELS,
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
    Family("gpu_memory_used_bytes", "gauge", HELD_LABELS, "Device memory in use.", "float", "gpu"),
    Family("gpu_memory_total_bytes", "gauge", GPU_LABELS, "Device memory.", "float", "gpu"),
    Family("gpu_power_watts", "gauge", HELD_LABELS, "Power draw.", "float", "gpu"),
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


def _gpu(name: str, kind: Kind, labels: tuple[str, ...], text: str) -> Family:
    return Family(name, kind, labels, text, "float", "gpu")


#: What the driver tells of the hardware beside what _GPU has.
_GPU_HARDWARE = (
    _gpu(
        "gpu_utilization_ratio",
        "histogram",
        GPU_LABELS,
        "Utilisation in each sample, usually one a second: a rare scrape misses none.",
    ),
    _gpu(
        "gpu_utilization_min_percent",
        "gauge",
        GPU_LABELS,
        "Least utilisation in a sample of the last one to two minutes.",
    ),
    _gpu(
        "gpu_utilization_max_percent",
        "gauge",
        GPU_LABELS,
        "Greatest utilisation in a sample of the last one to two minutes.",
    ),
    _gpu(
        "gpu_utilization_mean_percent",
        "gauge",
        GPU_LABELS,
        "Mean utilisation of the samples of the last one to two minutes.",
    ),
    _gpu(
        "gpu_sm_utilization_percent",
        "gauge",
        GPU_LABELS,
        "Share of multiprocessors that were busy (GPM: Hopper and newer).",
    ),
    _gpu(
        "gpu_sm_occupancy_percent",
        "gauge",
        GPU_LABELS,
        "Active warps, of the most that there can be (GPM).",
    ),
    _gpu(
        "gpu_tensor_utilization_percent",
        "gauge",
        GPU_LABELS,
        "Share of time in which tensor cores worked (GPM).",
    ),
    _gpu(
        "gpu_dram_utilization_percent",
        "gauge",
        GPU_LABELS,
        "Bandwidth of device memory in use, of the most that there can be (GPM).",
    ),
    _gpu(
        "gpu_fp64_utilization_percent",
        "gauge",
        GPU_LABELS,
        "Share of time with FP64 arithmetic outside the tensor cores (GPM).",
    ),
    _gpu(
        "gpu_fp32_utilization_percent",
        "gauge",
        GPU_LABELS,
        "Share of time with FP32 arithmetic outside the tensor cores (GPM).",
    ),
    _gpu(
        "gpu_fp16_utilization_percent",
        "gauge",
        GPU_LABELS,
        "Share of time with FP16 arithmetic outside the tensor cores (GPM).",
    ),
    _gpu(
        "gpu_encoder_utilization_percent",
        "gauge",
        GPU_LABELS,
        "Share of time in which the video encoder worked.",
    ),
    _gpu(
        "gpu_decoder_utilization_percent",
        "gauge",
        GPU_LABELS,
        "Share of time in which the video decoder worked.",
    ),
    _gpu("gpu_memory_free_bytes", "gauge", GPU_LABELS, "Device memory that is free."),
    _gpu(
        "gpu_memory_reserved_bytes",
        "gauge",
        GPU_LABELS,
        "Device memory that the driver keeps for itself.",
    ),
    _gpu("gpu_memory_temperature_celsius", "gauge", GPU_LABELS, "Temperature of the memory."),
    _gpu("gpu_sm_clock_hertz", "gauge", GPU_LABELS, "Clock of the multiprocessors."),
    _gpu("gpu_memory_clock_hertz", "gauge", GPU_LABELS, "Clock of the memory."),
    _gpu("gpu_video_clock_hertz", "gauge", GPU_LABELS, "Clock of the video engines."),
    _gpu(
        "gpu_performance_state",
        "gauge",
        GPU_LABELS,
        "Performance state: 0 is the fastest, 15 the slowest.",
    ),
    _gpu(
        "gpu_throttle_reason",
        "gauge",
        (*GPU_LABELS, "reason"),
        "1 while the reason holds the clocks, else 0.",
    ),
    _gpu(
        "gpu_throttled_seconds_total",
        "counter",
        (*GPU_LABELS, "reason"),
        "Seconds in which the reason held the clocks, from every sample.",
    ),
    _gpu("gpu_processes", "gauge", GPU_LABELS, "Processes that compute on the GPU."),
    _gpu(
        "gpu_pcie_transmit_bytes_per_second", "gauge", GPU_LABELS, "Traffic from the GPU over PCIe."
    ),
    _gpu("gpu_pcie_receive_bytes_per_second", "gauge", GPU_LABELS, "Traffic to the GPU over PCIe."),
    _gpu(
        "gpu_nvlink_transmitted_bytes_total",
        "counter",
        GPU_LABELS,
        "Payload sent over all NVLinks, by the driver's counter.",
    ),
    _gpu(
        "gpu_nvlink_received_bytes_total",
        "counter",
        GPU_LABELS,
        "Payload received over all NVLinks, by the driver's counter.",
    ),
    _gpu("gpu_nvlink_active_links", "gauge", GPU_LABELS, "NVLinks that are up."),
    _gpu(
        "gpu_nvlink_errors_total",
        "counter",
        (*GPU_LABELS, "kind"),
        "Errors of all NVLinks, by kind: crc_flit, crc_data, crc, replay, recovery.",
    ),
    _gpu("gpu_power_limit_watts", "gauge", GPU_LABELS, "The power limit that holds."),
    _gpu(
        "gpu_shutdown_temperature_celsius",
        "gauge",
        GPU_LABELS,
        "Temperature at which the GPU shuts down.",
    ),
    _gpu(
        "gpu_slowdown_temperature_celsius",
        "gauge",
        GPU_LABELS,
        "Temperature at which the GPU slows down.",
    ),
    _gpu(
        "gpu_max_temperature_celsius",
        "gauge",
        GPU_LABELS,
        "Highest temperature that the GPU should work at.",
    ),
    _gpu(
        "gpu_memory_max_temperature_celsius",
        "gauge",
        GPU_LABELS,
        "Highest temperature that the memory should work at.",
    ),
    _gpu(
        "gpu_ecc_corrected_volatile_total",
        "counter",
        GPU_LABELS,
        "Corrected ECC errors since the driver was loaded.",
    ),
    _gpu(
        "gpu_ecc_uncorrected_volatile_total",
        "counter",
        GPU_LABELS,
        "Uncorrected ECC errors since the driver was loaded.",
    ),
    _gpu(
        "gpu_ecc_corrected_aggregate_total",
        "counter",
        GPU_LABELS,
        "Corrected ECC errors in the life of the card.",
    ),
    _gpu(
        "gpu_ecc_uncorrected_aggregate_total",
        "counter",
        GPU_LABELS,
        "Uncorrected ECC errors in the life of the card.",
    ),
    _gpu(
        "gpu_retired_pages",
        "gauge",
        (*GPU_LABELS, "cause"),
        "Pages of memory out of use, by cause: corrected, uncorrected.",
    ),
    _gpu(
        "gpu_retirement_pending",
        "gauge",
        GPU_LABELS,
        "1 when pages wait for a restart to be taken out of use, else 0.",
    ),
    _gpu(
        "gpu_remapped_rows",
        "gauge",
        (*GPU_LABELS, "cause"),
        "Rows of memory replaced by spare ones, by cause: corrected, uncorrected.",
    ),
    _gpu(
        "gpu_row_remap_pending",
        "gauge",
        GPU_LABELS,
        "1 when a row waits for a reset of the GPU to be replaced, else 0.",
    ),
    _gpu(
        "gpu_row_remap_failed",
        "gauge",
        GPU_LABELS,
        "1 when a row could not be replaced: the card should be exchanged; else 0.",
    ),
    _gpu(
        "gpu_pcie_replays_total",
        "counter",
        GPU_LABELS,
        "Times that something was sent again over PCIe.",
    ),
    _gpu("gpu_fan_percent", "gauge", GPU_LABELS, "Speed that the fan is set to."),
    _gpu(
        "gpu_xid_errors_total",
        "counter",
        GPU_LABELS,
        "Xid errors since the sampler first saw the GPU; stays when the GPU is lost.",
    ),
    _gpu(
        "gpu_xid_errors_by_code_total",
        "counter",
        (*GPU_LABELS, "xid"),
        "Xid errors by code; a code appears with its first error.",
    ),
    _gpu(
        "gpu_mig_enabled", "gauge", GPU_LABELS, "1 when the GPU is in MIG mode, 0 when it could be."
    ),
    _gpu("gpu_mig_compute_slices", "gauge", MIG_LABELS, "Compute slices of the MIG instance."),
    _gpu(
        "gpu_mig_memory_used_bytes",
        "gauge",
        MIG_LABELS,
        "Memory in use, once for each GPU instance.",
    ),
    _gpu("gpu_mig_memory_total_bytes", "gauge", MIG_LABELS, "Memory, once for each GPU instance."),
    _gpu(
        "gpu_mig_utilization_percent",
        "gauge",
        MIG_LABELS,
        "Share of time in which the GPU instance worked (GPM).",
    ),
    _gpu(
        "gpu_mig_sm_utilization_percent",
        "gauge",
        MIG_LABELS,
        "Share of the GPU instance's multiprocessors that were busy (GPM).",
    ),
    _gpu(
        "gpu_mig_tensor_utilization_percent",
        "gauge",
        MIG_LABELS,
        "Share of time in which the GPU instance's tensor cores worked (GPM).",
    ),
    _gpu(
        "gpu_mig_dram_utilization_percent",
        "gauge",
        MIG_LABELS,
        "Bandwidth of memory in use by the GPU instance, of the most that there can be (GPM).",
    ),
)

#: Of model servers beside the GPUs: the tokens that they counted, and what these cost.
_GPU_SERVING = (
    _gpu(
        "gpu_serving_tokens_total",
        "counter",
        (*SERVING_LABELS, "token_class"),
        "Tokens that the model server counted, since this process first saw it.",
    ),
    _gpu("gpu_serving_requests_total", "counter", SERVING_LABELS, "Requests that it answered."),
    _gpu(
        "gpu_cost_per_million_tokens",
        "gauge",
        (*SERVING_LABELS, "cost_basis"),
        "Estimated USD of the server's GPUs for a million of its input and output tokens, over "
        "the last hour (`gpu.serving_window_seconds`). Absent without tokens and where a GPU has "
        "no price.",
    ),
    _gpu(
        "gpu_energy_joules_per_token",
        "gauge",
        SERVING_LABELS,
        "Energy of the server's GPUs for one of its input and output tokens, over the same time.",
    ),
    _gpu(
        "gpu_requests_per_gpu_hour",
        "gauge",
        SERVING_LABELS,
        "Requests for each hour of a whole GPU that the server held, over the same time.",
    ),
)

#: By whom a GPU belongs to. Money here is this machine's own estimate, never part of llm_*.
_GPU_OWNERS = (
    _gpu(
        "gpu_allocated_ratio",
        "gauge",
        GPU_LABELS,
        "Share of the GPU that is allocated to somebody now.",
    ),
    _gpu(
        "gpu_owner_info",
        "gauge",
        INFO_LABELS,
        "Always 1: who holds the GPU, or a part of it, now.",
    ),
    _gpu(
        "gpu_owner_used_seconds_total",
        "counter",
        OWNER_LABELS,
        "GPU-seconds that the owner had with a kernel running, or without anybody knowing "
        "whether one ran; a seventh of a GPU has a seventh of a second each second.",
    ),
    _gpu(
        "gpu_owner_idle_seconds_total",
        "counter",
        OWNER_LABELS,
        "GPU-seconds that the owner had without a kernel running.",
    ),
    _gpu(
        "gpu_owner_energy_joules_total",
        "counter",
        OWNER_LABELS,
        "Energy by owner; what nobody held has empty labels.",
    ),
    _gpu(
        "gpu_unallocated_seconds_total",
        "counter",
        GPU_LABELS,
        "GPU-seconds that were allocated to nobody.",
    ),
    _gpu(
        "gpu_unobserved_seconds_total",
        "counter",
        GPU_LABELS,
        "Seconds between two answers of a GPU in which nobody could look; added when it answers.",
    ),
    _gpu(
        "gpu_unpriced_seconds_total",
        "counter",
        GPU_LABELS,
        "GPU-seconds without a known price; no cost holds them.",
    ),
    _gpu(
        "gpu_price_usd_per_hour",
        "gauge",
        GPU_LABELS,
        "The GPU's price by which its cost is estimated here.",
    ),
    _gpu(
        "gpu_cost_usd_total",
        "counter",
        OWNER_LABELS,
        "Estimated cost by owner: used, idle and unallocated (empty labels) together.",
    ),
    _gpu("gpu_used_cost_usd_total", "counter", OWNER_LABELS, "Estimated cost of the used seconds."),
    _gpu(
        "gpu_idle_cost_usd_total",
        "counter",
        OWNER_LABELS,
        "Estimated cost of seconds that the owner had and did not use.",
    ),
    _gpu(
        "gpu_unallocated_cost_usd_total",
        "counter",
        OWNER_LABELS,
        "Estimated cost of what is allocated to nobody; the owner's labels are empty.",
    ),
    _gpu(
        "gpu_unobserved_cost_usd_total",
        "counter",
        GPU_LABELS,
        "Estimated cost of unobserved seconds, which no owner has.",
    ),
    _gpu(
        "gpu_accrued_cost_usd_total",
        "counter",
        GPU_LABELS,
        "Estimated cost of the GPU, whoever had it: owners, also those who left, nobody, and "
        "unobserved seconds.",
    ),
    _gpu(
        "gpu_energy_cost_usd_total",
        "counter",
        OWNER_LABELS,
        "What the energy costs. Part of the cost where the GPU's price tells energy apart.",
    ),
    _gpu(
        "gpu_co2_grams_total",
        "counter",
        OWNER_LABELS,
        "CO2 equivalent of the energy, by the carbon intensity of the grid.",
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
    _own(
        "costmeter_ledger_commit_seconds_total",
        "counter",
        (),
        "Time from their begin until they were on the disk; batches may overlap.",
    ),
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
    _own(
        "costmeter_otlp_spans_ignored_total",
        "counter",
        ("feed", "reason"),
        "Spans that are no call to a model (not_genai, operation), that stand around one (agent, "
        "nested), or that say no tokens (no_usage).",
    ),
    _own(
        "costmeter_otlp_points_ignored_total",
        "counter",
        ("feed", "reason"),
        "Data points of other metrics (not_genai, older_metric, agent, operation) or without "
        "tokens (no_usage).",
    ),
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
    _own(
        "costmeter_bill_lines_total",
        "counter",
        ("scope", "outcome"),
        "Lines of bills that came: new, same, restated, converted (got a rate of exchange) or "
        "older than what stands.",
    ),
    _own(
        "costmeter_bill_restated_usd_total",
        "counter",
        ("scope", "direction"),
        "USD by which restatements moved lines of bills, up or down.",
    ),
    _own("costmeter_prices_age_seconds", "gauge", (), "Age of the price catalogue."),
    _own("costmeter_job_last_success_timestamp_seconds", "gauge", ("job_name",), "Last success."),
    _own("costmeter_job_duration_seconds", "gauge", ("job_name",), "Duration of the last run."),
    _own("costmeter_job_failures_total", "counter", ("job_name",), "Runs that failed."),
    _own(
        "costmeter_fixed_costs_waiting",
        "gauge",
        (),
        "Entries of fixed costs and inventory that wait for a rate of exchange or a price.",
    ),
    _own(
        "costmeter_alertmanager_up",
        "gauge",
        ("alertmanager",),
        "1 if the last alerts of budgets were taken there, else 0.",
    ),
    _own(
        "costmeter_alertmanager_errors_total",
        "counter",
        ("alertmanager",),
        "Times that alerts of budgets could not be sent there.",
    ),
    _own(
        "costmeter_alertmanager_alerts",
        "gauge",
        (),
        "Alerts of budgets without a metric that fire now.",
    ),
    _own("costmeter_source_up", "gauge", ("source",), "1 if the last poll worked, else 0."),
    _own(
        "costmeter_source_last_success_timestamp_seconds",
        "gauge",
        ("source",),
        "When the last poll that worked began.",
    ),
    _own(
        "costmeter_source_newest_data_timestamp_seconds",
        "gauge",
        ("source",),
        "Start of the newest hour or day with data; now minus this is the source's lag.",
    ),
    _own(
        "costmeter_source_watermark_timestamp_seconds",
        "gauge",
        ("source",),
        "Up to when the source has delivered everything.",
    ),
    _own("costmeter_source_poll_interval_seconds", "gauge", ("source",), "How often it is asked."),
    _own(
        "costmeter_source_poll_duration_seconds", "gauge", ("source",), "Time the last poll took."
    ),
    _own(
        "costmeter_source_errors_total",
        "counter",
        ("source", "reason"),
        "Polls that failed: credentials, request, throttled, server, timeout, network, too_large, "
        "malformed, repeated_page, budget, ledger, other.",
    ),
    _own("costmeter_source_api_calls_total", "counter", ("source",), "Calls to the provider."),
    _own(
        "costmeter_source_api_cost_usd_total", "counter", ("source",), "What these calls cost, USD."
    ),
    _own(
        "costmeter_source_call_budget_used_ratio",
        "gauge",
        ("source",),
        "Share of today's calls_per_day or usd_per_day that is used, the larger of both.",
    ),
    _own(
        "costmeter_source_records_total",
        "counter",
        ("source", "outcome"),
        "Records read: new, same, restated, gone.",
    ),
    _own(
        "llm_cost_per_million_tokens",
        "gauge",
        (*SERVED_LABELS, "cost_basis"),
        "USD of GPU time for a million tokens of a self-hosted model, over the last 24 hours. "
        "Absent without tokens and where GPU time has no price.",
    ),
    _own(
        "llm_energy_joules_per_token",
        "gauge",
        SERVED_LABELS,
        "Energy of GPUs for a token of a self-hosted model, over the last 24 hours.",
    ),
    _own(
        "llm_requests_per_gpu_hour",
        "gauge",
        SERVED_LABELS,
        "Calls for each GPU-hour that a self-hosted model held, over the last 24 hours.",
    ),
    _own(
        "llm_observed_overlap_ratio",
        "gauge",
        ("scope", "feed"),
        "Share of yesterday's records of a feed that is only compared which are booked under the "
        "same identity.",
    ),
    _own(
        "llm_observed_calls_ratio",
        "gauge",
        ("scope", "feed"),
        "Yesterday's calls of a feed that is only compared, over those booked in the scope.",
    ),
    _own(
        "llm_observed_tokens_ratio",
        "gauge",
        ("scope", "feed"),
        "Yesterday's tokens of a feed that is only compared, over those booked in the scope.",
    ),
    _own(
        "llm_provider_forecast_cost",
        "gauge",
        ("source", "bound"),
        "The provider's own forecast in USD of what the rest of this month costs: mean, and the "
        "ends of its 80 and 95 % intervals (lower_80, upper_80, ...). Absent when not known.",
    ),
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


def _agents(name: str, kind: Kind, labels: tuple[str, ...], text: str) -> Family:
    return Family(f"costmeter_agent_{name}", kind, labels, text, "float", "agent")


_AGENT = (
    _agents("build_info", "gauge", ("version", "python"), "Always 1."),
    _agents("gpus", "gauge", (), "GPUs of this node that answer; 0 on a node without any."),
    _agents(
        "forwarding", "gauge", (), "1 when GPU time is sent to a server, 0 when it is only shown."
    ),
    _agents("spool_bytes", "gauge", (), "What waits on the disk for the server."),
    _agents("spool_limit_bytes", "gauge", (), "The most that may wait on the disk."),
    _agents("spool_segments", "gauge", (), "Segments that wait for the server."),
    _agents("spool_memory_segments", "gauge", (), "Of them, those that are in memory alone."),
    _agents("spool_oldest_age_seconds", "gauge", (), "Age of what waits longest; 0 for nothing."),
    _agents("spool_usable", "gauge", (), "1 when the spool's disk can be used, else 0."),
    _agents(
        "segments_forwarded_total",
        "counter",
        ("outcome",),
        "Segments that the server acknowledged: accepted, duplicate (known before) or observed.",
    ),
    _agents(
        "segments_rejected_total",
        "counter",
        ("reason",),
        "Segments that the server refused for good, by the field it named; they are kept aside.",
    ),
    _agents(
        "segments_dropped_total",
        "counter",
        ("reason",),
        "Segments that are lost: spool_full, memory_full (no disk either), damaged on the disk.",
    ),
    _agents("forwards_total", "counter", (), "Bodies that were sent, whatever came of them."),
    _agents("forward_seconds_total", "counter", (), "Time that sending them took."),
    _agents(
        "forward_failures_total",
        "counter",
        ("reason",),
        "Bodies that were not taken: network, timeout, tls, token, unauthorized, forbidden, "
        "not_found, too_large, throttled, refused, server_error, unreadable_answer.",
    ),
    _agents(
        "forward_last_success_timestamp_seconds",
        "gauge",
        (),
        "When the server last acknowledged something.",
    ),
    _agents(
        "config_reload_success", "gauge", (), "1 if the last reload of the agent worked, else 0."
    ),
    _agents(
        "config_reload_success_timestamp_seconds",
        "gauge",
        (),
        "When the running configuration of the agent was read.",
    ),
    _agents("owners_info", "gauge", ("mode",), "Always 1: how owners of GPUs are found here."),
    _agents(
        "owners_up", "gauge", (), "1 when owners are known as they should be, 0 with a problem."
    ),
    _agents(
        "owners_requests_total",
        "counter",
        ("subject",),
        "Questions for owners: to the kubelet, and for pods, watch, node and slices.",
    ),
    _agents("owners_errors_total", "counter", ("subject", "reason"), "Those of them that failed."),
    _agents(
        "owners_last_success_timestamp_seconds",
        "gauge",
        ("subject",),
        "When the kubelet and the list of pods last answered.",
    ),
    _agents("owners_watch_restarts_total", "counter", (), "Watches of pods that began anew."),
    _agents("owners_holders", "gauge", (), "Containers that hold a GPU or a part of one."),
    _agents(
        "owners_unresolved_devices",
        "gauge",
        (),
        "Devices held by pods that are none of the GPUs seen.",
    ),
    _agents(
        "owners_unknown_pods",
        "gauge",
        (),
        "Pods that hold GPUs and are not known at the API server.",
    ),
    _agents("cpu_seconds_total", "counter", (), "Processor time of the agent, NVML's included."),
    _agents("nvml_seconds_total", "counter", (), "Time spent in the functions of NVML."),
    _agents("resident_memory_bytes", "gauge", (), "Memory that the agent occupies."),
    _agents("start_timestamp_seconds", "gauge", (), "When the agent started."),
)

FAMILIES: tuple[Family, ...] = (
    _LEDGER + _GPU + _GPU_HARDWARE + _GPU_OWNERS + _GPU_SERVING + _SELF + _AGENT
)
CATALOG: Mapping[str, Family] = {family.name: family for family in FAMILIES}


def labels_of(name: str, extra_labels: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Label names of a family in the order in which values are kept."""
    family = CATALOG[name]
    return family.labels + (extra_labels if name in EXTENSIBLE else ())


def sample_labels(name: str) -> tuple[str, tuple[str, ...]]:
    """The family of a sample and its label names; a histogram's samples have other names."""
    for ending, more in (("_bucket", ("le",)), ("_count", ()), ("_sum", ())):
        family = CATALOG.get(name.removesuffix(ending)) if name.endswith(ending) else None
        if family is not None and family.kind == "histogram":
            return family.name, family.labels + more
    return name, CATALOG[name].labels
