"""How long the panels of a dashboard take on a Prometheus with many tenants.

    PYTHONPATH=exporter:tests:. python tests/benchmarks/bench_dashboards.py
        [--tenants 250 500 1000 2000] [--days 1 3 7] [--dashboard llm-cost-monitoring] [--keep DIR]

For each number of tenants a Prometheus database is filled with as many days as the longest
range has, at 5-minute steps, and every query of the dashboard is asked as Grafana asks it on a
page of 1600 pixels, one after the other: at its step for the range, or once for a single figure.
Printed are the shortest of three waits for each panel and the CPU time that Prometheus took for
it, and their sums; the aim is 2 s for all.

The database holds what the dashboard reads: the recorded series, in which replicas are folded,
and the exporter's own. They are written by the renderer's own line layout with made-up values,
not by recording rules over raw series: Prometheus answers from the same blocks either way, and
the filling takes minutes in place of hours. Raw families, which no panel reads, are left out.

A tenant has one or two models, each with calls and three classes of tokens; a quarter of the
tenants has a budget. Spend falls off as the rank of the tenant grows.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from costmeter.metrics.catalog import BUDGET_LABELS, CALL_LABELS, COST_LABELS, PERIOD_LABELS, Family
from costmeter.metrics.text import Shape
from costmeter.model import MS_PER_DAY, NANO_PER_USD
from simulation.archive import BlockFiles
from simulation.grafana import Dashboard, dashboards
from simulation.scenario import FIXED_END_MS, SCRAPE_OFFSET_MS
from simulation.served import History, folder_of
from simulation.workloads import EVENING

STEP_MS = 300_000
AIM_SECONDS = 2.0
_TIMES = 3
JOB = "costmeter"
MODELS = (
    ("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("openai", "gpt-5"), ("openai", "o4-mini"),
    ("anthropic", "claude-sonnet-4-5"), ("anthropic", "claude-haiku-4-5"),
    ("google", "gemini-2.5-pro"), ("google", "gemini-2.5-flash"), ("mistral", "mistral-large"),
    ("deepseek", "deepseek-chat"),
)  # fmt: skip
TOKEN_SHARES = (("input", 1_200), ("cache_read", 900), ("output", 200))
#: A value at a moment: from the calls so far, the calls of this day, the calls of the last hour.
Value = Callable[[float, float, float], int]


@dataclass(frozen=True, slots=True)
class Series:
    """All series of one name: their lines with a gap for each value, and what fills it."""

    lines: bytes
    weights: tuple[float, ...]
    value: Value


@dataclass(frozen=True, slots=True)
class Tuple:
    """One tenant on one model; `weight` is its calls an hour."""

    tenant: str
    provider: str
    model: str
    weight: float


def tuples(tenants: int) -> list[Tuple]:
    found = []
    for rank in range(tenants):
        for number in range(1 + rank % 2):
            provider, model = MODELS[(7 * rank + 3 * number) % len(MODELS)]
            found.append(Tuple(f"tenant-{rank:04d}", provider, model, 400 / (rank + 2) ** 0.8))
    return found


def families(tenants: int) -> list[Series]:
    """Everything that the dashboard reads; an average call costs 0.02 USD."""
    every = tuples(tenants)
    weights = [item.weight for item in every]
    cost = [("llm_api", t.provider, t.model, t.tenant, "prod") for t in every]
    calls = [(t.provider, t.model, t.tenant, "prod") for t in every]
    # Nano-USD of a call: what a counter, a day, a month add up to.
    nano = NANO_PER_USD // 50
    month: Value = lambda total, *_: int(total * nano)  # noqa: E731
    today: Value = lambda _, day, __: int(day * nano)  # noqa: E731
    hourly: Value = lambda _, __, hour: int(hour * nano)  # noqa: E731
    found = [
        _series("series:llm_cost_month_to_date:max", COST_LABELS, cost, weights, month),
        _series("series:llm_cost_day_to_date:max", COST_LABELS, cost, weights, today),
        _series("series:llm_net_cost:increase1h", COST_LABELS, cost, weights, hourly),
        _series("series:llm_net_cost:sum24h", COST_LABELS, cost, weights,
                lambda _, __, hour: int(24 * hour * nano)),
        _series("series:llm_net_cost:change24h", COST_LABELS, cost, weights,
                lambda _, __, hour: int((hour - 0.5) * nano)),
        *_levels("rollup:llm_cost_month_to_date:sum", COST_LABELS, cost, weights, month),
        *_levels("rollup:llm_cost_day_to_date:sum", COST_LABELS, cost, weights, today),
        *_levels("rollup:llm_net_cost:increase1h", COST_LABELS, cost, weights, hourly),
        *_levels("rollup:llm_requests:increase1h", (*CALL_LABELS, "status"),
                 [(*labels, "ok") for labels in calls], weights,
                 lambda _, __, hour: int(hour), "count"),
        _series("series:llm_cost_last_month:max", PERIOD_LABELS,
                sorted({("llm_api", t.provider, t.tenant) for t in every}), None,
                lambda *_: 500 * NANO_PER_USD),
        _series("series:llm_requests_total:clamped", (*CALL_LABELS, "status"),
                [(*labels, "ok") for labels in calls], weights,
                lambda total, *_: int(total), "count"),
    ]  # fmt: skip
    for name, tokens in TOKEN_SHARES:
        found += _levels(
            "rollup:llm_tokens:increase1h", (*CALL_LABELS, "token_class"),
            [(*labels, name) for labels in calls], weights,
            lambda _, __, hour, tokens=tokens: int(hour * tokens), "count",
        )  # fmt: skip
        found.append(
            _series("series:llm_tokens_total:clamped", (*CALL_LABELS, "token_class"),
                    [(*labels, name) for labels in calls], weights,
                    lambda total, *_, tokens=tokens: int(total * tokens), "count")
        )  # fmt: skip
    return [*found, *_budgets(every), *_own()]


def _budgets(every: Sequence[Tuple]) -> Iterator[Series]:
    owners = sorted({item.tenant for item in every})[::4]
    weight = {item.tenant: item.weight for item in every}
    labels = [("organization", "month", ""), *((name, "month", name) for name in owners)]
    weights = [sum(weight.values()), *(weight[name] for name in owners)]
    nano, month = NANO_PER_USD // 50, 24 * 30
    yield from (
        _series(name, BUDGET_LABELS, labels, weights, value)
        for name, value in (
            ("budget:llm_budget_spent:max", lambda total, *_: int(total * nano)),
            ("budget:llm_budget_forecast:max", lambda _, __, hour: int(hour * month * nano)),
            ("budget:llm_budget_cost:increase1d", lambda _, __, hour: int(24 * hour * nano)),
        )
    )
    yield _series("budget:llm_budget_limit:max", BUDGET_LABELS, labels, None,
                  lambda *_: 10_000 * NANO_PER_USD)  # fmt: skip
    for name in ("budget:llm_budget_spent:ratio", "budget:llm_budget_forecast:ratio"):
        yield _series(name, BUDGET_LABELS, labels, weights,
                      lambda total, *_: int(total), "milli")  # fmt: skip
    yield _series("budget:llm_budget_exhaustion_timestamp_seconds:max", BUDGET_LABELS, labels,
                  None, lambda *_: FIXED_END_MS, "milli")  # fmt: skip


def _own() -> Iterator[Series]:
    yield _series("costmeter_ledger_up", ("instance",), [("a",)], None, lambda *_: 1, "count")
    yield _series("costmeter_unpriced_requests", ("instance", "provider", "model"),
                  [("a", *model) for model in MODELS[-2:]], [3.0, 1.0],
                  lambda total, *_: int(total), "count")  # fmt: skip
    yield _series("job:gpu_utilization_percent:avg", (), [()], None, lambda *_: 40, "count")
    yield _series("gpu_instance_count", ("instance", "node", "gpu_model"), [("a", "n1", "H100")],
                  None, lambda *_: 4, "count")  # fmt: skip


def _levels(
    name: str,
    labels: Sequence[str],
    values: Sequence[tuple[str, ...]],
    weights: Sequence[float],
    value: Value,
    scale: str = "nano",
) -> Iterator[Series]:
    """The three levels of a rollup, as `alert_rules/dashboards.rules.yml` records them."""
    for dropped in ({"tenant_id", "model"}, {"model"}, {"tenant_id"}):
        places = [place for place, label in enumerate(labels) if label not in dropped]
        sums: dict[tuple[str, ...], float] = {}
        for item, weight in zip(values, weights, strict=True):
            kept = tuple(item[place] for place in places)
            sums[kept] = sums.get(kept, 0.0) + weight
        kept_labels = [labels[place] for place in places]
        yield _series(name, kept_labels, list(sums), list(sums.values()), value, scale)


def _series(
    name: str,
    labels: Sequence[str],
    values: Sequence[tuple[str, ...]],
    weights: Sequence[float] | None,
    value: Value,
    scale: str = "nano",
) -> Series:
    shape = Shape(Family(name, "gauge", (), "", scale), ("job", *labels))  # type: ignore[arg-type]
    # 256 at once, as the renderer's chunks are; every line gets a gap for its time.
    lines = shape.lines(tuple((JOB, *item) for item in values), plain=False)
    return Series(lines.replace(b"\n", b" @\n"), tuple(weights or [1.0] * len(values)), value)


def fill(folder: Path, tenants: int, days: int) -> tuple[int, int]:
    """Blocks of so many days up to the fixed end; how many series and samples."""
    start_ms = FIXED_END_MS - days * MS_PER_DAY
    every = families(tenants)
    files = BlockFiles(folder / "scraped", folder_of(folder))
    total = day = 0.0
    for at_ms in range(start_ms, FIXED_END_MS, STEP_MS):
        hour = EVENING[at_ms // 3_600_000 % 24]
        day = 0.0 if at_ms % MS_PER_DAY == 0 else day
        total, day = total + hour / 12, day + hour / 12
        stamp = b"%d.%03d" % divmod(at_ms + SCRAPE_OFFSET_MS, 1000)
        texts = []
        for series in every:
            value = series.value
            values = tuple([value(w * total, w * day, w * hour) for w in series.weights])
            texts.append(series.lines.replace(b"@", stamp) % values)
        files.write(at_ms, texts)
    files.close()
    count = sum(len(series.weights) for series in every)
    return count, count * (days * MS_PER_DAY // STEP_MS)


@dataclass(slots=True)
class Spent:
    """Seconds of a panel: the shortest wait, and the CPU time of Prometheus for one asking."""

    waited: float = 0.0
    cpu: float = 0.0


def timed(prometheus: History, dashboard: Dashboard, days: int) -> dict[str, Spent]:
    """Each panel: its queries one after the other, each three times."""
    found: dict[str, Spent] = {}
    for target in dashboard.targets({"ledger": [JOB]}, FIXED_END_MS, range_ms=days * MS_PER_DAY):
        spent = found.setdefault(target.panel, Spent())
        shortest, before = math.inf, _cpu_seconds(prometheus)
        for _ in range(_TIMES):
            began = time.perf_counter()
            if target.instant:
                prometheus.query(target.expression, target.end_ms / 1000)
            else:
                prometheus.matrix(target.expression, target.start_ms, target.end_ms, target.step_ms)
            shortest = min(shortest, time.perf_counter() - began)
        spent.waited += shortest
        spent.cpu += (_cpu_seconds(prometheus) - before) / _TIMES
    return found


def _cpu_seconds(prometheus: History) -> float:
    """CPU time of Prometheus so far; on a shared machine it tells more than the wait."""
    assert prometheus.process is not None
    fields = Path(f"/proc/{prometheus.process.pid}/stat").read_text("ascii").rpartition(")")[2]
    user, system = fields.split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, nargs="+", default=[250, 500, 1000, 2000])
    parser.add_argument("--days", type=int, nargs="+", default=[1, 3, 7])
    parser.add_argument("--dashboard", default="llm-cost-monitoring")
    parser.add_argument("--keep", type=Path, help="keep and reuse the databases in this folder")
    arguments = parser.parse_args()
    dashboard = next(item for item in dashboards() if item.name == arguments.dashboard)
    sums: dict[tuple[int, int], Spent] = {}
    root = arguments.keep or Path(tempfile.mkdtemp(prefix="bench-dashboards-"))
    try:
        for tenants in arguments.tenants:
            folder = root / f"{tenants}-{max(arguments.days)}"
            if not folder.exists():
                began = time.perf_counter()
                series, samples = fill(folder, tenants, max(arguments.days))
                print(
                    f"{tenants} tenants: {series:,} series, {samples:,} samples, filled in "
                    f"{time.perf_counter() - began:.0f} s",
                    flush=True,
                )
            with History(folder) as prometheus:
                for days in arguments.days:
                    panels = timed(prometheus, dashboard, days)
                    sums[tenants, days] = _show(tenants, days, panels)
    finally:
        if arguments.keep is None:
            shutil.rmtree(root)
    print(f"\nall panels together: seconds waited / CPU (aim: {AIM_SECONDS:g} s)")
    print("tenants".rjust(8) + "".join(f"{f'{days} d':>15}" for days in arguments.days))
    for tenants in arguments.tenants:
        row = [sums[tenants, days] for days in arguments.days]
        print(f"{tenants:8}" + "".join(f"{s.waited:8.2f} /{s.cpu:5.2f}" for s in row))


def _show(tenants: int, days: int, panels: dict[str, Spent]) -> Spent:
    print(f"\n{tenants} tenants, range of {days} days: ms waited and CPU of a panel")
    together = Spent()
    for panel, spent in sorted(panels.items(), key=lambda item: -item[1].cpu):
        print(f"{1000 * spent.waited:9.1f}{1000 * spent.cpu:9.1f}  {panel}")
        together.waited += spent.waited
        together.cpu += spent.cpu
    print(f"{1000 * together.waited:9.1f}{1000 * together.cpu:9.1f}  together", flush=True)
    return together


if __name__ == "__main__":
    main()
