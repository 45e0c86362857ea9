"""The dashboard "Exporter health": whether the figures of the others can be trusted."""

from __future__ import annotations

from typing import Any

from dashboards import colours, house, panels, queries
from dashboards import health_queries as ask
from dashboards.panels import At, Look, Query
from dashboards.selection import ANYTHING

UID = "costmeter-exporter-health"
TITLE = "Exporter health"
ABOUT = (
    "Whether costmeter books what it is sent and shows what it booked. If something is red here,"
    " the other dashboards are late or incomplete."
)

#: The exporter hides its figures from 10 s on; the alert SnapshotStale stands at 30 s.
STALE = ((None, colours.GOOD), (10, colours.WARN), (30, colours.BAD))
#: The longest scrape interval that costmeter allows: a rate over less could miss every sample.
SCRAPED = "2m"
NONE_IS_GOOD = ((None, colours.GOOD), (1, colours.BAD))

_OUTCOMES = {
    "accepted": "semi-dark-green",
    "duplicate": "semi-dark-blue",
    "observed": colours.REST,
    "corrected": "semi-dark-purple",
    "rejected": "semi-dark-red",
}
_NO_TROUBLE = {"none": {"color": panels.fixed(colours.REST)}}


def _yes_no(yes: str, no: str) -> tuple[dict[str, Any], ...]:
    good = {"text": yes, "color": colours.GOOD, "index": 0}
    bad = {"text": no, "color": colours.BAD, "index": 1}
    return ({"type": "value", "options": {"1": good, "0": bad}},)


GLANCE = (
    panels.stat(
        "Ledger",
        At(0, 0, 4, 4),
        "Can usage be booked? Whether one of the chosen processes takes writes; a replica that only"
        " reads takes none.",
        Query(ask.highest("costmeter_ledger_up"), "writes", now=True),
        Look(
            "none",
            0,
            nothing="Not scraped",
            steps=((None, colours.BAD), (1, colours.GOOD)),
            mappings=_yes_no("takes writes", "refuses writes"),
        ),
        runbooks=("LedgerWriteFailing", "CostmeterDown"),
    ),
    panels.stat(
        "Snapshot age",
        At(4, 0, 4, 4),
        "Are the figures current? Age of the oldest state that a chosen process shows. From 10 s"
        " on that process hides its figures; the alert stands at 30 s.",
        Query(ask.highest("costmeter_snapshot_age_seconds"), "age", now=True),
        Look("s", 1, nothing="Not known", steps=STALE),
        runbooks=("SnapshotStale",),
    ),
    panels.stat(
        "Processes",
        At(8, 0, 4, 4),
        "How many processes show this ledger? Red means that none does.",
        Query(ask.processes(), "processes", now=True),
        Look("none", 0, nothing="None", steps=((None, colours.BAD), (1, colours.GOOD))),
        runbooks=("CostmeterDown",),
    ),
    panels.stat(
        "Version",
        At(12, 0, 4, 4),
        "What is running? Two versions side by side are an upgrade under way.",
        Query(ask.versions(), "{{version}}", now=True),
        Look("none", 0, nothing="Not known", colour=colours.CALM),
        text="name",
    ),
    panels.stat(
        "Configuration",
        At(16, 0, 4, 4),
        "Is the configuration that was written last the one that runs? After a reload that failed"
        " the old one goes on.",
        Query(ask.lowest("costmeter_config_reload_success"), "reload", now=True),
        Look(
            "none",
            0,
            nothing="Not known",
            steps=((None, colours.BAD), (1, colours.GOOD)),
            mappings=_yes_no("in force", "last reload failed"),
        ),
    ),
    panels.stat(
        "Events refused in a day",
        At(20, 0, 4, 4),
        "Is usage missing because it was refused? Events that were refused in the last 24 hours.",
        Query(ask.grown("costmeter_events_rejected_total", "1d"), "refused", now=True),
        Look("short", 0, nothing="Not known", steps=NONE_IS_GOOD),
        runbooks=("UsageIngestRejected",),
    ),
)

