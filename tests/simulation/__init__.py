"""A simulated month of an LLM platform, in a real Prometheus.

The real ledger, jobs, web application, GPU meter and renderer run on a clock that is moved by
hand: tenants with rhythms of their own send calls, exporters restart, a replica takes over,
prices change, a credit comes. What they export is scraped at every step and made into blocks of
a Prometheus database, with the recording rules.

    PYTHONPATH=exporter:tests python -m simulation --days 30 --out DIR [--serve PORT]
        [--replicas 2] [--tenants N] [--step 5m] [--fine 6h]
        [--density 0.5] [--end now|2026-11-20T15:00Z]

builds it in DIR (or takes what lies there) and, with --serve, keeps a Prometheus on it. A month
is ten million samples and takes some minutes; `--density 0.5` (half the calls, twice their size)
and `--fine 1h` make it shorter. Without --end it ends at a fixed instant in the past, so that two
runs give the same pictures; ask then for `from` and `to` as the command prints them.

In tests: `kept(WEEK)` or `kept(MONTH)` builds once and keeps it in the temporary folder;
`with copied(built, tmp_path).prometheus() as prometheus:` serves it.
"""

from simulation.build import Built, Shown, build, copied, kept, load
from simulation.scenario import MONTH, TWO_DAYS, WEEK, Scenario

__all__ = [
    "MONTH",
    "TWO_DAYS",
    "WEEK",
    "Built",
    "Scenario",
    "Shown",
    "build",
    "copied",
    "kept",
    "load",
]
