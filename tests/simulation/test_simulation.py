"""The simulation's own arithmetic: order of rules, the clamp, steps, and that it repeats itself."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from costmeter.analysis.plausibility import check
from costmeter.config import load_config
from costmeter.model import Usage
from costmeter.pricing import load_price_book
from rules.tools import program
from simulation.archive import BlockFiles, Page, Scraper
from simulation.calls import Caller
from simulation.grafana import rounded, span_ms
from simulation.money import MISTYPED, history, settings
from simulation.plan import Fold, UnknownForm, plan
from simulation.scenario import WEEK, Scenario
from simulation.workloads import WORKLOADS, expected_nano, labels_of, workloads_of

COUNTER = "llm_cost_total"
FOLD = Fold("r:clamped", COUNTER, frozenset({"instance"}), clamped=True)


def rules(folder: Path, *pairs: tuple[str, str]) -> Path:
    lines = ["groups:", "- name: a", "  rules:"]
    lines += [f"  - {{record: '{record}', expr: '{text}'}}" for record, text in pairs]
    path = folder / "some.rules.yml"
    path.write_text("\n".join(lines), "utf-8")
    return path


def test_every_shipped_rule_has_its_place() -> None:
    found = plan()
    clamped = {fold.record for folds in found.folds.values() for fold in folds if fold.clamped}
    assert "series:llm_cost_total:clamped" in clamped
    seen = {fold.record for folds in found.folds.values() for fold in folds}
    everything = {rule.record for level in found.levels for rule in level} | seen
    for level in found.levels:
        for rule in level:
            read = {name for name in everything if f"{name}" in rule.expression.split()}
            assert read <= seen, f"{rule.record} stands before what it reads"
        seen |= {rule.record for rule in level}
    assert {alert.name for alert in found.alerts} >= {"BudgetExceeded", "CostSpike"}


def test_rules_are_ordered_by_what_they_read(tmp_path: Path) -> None:
    path = rules(
        tmp_path,
        ("b:two", "b:one + 1"),
        ("b:one", "sum(a:fold)"),
        ("a:fold", "max without (i) (m)"),
    )
    found = plan([path])
    assert found.folds == {"m": [Fold("a:fold", "m", frozenset({"i"}), clamped=False)]}
    assert [[rule.record for rule in level] for level in found.levels] == [["b:one"], ["b:two"]]


def test_a_rule_that_reads_itself_in_another_way_is_refused(tmp_path: Path) -> None:
    path = rules(tmp_path, ("a:b", "max(m) or last_over_time(a:b[5m])"))
    with pytest.raises(UnknownForm, match="a:b"):
        plan([path])


@pytest.mark.parametrize(
    ("values", "minutes", "recorded"),
    [
        ((100, 99.5, 101), 1, ("100", "100", "101")),  # a replica that was ahead went away
        ((100, 50, 51), 1, ("100", "50", "51")),  # a restored ledger
        ((100, 99.5), 11, ("100", "99.5")),  # nothing recorded for over ten minutes
    ],
)
def test_recorded_counters_are_clamped(
    tmp_path: Path, values: tuple[float, ...], minutes: int, recorded: tuple[str, ...]
) -> None:
    files = BlockFiles(tmp_path / "om", tmp_path / "blocks")
    scraper = Scraper(files, {COUNTER: [FOLD]})
    for number, value in enumerate(values):
        page = Page(f'{COUNTER}{{tenant_id="a b"}} {value}\n'.encode(), 0.01)
        other = Page(f'{COUNTER}{{tenant_id="a b"}} {value / 2}\n'.encode(), 0.01)
        scraper.scrape(number * minutes * 60_000, {"one:1": page, "two:1": other, "three:1": None})
    files.close()
    (tmp_path / "blocks" / "wal").mkdir()  # promtool looks for one
    dumped = subprocess.run(
        [
            program("promtool"), "tsdb", "dump", "--match", '{__name__=~"r:clamped|up"}',
            str(tmp_path / "blocks"),
        ],
        capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    folded = [line for line in dumped if "r:clamped" in line]
    assert [line.split()[-2] for line in folded] == list(recorded)
    assert all('job="costmeter"' in line and "instance" not in line for line in folded)
    silent = [line for line in dumped if 'instance="three:1"' in line]
    assert [line.split()[-2] for line in silent] == ["0"] * len(values)


def test_the_same_seed_gives_the_same_calls() -> None:
    scenario = Scenario(days=1)
    span = (scenario.end_ms - 3_600_000, scenario.end_ms)
    first, second = (Caller(0, WORKLOADS[0], scenario).between(*span) for _ in range(2))
    assert first == second
    assert len(first) > 10
    other = Caller(0, WORKLOADS[0], Scenario(days=1, seed=1)).between(*span)
    assert other != first


def test_ticks_are_finer_at_the_end() -> None:
    scenario = Scenario(days=1, fine_hours=1)
    ticks = list(scenario.ticks())
    assert len(ticks) == 23 * 12 + 60
    assert scenario.start_ms < ticks[0]
    assert ticks[-1] < scenario.end_ms
    assert {b - a for a, b in pairwise(ticks)} == {60_000, 300_000}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"step_seconds": 420}, "divide an hour"),
        ({"replicas": 3}, "1 or 2"),
        ({"days": 0}, "1 to 400"),
    ],
)
def test_what_cannot_be_simulated_is_said(wrong: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Scenario(**wrong)


def test_many_tenants_and_few() -> None:
    assert len({workload.tenant_id for workload in workloads_of(40)}) == 40
    assert {workload.tenant_id for workload in workloads_of(1)} == {"acme"}


def test_every_named_model_but_the_platforms_own_has_a_price() -> None:
    prices, scenario = load_price_book(), Scenario()
    span = (scenario.start_ms, scenario.end_ms)
    without = {w.provider for w in WORKLOADS if not expected_nano(w, prices, *span, *span)}
    assert without == {"vllm"}


def test_budgets_are_of_every_kind(tmp_path: Path) -> None:
    config = load_config(_written(tmp_path, WEEK), {})
    items = {item.name: item for item in config.budgets.items}
    assert {item.period for item in items.values()} == {"day", "week", "month", "quarter"}
    assert all(item.owner and item.limit_nano for item in items.values())
    # One plan is over, one goes on at the end of the time, one is still to come.
    end = datetime.fromtimestamp(WEEK.end_ms / 1000, UTC).replace(tzinfo=None)
    spans = [
        (at := datetime.fromisoformat(plan.at), at + timedelta(hours=plan.hours))
        for plan in items["research"].planned
    ]
    assert [(at <= end, until <= end) for at, until in spans] == [
        (True, True), (True, False), (False, False),
    ]  # fmt: skip


def test_history_has_every_hour_and_costs_what_is_to_be_expected() -> None:
    prices = load_price_book()
    named = [workload for workload in WORKLOADS if workload.feature == "agent"]
    usages = history(WEEK, named, prices)
    hours = [usage.at_ms for usage in usages]
    assert {b - a for a, b in pairwise(hours)} == {3_600_000}
    assert hours[-1] == WEEK.start_ms - 3_600_000
    booked = sum(priced[1] for priced in prices.price_batch(usages) if priced)
    span = (WEEK.start_ms, WEEK.end_ms)
    wanted = expected_nano(named[0], prices, hours[0], WEEK.start_ms, *span)
    assert booked == pytest.approx(wanted, rel=0.05)


def test_a_call_at_the_mistyped_price_cannot_be_right(tmp_path: Path) -> None:
    (tmp_path / "prices.yml").write_text(yaml.safe_dump({"prices": [MISTYPED]}), "utf-8")
    prices = load_price_book([tmp_path / "prices.yml"])
    labels = labels_of(WORKLOADS[0])._replace(
        provider=MISTYPED["provider"], model=MISTYPED["model"]
    )
    call = Usage("a", WEEK.end_ms, "sdk", labels, {"input": 3_000, "output": 100})
    (priced,) = prices.price_batch([call])
    assert priced is not None
    found = check(call, priced[1], None)
    assert found is not None
    assert found.bound == "ceiling"


def _written(folder: Path, scenario: Scenario) -> Path:
    path = folder / "costmeter.yml"
    found = settings(folder, scenario, workloads_of(scenario.tenants), prices=0)
    path.write_text(yaml.safe_dump(found), "utf-8")
    return path


def test_steps_are_those_that_people_know() -> None:
    assert [rounded(ms) for ms in (900, 20_000, 162_000, 2_400_000, 4_000_000)] == [
        1_000, 20_000, 120_000, 1_800_000, 3_600_000,
    ]  # fmt: skip
    assert span_ms("1h") == 3_600_000
