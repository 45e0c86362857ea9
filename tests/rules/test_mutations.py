"""Whether the promtool cases can fail: every rule is loosened in one place and one must notice."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from rules.tools import LOADER, case_files, load, promtool, rule_files

pytestmark = pytest.mark.slow


class Mutation(NamedTuple):
    """Replace `old` by `new` in a rule file; a case whose name starts with `cases` must fail."""

    file: str
    cases: str
    old: str
    new: str


REPLICAS = "without (instance, pod, replica, node, container, endpoint)"


def _clamped(series: str, family: str) -> list[Mutation]:
    def rule(old: str, new: str) -> Mutation:
        return Mutation("recording", "recording: failover", old, new)

    folded = f"max {REPLICAS} ({family})"
    return [
        rule(
            f"last_over_time({series}[10m])\n              and",
            f"{series} > 1e15\n              and",
        ),
        rule(f"record: {series}\n", f"record: other:{family}:clamped\n"),
        rule(f"or\n          {folded}", f"or\n          {family}"),
    ]


RECORDS = [
    *_clamped("series:llm_cost_total:clamped", "llm_cost_total"),
    *_clamped("series:llm_cost_credit_total:clamped", "llm_cost_credit_total"),
    *_clamped("series:llm_requests_total:clamped", "llm_requests_total"),
    *_clamped("series:llm_tokens_total:clamped", "llm_tokens_total"),
    *_clamped("series:llm_unpriced_requests_total:clamped", "llm_unpriced_requests_total"),
    *_clamped("budget:llm_budget_cost_total:clamped", "llm_budget_cost_total"),
    Mutation("recording", "recording: a restored", "0.99 * last_over_time(series:llm_cost_total", "0 * last_over_time(series:llm_cost_total"),
    Mutation("recording", "recording: net", "or\n            0 * increase(series:llm_cost_total", "and\n            0 * increase(series:llm_cost_total"),
    Mutation("recording", "recording: net", "or\n            0 * increase(series:llm_cost_credit_total", "and\n            0 * increase(series:llm_cost_credit_total"),
    Mutation("recording", "recording", "avg by (job) (gpu:gpu", "sum by (job) (gpu:gpu"),
    Mutation("recording", "recording", "sum by (job) (series:llm_net_cost", "sum (series:llm_net_cost"),
    Mutation("recording", "recording", f"max {REPLICAS} (llm_cost_month_to_date)", "llm_cost_month_to_date"),
    Mutation("recording", "recording", f"max {REPLICAS} (llm_cost_quarter_to_date)", "llm_cost_quarter_to_date"),
    Mutation("recording", "recording", f"max {REPLICAS} (llm_cost_year_to_date)", "llm_cost_year_to_date"),
    Mutation("recording", "recording", f"max {REPLICAS} (llm_cost_last_month)", "llm_cost_last_month"),
    Mutation("recording", "recording", f"max {REPLICAS} (llm_budget_exhaustion_timestamp_seconds)", "llm_budget_exhaustion_timestamp_seconds"),
    Mutation("recording", "recording", "max by (job) (llm_budget_monthly)", "sum by (job) (llm_budget_monthly)"),
    Mutation("recording", "recording", "max without (instance, replica, container, endpoint) (gpu_util", "max without (instance, pod) (gpu_util"),
    Mutation("recording", "recording", "(sum by (job) (model:llm_requests:increase1h) > 0)", "job:llm_api_requests:increase1h"),
]  # fmt: skip

BUDGETS = [
    Mutation("budgets", "BudgetExceeded", "spent:ratio > 1\n        for", "spent:ratio >= 1\n        for"),
    Mutation("budgets", "BudgetExceeded", "spent:ratio > 1\n        for", "spent:ratio > 1.1\n        for"),
    Mutation("budgets", "BudgetExceeded", "for: 5m", "for: 2m"),
    Mutation("budgets", "BudgetExceeded", "for: 5m", "for: 10m"),
    Mutation("budgets", "BudgetExceeded", "keep_firing_for: 10m", "keep_firing_for: 1m"),
    Mutation("recording", "BudgetExceeded", f"max {REPLICAS} (llm_budget_spent)", f"sum {REPLICAS} (llm_budget_spent)"),
    Mutation("recording", "BudgetExceeded", f"max {REPLICAS} (llm_budget_limit)", "llm_budget_limit"),
    Mutation("budgets", "BudgetWarning", "+ 0.8)", "+ 0.79)"),
    Mutation("budgets", "BudgetWarning", "+ 0.8)", "+ 0.82)"),
    Mutation("budgets", "BudgetWarning", "(budget:llm_budget_warning_ratio:max or ", "("),
    Mutation("budgets", "BudgetWarning", "and\n          budget:llm_budget_spent:ratio <= 1", ""),
    Mutation("budgets", "BudgetWarning", "for: 15m", "for: 10m"),
    Mutation("budgets", "BudgetWarning", "keep_firing_for: 10m", "keep_firing_for: 1m"),
    Mutation("recording", "BudgetWarning", f"max {REPLICAS} (llm_budget_warning_ratio)", "llm_budget_warning_ratio"),
    Mutation("budgets", "ForecastOverBudget", "forecast:ratio > 1.10", "forecast:ratio > 1.0"),
    Mutation("budgets", "ForecastOverBudget", "forecast:ratio > 1.10", "forecast:ratio > 1.15"),
    Mutation("budgets", "ForecastOverBudget", "unless\n          budget:llm_budget_spent:ratio > 1", ""),
    Mutation("budgets", "ForecastOverBudget", "for: 1h", "for: 30m"),
    Mutation("budgets", "ForecastOverBudget", "keep_firing_for: 10m", "keep_firing_for: 1m"),
    Mutation("recording", "ForecastOverBudget", f"max {REPLICAS} (llm_budget_forecast)", f"sum {REPLICAS} (llm_budget_forecast)"),
]  # fmt: skip

SPEND = [
    Mutation("spend", "CostSpike", "increase1h > 10\n", "increase1h > 1\n"),
    Mutation("spend", "CostSpike", "> 2 * job:llm_net_cost:avg24h", "> 1.3 * job:llm_net_cost:avg24h"),
    Mutation("spend", "CostSpike", "> 2 * job:llm_net_cost:avg24h", "> 6 * job:llm_net_cost:avg24h"),
    Mutation("spend", "CostSpike", "hours24h >= 20", "hours24h >= 5"),
    Mutation("spend", "CostSpike", "unless\n          job:llm_net_cost:increase1h <= 2 * max_over_time(job:llm_net_cost:increase1h[2h] offset 23h)", ""),
    Mutation("spend", "CostSpike", "unless\n          job:llm_net_cost:increase1h <= 2 * max_over_time(job:llm_net_cost:increase1h[2h] offset 167h)", ""),
    Mutation("spend", "CostSpike", "for: 30m", "for: 15m"),
    Mutation("spend", "CostSpike", "for: 30m", "for: 2h"),
    Mutation("recording", "CostSpike", "[24h:5m] offset 1h", "[24h:5m]"),
    Mutation("recording", "CostSpike", "clamp_min(job:llm_net_cost:increase1h, 0)", "job:llm_net_cost:increase1h"),
    Mutation("recording", "CostSpike", "sum by (job) (series:llm_net_cost:increase1h)", "sum by (job) (increase(series:llm_cost_total:clamped[1h]))"),
    Mutation("recording", "CostSpike", f"max {REPLICAS} (llm_cost_total)", f"sum {REPLICAS} (llm_cost_total)"),
    Mutation("spend", "HighCostPerRequest", "ratio1h > 0.10", "ratio1h > 0.09"),
    Mutation("spend", "HighCostPerRequest", "ratio1h > 0.10", "ratio1h > 0.3"),
    Mutation("spend", "HighCostPerRequest", "and\n          job:llm_api_requests:increase1h >= 10", ""),
    Mutation("recording", "HighCostPerRequest", 'increase1h{category="llm_api"}', "increase1h"),
    Mutation("recording", "HighCostPerRequest", "sum by (job) (model:llm_api_cost:increase1h and model:llm_requests:increase1h > 0)", "sum by (job) (model:llm_api_cost:increase1h)"),
    Mutation("recording", "HighCostPerRequest", "sum by (job) (model:llm_requests:increase1h > 0 and model:llm_api_cost:increase1h)", "sum by (job) (model:llm_requests:increase1h)"),
    Mutation("recording", "HighCostPerRequest", f"max {REPLICAS} (llm_requests_total)", f"sum {REPLICAS} (llm_requests_total)"),
    Mutation("spend", "HighCostPerRequest", "for: 15m", "for: 2h"),
    Mutation("spend", "UnexpectedTenantCost", "> 50\n", "> 5\n"),
    Mutation("spend", "UnexpectedTenantCost", "> 3 * tenant:llm_cost_day:avg7d", "> 2 * tenant:llm_cost_day:avg7d"),
    Mutation("spend", "UnexpectedTenantCost", "> 3 * tenant:llm_cost_day:avg7d", "> 4 * tenant:llm_cost_day:avg7d"),
    Mutation("spend", "UnexpectedTenantCost", "and\n            tenant:llm_cost_day_to_date:max3h > 1.5 * tenant:llm_cost_day:max7d", ""),
    Mutation("spend", "UnexpectedTenantCost", "and\n            tenant:llm_cost_day:count7d >= 3", ""),
    Mutation("spend", "UnexpectedTenantCost", "> 500\n", "> 250\n"),
    Mutation("spend", "UnexpectedTenantCost", "> 500\n", "> 950\n"),
    Mutation("spend", "UnexpectedTenantCost", "unless\n            tenant:llm_cost_day_to_date:max3h <= 3 * tenant:llm_cost_day:max7d", ""),
    Mutation("spend", "UnexpectedTenantCost", "unless\n            tenant:llm_cost_day_to_date:max3h <= 3 * tenant:llm_cost_day:max1d_until3h", ""),
    Mutation("spend", "UnexpectedTenantCost", '{tenant_id!~"_other|unattributed"} > 50', " > 50"),
    Mutation("spend", "UnexpectedTenantCost", '{tenant_id!~"_other|unattributed"} > 500', " > 500"),
    Mutation("spend", "UnexpectedTenantCost", "for: 2h", "for: 0m"),
    Mutation("spend", "UnexpectedTenantCost", "for: 2h", "for: 4h"),
    Mutation("recording", "UnexpectedTenantCost", "tenant:llm_cost_day_to_date:sum[3h]", "tenant:llm_cost_day_to_date:sum[15m]"),
    Mutation("recording", "UnexpectedTenantCost", "unless\n            tenant:llm_cost_year_to_date:sum < max_over_time(tenant:llm_cost_year_to_date:sum[3h])", ""),
    Mutation("recording", "UnexpectedTenantCost", f"max {REPLICAS} (llm_cost_day_to_date)", "llm_cost_day_to_date"),
    Mutation("recording", "UnexpectedTenantCost", "[7d:1d] offset 1d", "[1d:1d] offset 1d"),
]  # fmt: skip

GPU = [
    Mutation("gpu", "LowGPUEfficiency", "< 30\n", "< 60\n"),
    Mutation("gpu", "LowGPUEfficiency", "< 30\n", "< 15\n"),
    Mutation("gpu", "LowGPUEfficiency", "> 1000", "> 500"),
    Mutation("gpu", "LowGPUEfficiency", "and\n          job:llm_gpu_cost_month_to_date:sum > 1000", ""),
    Mutation("gpu", "LowGPUEfficiency", "and\n          job:gpu_utilization_percent:avg >= 0", ""),
    Mutation("gpu", "LowGPUEfficiency", "for: 1h", "for: 10m"),
    Mutation("gpu", "LowGPUEfficiency", "keep_firing_for: 10m", "keep_firing_for: 1m"),
    Mutation("recording", "LowGPUEfficiency", f"max {REPLICAS} (llm_cost_month_to_date)", f"sum {REPLICAS} (llm_cost_month_to_date)"),
    Mutation("recording", "LowGPUEfficiency", '{category="gpu_compute"}', ""),
    Mutation("gpu", "GpuLost", "unless on (job, node, uuid)\n          gpu_memory_total_bytes", ""),
    Mutation("gpu", "GpuLost", "gpu_memory_total_bytes", "gpu_utilization_percent"),
    Mutation("gpu", "GpuLost", "max without (instance, replica, container, endpoint) (gpu_lost_total)", "gpu_lost_total"),
    Mutation("gpu", "GpuLost", "(gpu_lost_total) > 0", "(gpu_lost_total) >= 0"),
    Mutation("gpu", "GpuLost", "(gpu_lost_total) > 0", "(gpu_lost_total) > 1"),
    Mutation("gpu", "GpuLost", "for: 5m", "for: 1m"),
]  # fmt: skip

HEALTH = [
    Mutation("health", "CostmeterDown", "group by (job) (present_over_time(", "group by (job) (1e18 < present_over_time("),
    Mutation("health", "CostmeterDown", 'or\n            absent_over_time(up{job=~"costmeter.*", job!~".*agent.*"}[1d])', ""),
    Mutation("health", "CostmeterDown", 'job!~".*agent.*"', 'job!~"no-such"'),
    Mutation("health", "CostmeterDown", 'job=~"costmeter.*"', 'job=~".+"'),
    Mutation("health", "CostmeterDown", "unless on (job)\n          costmeter_ledger_up", "unless on (job)\n          costmeter_ledger_up == 1"),
    Mutation("health", "CostmeterDown", "unless on (job)\n          costmeter_ledger_up", "unless on (job)\n          up == 1"),
    Mutation("health", "CostmeterDown", "for: 5m", "for: 2m"),
    Mutation("health", "LedgerWriteFailing", "max by (job) (costmeter_ledger_up) == 0\n          or", ""),
    Mutation("health", "LedgerWriteFailing", "max by (job) (costmeter_ledger_up)", "min by (job) (costmeter_ledger_up)"),
    Mutation("health", "LedgerWriteFailing", "and\n            sum by (job) (increase(costmeter_ledger_write_failures_total[5m] offset 5m)) > 0", ""),
    Mutation("health", "LedgerWriteFailing", "(increase(costmeter_ledger_write_failures_total[5m])) > 0", "(increase(costmeter_ledger_write_failures_total[5m])) > 1e6"),
    Mutation("health", "LedgerWriteFailing", "for: 2m", "for: 0m"),
    Mutation("health", "SnapshotStale", "min > 30", "min > 29"),
    Mutation("health", "SnapshotStale", "min > 30", "min > 900"),
    Mutation("health", "SnapshotStale", "for: 5m", "for: 2m"),
    Mutation("recording", "SnapshotStale", "min by (job) (costmeter_snapshot_age_seconds)", "max by (job) (costmeter_snapshot_age_seconds)"),
    Mutation("health", "UnpricedUsage", "(costmeter_unpriced_requests) > 0", "(costmeter_unpriced_requests) >= 0"),
    Mutation("health", "UnpricedUsage", "(costmeter_unpriced_requests) > 0", "(costmeter_unpriced_requests) > 1"),
    Mutation("health", "UnpricedUsage", "costmeter_unpriced_requests", "llm_unpriced_requests_total"),
    Mutation("health", "UnpricedUsage", f"max {REPLICAS}", f"sum {REPLICAS}"),
    Mutation("health", "UnpricedUsage", "for: 15m", "for: 5m"),
    Mutation("health", "UnpricedUsage", "keep_firing_for: 10m", "keep_firing_for: 1m"),
    Mutation("health", "UsageIngestRejected", "ratio1h > 0.01", "ratio1h > 0.001"),
    Mutation("health", "UsageIngestRejected", "ratio1h > 0.01", "ratio1h > 0.3"),
    Mutation("health", "UsageIngestRejected", "increase1h >= 5", "increase1h >= 1"),
    Mutation("health", "UsageIngestRejected", "for: 15m", "for: 5m"),
    Mutation("recording", "UsageIngestRejected", "((costmeter_events_rejected_total unless", "(1e18 < (costmeter_events_rejected_total unless"),
    Mutation("recording", "UsageIngestRejected", "((costmeter_events_accepted_total unless", "(1e18 < (costmeter_events_accepted_total unless"),
    Mutation("recording", "UsageIngestRejected", "unless costmeter_events_rejected_total offset 1h) and on (job, instance) (up offset 1h == 1))", "unless costmeter_events_rejected_total offset 1h))"),
    Mutation("recording", "UsageIngestRejected", "+ (feed:costmeter_events_accepted:increase1h or 0 * feed:costmeter_events_rejected:increase1h)", "+ feed:costmeter_events_accepted:increase1h"),
    Mutation("recording", "UsageIngestRejected", "+ (feed:costmeter_events_duplicate:increase1h or 0 * feed:costmeter_events_rejected:increase1h)", ""),
    Mutation("recording", "UsageIngestRejected", "+ (feed:costmeter_events_observed:increase1h or 0 * feed:costmeter_events_rejected:increase1h)", ""),
    Mutation("health", "SeriesOverflow", "overflow:increase1h > 0", "overflow:increase1h > 5"),
    Mutation("health", "SeriesOverflow", "overflow:increase1h > 0", "overflow:increase1h >= 0"),
    Mutation("health", "SeriesOverflow", "for: 1m", "for: 0m"),
    Mutation("recording", "SeriesOverflow", "sum by (job, label) (", "sum by (job, label, instance) ("),
    Mutation("recording", "SeriesOverflow", "unless costmeter_series_overflow_total offset 1h) and on (job, instance) (up offset 1h == 1))", "unless costmeter_series_overflow_total offset 1h))"),
]  # fmt: skip

ALL = [*RECORDS, *BUDGETS, *SPEND, *GPU, *HEALTH]


def _alone(text: str, alert: str) -> str:
    """The text with everything outside one alert's rule masked, for edits inside it only."""
    start = text.find(f"- alert: {alert}\n")
    if start == -1:
        return ""
    end = text.find("- alert: ", start + 1)
    return text[start : end if end != -1 else len(text)]


