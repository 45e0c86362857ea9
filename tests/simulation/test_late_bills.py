"""Bills that stay away for days and then come at once: totals are right, and nobody is woken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from costmeter.ledger.store import open_for_reading
from simulation import WEEK, Shown, copied, kept

#: Alerts that are about money; of the others a failing source is right to tell.
ABOUT_MONEY = "BudgetExceeded|BudgetWarning|ForecastOverBudget|CostSpike|HighCostPerRequest|"
ABOUT_MONEY += "UnexpectedTenantCost|BillMismatch|LowGPUEfficiency|UnconvertedCurrency"
WHICH = ("alertname", "tenant_id", "budget", "provider", "model", "scope")


def _shown(late: bool, factory: pytest.TempPathFactory) -> Iterator[Shown]:
    # In time: the history that the dashboards are shown on.
    scenario = replace(WEEK, bills_late=True, analysis=False) if late else WEEK
    built = copied(kept(scenario), factory.mktemp("history"))
    with built.prometheus() as prometheus:
        yield Shown(built, prometheus)


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    yield from _shown(False, tmp_path_factory)


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    yield from _shown(True, tmp_path_factory)


def fired(shown: Shown) -> set[tuple[str, ...]]:
    """Which alerts about money fired at any time."""
    days = shown.built.scenario.days
    found = shown.prometheus.query(
        f'max_over_time(ALERTS{{alertstate="firing", alertname=~"{ABOUT_MONEY}"}}[{days}d])',
        shown.built.end_ms / 1000,
    )
    return {tuple(dict(labels).get(name, "") for name in WHICH) for labels in found}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_alert_fires_for_bills_that_come_at_once(prompt: Shown, late: Shown) -> None:
    usual = fired(prompt)
    assert usual
    assert fired(late) - usual == set()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_of_them_are_in_the_totals(late: Shown) -> None:
    store = open_for_reading(late.built.ledger)
    try:
        rows = store.connection.execute(
            "SELECT scope, count(*), min(status), sum(billed) FROM settlement AS s WHERE rev = "
            "(SELECT max(rev) FROM settlement WHERE scope = s.scope AND day = s.day) "
            "AND scope IN ('openrouter', 'anthropic') GROUP BY scope"
        ).fetchall()
    finally:
        store.close()
    days = {scope: count for scope, count, _, _ in rows}
    billed = {scope: nano for scope, _, _, nano in rows}
    assert days == {"anthropic": 8, "openrouter": 8}
    assert billed["openrouter"] == 8 * 90_000_000_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_week_that_comes_at_once_enters_the_counter_little_by_little(late: Shown) -> None:
    # 630 USD within a moment; released over days, no hour gets more than a few of them.
    hours = late.prometheus.matrix(
        'sum(increase(llm_cost_total{provider="openrouter"}[1h]))',
        late.built.start_ms, late.built.end_ms, 3_600_000,
    )  # fmt: skip
    values = [float(value) for _, row in hours for _, value in row]
    assert 0 < max(values) < 30
