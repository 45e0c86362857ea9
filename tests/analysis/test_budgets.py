"""Where a budget stands: levels, states, the projection and the exhaustion."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.analysis.budgets import (
    EXPORTED_FIRST,
    EXPORTED_WORST,
    ORGANIZATION,
    assess,
    exported,
    families,
    period_of,
)
from costmeter.ledger.history import BudgetSpend
from costmeter.model import NANO_PER_USD, Budget

DAY = 86_400_000


def at(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000


def usd(amount: int) -> int:
    return amount * NANO_PER_USD


BUDGET = Budget("b", usd(100))


@pytest.mark.parametrize(
    ("spent", "level"),
    [(79, "none"), (80, "warning"), (94, "warning"), (95, "critical"), (100, "critical"),
     (101, "exceeded")],
)  # fmt: skip
def test_level_follows_the_thresholds(spent: int, level: str) -> None:
    status = assess(BUDGET, BudgetSpend(usd(spent), 0, None), at(2026, 11, 20))
    assert status.level == level


@pytest.mark.parametrize(
    ("recent", "state"),
    # Ten days are left: the forecast is 50 + recent / 7 * 10.
    [(27, "under_budget"), (29, "on_track"), (36, "at_risk"), (43, "projected_over")],
)
def test_state_follows_the_projection(recent: int, state: str) -> None:
    first = at(2026, 11, 1)
    status = assess(BUDGET, BudgetSpend(usd(50), usd(recent), first), at(2026, 11, 21))
    assert status.forecast == usd(50) + usd(recent) * 10 // 7
    assert status.state == state


def test_spent_over_the_limit_is_over_budget() -> None:
    status = assess(BUDGET, BudgetSpend(usd(100) + 1, 0, None), at(2026, 11, 20))
    assert (status.state, status.level, status.exhaustion_ms) == ("over_budget", "exceeded", None)


def test_the_first_hours_do_not_cry_wolf() -> None:
    """1 USD in the first hour of a ledger is a dollar a day, not 24."""
    now_ms = at(2026, 11, 1, 1)
    status = assess(BUDGET, BudgetSpend(usd(1), usd(1), at(2026, 11, 1)), now_ms)
    days_left = (at(2026, 12, 1) - now_ms) / DAY
    assert status.forecast == usd(1) + int(usd(1) * days_left)
    assert status.state == "under_budget"


def test_the_projection_does_not_jump_at_the_turn_of_the_month() -> None:
    """At a steady rate the old and the new month's projections agree."""
    recent = usd(70)
    before = assess(BUDGET, BudgetSpend(usd(300), recent, 0), at(2026, 11, 30, 23))
    after = assess(BUDGET, BudgetSpend(0, recent, 0), at(2026, 12, 1, 0))
    assert before.forecast == pytest.approx(usd(300), rel=0.01)
    assert after.forecast == pytest.approx(usd(310), rel=0.01)


def test_exhaustion_is_where_the_rate_meets_the_limit() -> None:
    now_ms = at(2026, 11, 10)
    status = assess(BUDGET, BudgetSpend(usd(30), usd(70), at(2026, 11, 1)), now_ms)
    assert status.exhaustion_ms == now_ms + 7 * DAY


def test_exhaustion_after_the_period_is_absent() -> None:
    status = assess(BUDGET, BudgetSpend(usd(30), usd(7), at(2026, 11, 1)), at(2026, 11, 20))
    assert status.exhaustion_ms is None


def test_a_week_of_credits_projects_no_negative_spend() -> None:
    status = assess(BUDGET, BudgetSpend(usd(30), -usd(10), at(2026, 11, 1)), at(2026, 11, 20))
    assert (status.forecast, status.exhaustion_ms) == (usd(30), None)


def test_the_period_is_the_month_of_the_budgets_own_zone() -> None:
    tokyo = Budget("t", 1, timezone="Asia/Tokyo")
    assert period_of(tokyo, at(2026, 10, 31, 15)) == (at(2026, 10, 31, 15), at(2026, 11, 30, 15))
    assert period_of(tokyo, at(2026, 10, 31, 14, 59))[1] == at(2026, 10, 31, 15)


@given(
    spent=st.integers(-(10**15), 10**15),
    recent=st.integers(-(10**15), 10**15),
    limit=st.integers(1, 10**15),
    hours=st.integers(0, 24 * 30 - 1),
)
def test_figures_are_whole_and_in_order(spent: int, recent: int, limit: int, hours: int) -> None:
    now_ms = at(2026, 11, 1) + hours * 3_600_000
    status = assess(Budget("b", limit), BudgetSpend(spent, recent, at(2026, 10, 1)), now_ms)
    assert isinstance(status.forecast, int)
    assert status.forecast >= spent
    if status.exhaustion_ms is not None:
        assert now_ms <= status.exhaustion_ms < status.end_ms
        assert status.forecast >= limit - 1


def test_of_many_budgets_the_first_and_the_worst_are_exported() -> None:
    statuses = [
        assess(Budget(f"b{n}", usd(100)), BudgetSpend(usd(n % 100), 0, None), at(2026, 11, 2))
        for n in range(EXPORTED_FIRST + EXPORTED_WORST + 300)
    ]
    shown = exported(statuses)
    assert shown[:EXPORTED_FIRST] == statuses[:EXPORTED_FIRST]
    assert len(shown) == EXPORTED_FIRST + EXPORTED_WORST
    left_out = set(statuses) - set(shown)
    assert min(s.spent for s in shown[EXPORTED_FIRST:]) >= max(s.spent for s in left_out)


def test_the_ledger_wide_budget_is_exported_without_labels_too() -> None:
    statuses = [
        assess(Budget(ORGANIZATION, usd(500)), BudgetSpend(usd(5), 0, None), at(2026, 11, 2)),
        assess(BUDGET, BudgetSpend(usd(5), 0, None), at(2026, 11, 2)),
    ]
    found = families(statuses)
    assert found["llm_budget_monthly"][0].labels == ((),)
    assert found["llm_budget_monthly"][0].values == (usd(500),)
    assert found["llm_budget_limit"][0].labels == (
        ("organization", "month", ""),
        ("b", "month", ""),
    )
    assert found["llm_budget_exhaustion_timestamp_seconds"] == ()