def _pruned(files: dict[str, Any], wanted: str) -> dict[str, Any]:
    """The rules without the records that `wanted` needs neither directly nor through others."""
    records = {
        rule["record"]: rule["expr"]
        for document in files.values()
        for group in document["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    needed: set[str] = set()
    texts = [wanted]
    while texts:
        text = texts.pop()
        new = {name for name in records if name in text} - needed
        needed |= new
        texts += [records[name] for name in new]
    for document in files.values():
        for group in document["groups"]:
            group["rules"] = [r for r in group["rules"] if "alert" in r or r["record"] in needed]
    return files


@pytest.mark.parametrize("mutation", ALL, ids=lambda m: f"{m.cases}: {m.new.strip() or 'cut'}"[:90])
def test_some_case_notices(mutation: Mutation, tmp_path: Path) -> None:
    texts = {path.name: path.read_text() for path in rule_files()}
    name = f"{mutation.file}.rules.yml"
    place = texts[name] if mutation.file == "recording" else _alone(texts[name], mutation.cases)
    assert mutation.old in place, "the rule has changed: mend this mutation"
    texts[name] = texts[name].replace(place, place.replace(mutation.old, mutation.new))

    suites = {}
    for path in case_files():
        suite = load(path)
        chosen = [case for case in suite["tests"] if case["name"].startswith(mutation.cases)]
        if chosen:
            suites[path.name] = {**suite, "tests": chosen}
    wanted = str(suites) + _alone("".join(texts.values()), mutation.cases)
    files = _pruned({key: yaml.load(text, Loader=LOADER) for key, text in texts.items()}, wanted)
    for key, document in files.items():
        (tmp_path / key).write_text(yaml.safe_dump(document))
    checked = promtool("check", "rules", str(tmp_path / name))
    assert checked.returncode == 0, f"the mutation is not a valid rule: {checked.stderr}"

    (tmp_path / "tests").mkdir()
    for key, suite in suites.items():
        (tmp_path / "tests" / key).write_text(yaml.safe_dump(suite))
    results = [promtool("test", "rules", str(tmp_path / "tests" / key)) for key in suites]
    assert any(result.returncode != 0 for result in results), "no case noticed"
