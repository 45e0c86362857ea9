"""Every PromQL expression of the dashboard about the exporter itself, by name.

A process counts what it saw itself, so these families are summed over the chosen instances, or
shown one line an instance. Counters of trouble have no series before the first trouble: where the
ledger is known, nothing is then shown as 0.
"""

from __future__ import annotations

from dashboards.queries import zero
from dashboards.selection import LEDGER, MONTH

#: What every query is narrowed by, but those of recorded series, which have no instance.
CHOSEN = f'{LEDGER}, instance=~"$instance"'
RATE = "[$__rate_interval]"


def by_instance(metric: str) -> str:
    """A gauge of each process."""
    return f"max by (job, instance) ({metric}{{{CHOSEN}}})"


def lowest(metric: str) -> str:
    """The lowest of the chosen processes."""
    return f"min by (job) ({metric}{{{CHOSEN}}})"


def highest(metric: str) -> str:
    """The highest of the chosen processes."""
    return f"max by (job) ({metric}{{{CHOSEN}}})"


def processes() -> str:
    """Processes that show the ledger."""
    return f"count by (job) (costmeter_ledger_up{{{CHOSEN}}})"


def versions() -> str:
    """What is running, one series a version."""
    return f"count by (job, version) (costmeter_build_info{{{CHOSEN}}})"


def rate(metric: str, *labels: str) -> str:
    """A counter a second, summed over the chosen processes."""
    return f"sum by ({', '.join(['job', *labels])}) (rate({metric}{{{CHOSEN}}}{RATE}))"


def each_minute(metric: str, *labels: str) -> str:
    """A counter a minute, summed over the chosen processes."""
    return f"60 * {rate(metric, *labels)}"


def increase(metric: str, label: str, window: str) -> str:
    """Growth of a counter of trouble in a window; 0 under "none" where there is none."""
    grown = f"sum by (job, {label}) (increase({metric}{{{CHOSEN}}}[{window}]))"
    return f"{grown} or on (job) {zero(label)}"


def grown(metric: str, window: str) -> str:
    """Growth of a counter of trouble over all its labels; 0 where there is none."""
    return f"sum by (job) (increase({metric}{{{CHOSEN}}}[{window}])) or {zero()}"


def rejected_share() -> str:
    """Share of the last hour's events that were refused, by feed (ratio)."""
    share = f"feed:costmeter_events_rejected:ratio1h{{{LEDGER}}}"
    return f"{share} or on (job) {zero('feed')}"


def commit_seconds() -> str:
    """Mean time of a write transaction, seconds."""
    return (
        f"{rate('costmeter_ledger_commit_seconds_total', 'instance')}"
        f" / ({rate('costmeter_ledger_commits_total', 'instance')} > 0)"
    )


def series_by_family(count: int) -> str:
    """Series that a scrape carries, by family, of the process with most of them."""
    return f"topk({count}, max by (job, family) (costmeter_series{{{CHOSEN}}}))"


def all_series() -> str:
    """Series that a scrape carries, all families together, one line a process."""
    return f"sum by (job, instance) (costmeter_series{{{CHOSEN}}})"


def label_values(label: str) -> str:
    """How many values of a label have spend of this month or the last under their own name."""
    level = f'{MONTH.rollup}{{{LEDGER}, {label}!=""}}'
    return f"count by (job) (count by (job, {label}) ({level}))"


def seconds_since(metric: str, *labels: str) -> str:
    """Time since a Unix time, of the process where it is latest, seconds."""
    latest = f"max by ({', '.join(['job', *labels])}) ({metric}{{{CHOSEN}}})"
    return f"time() - {latest}"


def job_column(metric: str) -> str:
    """One figure of each scheduled job."""
    return f"max by (job, job_name) ({metric}{{{CHOSEN}}})"


def job_failures() -> str:
    """Runs of each scheduled job that failed in a day; 0 for one that only succeeded."""
    failed = f"sum by (job, job_name) (increase(costmeter_job_failures_total{{{CHOSEN}}}[1d]))"
    known = job_column("costmeter_job_last_success_timestamp_seconds")
    return f"{failed} or 0 * {known}"


def gpu_sample_age() -> str:
    """Age of the newest complete GPU sample of each machine, seconds."""
    return f"max by (job, node) (gpu_sample_age_seconds{{{CHOSEN}}})"


INSTANCES = f"label_values(costmeter_build_info{{{LEDGER}}}, instance)"