INTAKE = (
    panels.lines(
        "Events by outcome",
        At(0, 0, 12, 8),
        "What arrives, and what becomes of it? Events a minute: booked, booked before, compared"
        " only because another feed books them, corrected, refused.",
        [
            Query(ask.each_minute(f"costmeter_events_{outcome}_total"), outcome)
            for outcome in _OUTCOMES
        ],
        Look(
            "short",
            1,
            minimum=0,
            nothing="No events in this time range",
            lines=colours.by_name(_OUTCOMES),
        ),
        interval=SCRAPED,
        placement="right",
        stacked="normal",
    ),
    panels.lines(
        "Events booked by feed",
        At(12, 0, 12, 8),
        "Does a feed stay away? Events booked a minute by the credential that brought them.",
        [Query(ask.each_minute("costmeter_events_accepted_total", "feed"), "{{feed}}")],
        Look("short", 1, minimum=0, nothing="No events in this time range"),
        interval=SCRAPED,
        placement="right",
    ),
    panels.lines(
        "Events refused by reason",
        At(0, 8, 8, 7),
        "Why are events refused? Those of the last hour by reason.",
        [Query(ask.increase("costmeter_events_rejected_total", "reason", "1h"), "{{reason}}")],
        Look("short", 0, minimum=0, nothing="Not known", lines=_NO_TROUBLE),
        at_least=1,
        runbooks=("UsageIngestRejected",),
    ),
    panels.lines(
        "Share refused by feed",
        At(8, 8, 8, 7),
        "Whose events are refused? Share of the last hour's events of each feed, of all"
        " processes. The alert stands at 1 %.",
        [Query(ask.rejected_share(), "{{feed}}")],
        Look(
            "percentunit",
            2,
            minimum=0,
            nothing="Not known",
            lines=_NO_TROUBLE,
            steps=((None, "transparent"), (0.01, colours.WARN)),
        ),
        at_least=0.02,
        limits=True,
        runbooks=("UsageIngestRejected",),
    ),
    panels.lines(
        "Waiting to be booked",
        At(16, 8, 8, 7),
        "Does the ledger keep up? Events that wait for a commit, and bodies a second that were"
        " told to come back later (429).",
        [
            Query(ask.by_instance("costmeter_ingest_queue_events"), "waiting at {{instance}}"),
            Query(ask.rate("costmeter_ingest_throttled_total"), "told to wait, a second"),
        ],
        Look(
            "short",
            1,
            minimum=0,
            nothing="Not known",
            lines=colours.by_name({"told to wait, a second": "semi-dark-red"}),
        ),
        interval=SCRAPED,
        at_least=1,
        calcs=("max", "lastNotNull"),
    ),
)

LEDGER = (
    panels.lines(
        "Age of what is shown",
        At(0, 0, 8, 7),
        "Did a process fall behind? Age of the state that each one shows; from 10 s on it hides"
        " its figures.",
        [Query(ask.by_instance("costmeter_snapshot_age_seconds"), "{{instance}}")],
        Look("s", 1, minimum=0, nothing="Not known", steps=STALE),
        limits=True,
        calcs=("max", "lastNotNull"),
        runbooks=("SnapshotStale",),
    ),
    panels.lines(
        "Time of a commit",
        At(8, 0, 8, 7),
        "Is the disk slow? Mean time of a write transaction.",
        [Query(ask.commit_seconds(), "{{instance}}")],
        Look("s", 1, minimum=0, nothing="No commits in this time range"),
        interval=SCRAPED,
        calcs=("mean", "max"),
        runbooks=("LedgerWriteFailing",),
    ),
    panels.lines(
        "Failed writes",
        At(16, 0, 8, 7),
        "Did writes fail, and why? Those of the last hour by reason.",
        [
            Query(
                ask.increase("costmeter_ledger_write_failures_total", "reason", "1h"),
                "{{reason}}",
            )
        ],
        Look("short", 0, minimum=0, nothing="Not known", lines=_NO_TROUBLE),
        at_least=1,
        calcs=("max", "lastNotNull"),
        runbooks=("LedgerWriteFailing",),
    ),
    panels.lines(
        "Size of the ledger",
        At(0, 7, 12, 7),
        "How fast does it grow, and is there room? Size of the ledger's files, and free space"
        " beside them on its own axis.",
        [
            Query(ask.highest("costmeter_ledger_size_bytes"), "ledger"),
            Query(ask.lowest("costmeter_ledger_free_bytes"), "free"),
        ],
        Look(
            "bytes",
            1,
            minimum=0,
            nothing="Not known",
            lines={
                "ledger": {"color": panels.fixed(colours.MONEY), "custom.axisLabel": "ledger"},
                "free": {
                    "color": panels.fixed(colours.REST),
                    "custom.axisPlacement": "right",
                    "custom.fillOpacity": 0,
                    "custom.axisLabel": "free",
                },
            },
        ),
        calcs=("min", "lastNotNull"),
        runbooks=("LedgerWriteFailing",),
    ),
    panels.table(
        "Scheduled jobs",
        At(12, 7, 12, 7),
        "Do backup, pruning and the other jobs run? When each last succeeded, how long its last run"
        " took, and how often it failed in a day.",
        [
            Query(
                ask.seconds_since("costmeter_job_last_success_timestamp_seconds", "job_name"),
                now=True,
                table=True,
            ),
            Query(ask.job_column("costmeter_job_duration_seconds"), now=True, table=True),
            Query(ask.job_failures(), now=True, table=True),
        ],
        Look(
            "s",
            1,
            nothing="No job has run yet",
            lines={
                "Job": {"unit": "string"},
                "Last success": {"unit": "dtdurations", "decimals": 0},
                "Failures in a day": {
                    "unit": "short",
                    "decimals": 0,
                    "custom.cellOptions": {"type": "color-text"},
                    "color": {"mode": "thresholds"},
                    "thresholds": {
                        "mode": "absolute",
                        "steps": [
                            {"value": None, "color": colours.GOOD},
                            {"value": 1, "color": colours.BAD},
                        ],
                    },
                },
            },
        ),
        [
            "job_name as Job",
            "Value #A as Last success",
            "Value #B as Last run took",
            "Value #C as Failures in a day",
        ],
        sort="Last success",
    ),
)

SERIES = (
    panels.lines(
        "Series of a scrape",
        At(0, 0, 8, 8),
        "How much does Prometheus get? Series that each process shows, all families together.",
        [Query(ask.all_series(), "{{instance}}")],
        Look("short", 0, minimum=0, nothing="Not known"),
        calcs=("max", "lastNotNull"),
        runbooks=("SeriesOverflow",),
    ),
    panels.bars(
        "Series by family",
        At(8, 0, 8, 8),
        "Which metrics make them up? The ten largest families.",
        [Query(ask.series_by_family(10), "{{family}}", now=True)],
        Look("short", 0, minimum=0, nothing="Not known"),
    ),
    panels.lines(
        "Values with a series of their own",
        At(16, 0, 8, 4),
        "Is a label near its limit? Tenants, models and environments that spent this month or the"
        " last; the limits are `series` in the configuration. Every process shows the same.",
        [Query(ask.label_values(label), label) for label in ("tenant_id", "model", "environment")],
        Look("short", 0, minimum=0, nothing="No spend yet"),
        calcs=(),
        placement="right",
        runbooks=("SeriesOverflow",),
    ),
    panels.lines(
        "New values that went to _other",
        At(16, 4, 8, 4),
        "Was a limit reached? New values of the last hour that got no series of their own, by"
        " label. No amount is lost.",
        [Query(ask.increase("costmeter_series_overflow_total", "label", "1h"), "{{label}}")],
        Look("short", 0, minimum=0, nothing="Not known", lines=_NO_TROUBLE),
        at_least=1,
        calcs=(),
        placement="right",
        runbooks=("SeriesOverflow",),
    ),
)

SOURCES = (
    panels.stat(
        "Unpriced calls",
        At(0, 0, 4, 7),
        "Calls without a price now. They cost nothing until a price is there.",
        Query(queries.unpriced_everywhere(), "calls", now=True),
        Look("short", 0, nothing="Not known", steps=NONE_IS_GOOD),
        runbooks=("UnpricedUsage",),
    ),
    panels.stat(
        "Price catalogue",
        At(4, 0, 4, 7),
        "How old are the prices? Age of the oldest catalogue among the processes. Yellow after 30"
        " days, red after 90.",
        Query(ask.highest("costmeter_prices_age_seconds"), "age", now=True),
        Look(
            "s",
            0,
            nothing="Not known",
            steps=((None, colours.GOOD), (30 * 86400, colours.WARN), (90 * 86400, colours.BAD)),
        ),
    ),
    panels.lines(
        "Age of GPU samples",
        At(8, 0, 8, 7),
        "Do the GPUs answer? Age of the newest complete sample of each machine with GPUs.",
        [Query(ask.gpu_sample_age(), "{{node}}")],
        Look("s", 1, minimum=0, nothing="No GPUs are sampled"),
        calcs=("max", "lastNotNull"),
        runbooks=("GPULost", "GPUXidErrors", "GPUThrottled"),
    ),
    panels.lines(
        "GPU trouble in an hour",
        At(16, 0, 8, 7),
        "GPUs that stopped answering, and GPU-seconds over 3,600 an hour that were set aside.",
        [
            Query(ask.grown("gpu_lost_total", "1h"), "lost"),
            Query(ask.grown("costmeter_gpu_excess_seconds_total", "1h"), "seconds set aside"),
        ],
        Look(
            "short",
            0,
            minimum=0,
            nothing="Not known",
            lines=colours.by_name({"lost": "semi-dark-red", "seconds set aside": colours.REST}),
        ),
        at_least=1,
        calcs=("max",),
        runbooks=("GPULost", "AgentSpoolFilling"),
    ),
)

PROCESS = (
    panels.lines(
        "Memory",
        At(0, 0, 6, 7),
        "Does a process grow? Resident memory of each.",
        [Query(ask.by_instance("process_resident_memory_bytes"), "{{instance}}")],
        Look("bytes", 0, minimum=0, nothing="Not known"),
        calcs=("max", "lastNotNull"),
    ),
    panels.lines(
        "CPU",
        At(6, 0, 6, 7),
        "How busy is a process? 100 % is one core.",
        [Query(ask.rate("process_cpu_seconds_total", "instance"), "{{instance}}")],
        Look("percentunit", None, minimum=0, nothing="Not known"),
        interval=SCRAPED,
        calcs=("mean", "max"),
    ),
    panels.lines(
        "Time of a scrape",
        At(12, 0, 6, 7),
        "Are scrapes quick? What Prometheus waited for, and what costmeter needed to write it.",
        [
            Query(ask.by_instance("scrape_duration_seconds"), "{{instance}}, whole"),
            Query(ask.by_instance("costmeter_scrape_seconds"), "{{instance}}, written"),
        ],
        Look("s", 1, minimum=0, nothing="Not known"),
        calcs=("mean", "max"),
    ),
    panels.lines(
        "Incomplete scrapes in an hour",
        At(18, 0, 6, 7),
        "Was a metric missing because it could not be read? By the part that failed; the log says"
        " why.",
        [Query(ask.increase("costmeter_collector_failures_total", "part", "1h"), "{{part}}")],
        Look("short", 0, minimum=0, nothing="Not known", lines=_NO_TROUBLE),
        at_least=1,
        calcs=("max",),
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
            "What comes in": INTAKE,
            "The ledger": LEDGER,
            "What goes out": SERIES,
            "Prices and GPUs": SOURCES,
            "The processes": PROCESS,
        },
        [
            house.source_variable(),
            house.variable("ledger", "Ledger", queries.LEDGERS),
            house.variable("instance", "Process", ask.INSTANCES, ANYTHING),
        ],
        [
            house.dashboard_link(
                "LLM Cost Monitoring", "costmeter-llm-cost", "What it costs, and who spends it"
            ),
            house.page_link(
                "Alerts and runbooks", f"{house.REPOSITORY}/docs/alerts.md", "What to do when"
            ),
            house.page_link(
                "Operations", f"{house.REPOSITORY}/docs/operations.md", "Backup, upgrade, trouble"
            ),
        ],
        start="now-24h",
        refresh="1m",
    )
