"""A budget's counter when budgets come, go and change on a running ledger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from costmeter.ledger.terms import Terms
from costmeter.ledger.upkeep import apply_budgets
from costmeter.ledger.verify import verify
from costmeter.model import Budget
from faults.ledgers import Ledger, usage

PAID = 2_500_000_000
ACME = Budget("b", 10**12, (("tenant_id", "acme"),))
TEAM_A, TEAM_B = (Budget("b", 10**12, (("team", team),)) for team in "ab")


def configure(ledger: Ledger, budgets: Sequence[Budget]) -> None:
    ledger.do(lambda: apply_budgets(ledger.booking, budgets))


def counter(ledger: Ledger) -> int:
    return ledger.total("llm_budget_cost_total")


@pytest.mark.parametrize("gap", [(), (TEAM_B,)])
def test_a_budget_that_comes_back_goes_on_counting(tmp_path: Path, gap: Sequence[Budget]) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(usage(1, now, team="a"))
        configure(ledger, [TEAM_A])
        ledger.book(usage(2, now, team="a"))
        configure(ledger, gap)
        ledger.book(usage(3, now, team="a"))
        assert counter(ledger) == PAID
        assert list(verify(ledger.store)) == []
        configure(ledger, [TEAM_A])
        ledger.book(usage(4, now, team="a"), usage(5, now, team="b"))
        assert counter(ledger) == 2 * PAID
        assert list(verify(ledger.store)) == []


def test_a_counter_of_a_budget_that_was_taken_out_is_no_difference(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(usage(1, ledger.clock.now_ms()))
        configure(ledger, [ACME])  # what was spent before is its opening balance
        ledger.book(usage(2, ledger.clock.now_ms()))
        configure(ledger, [])
        ledger.book(usage(3, ledger.clock.now_ms()))
        assert list(verify(ledger.store)) == []


def test_a_new_budgets_counter_is_seen_at_zero_first(tmp_path: Path) -> None:
    with Ledger(tmp_path, terms=Terms(birth_hold_ms=300_000)) as ledger:
        configure(ledger, [ACME])
        ledger.book(usage(1, ledger.clock.now_ms()))
        assert ledger.family("llm_budget_cost_total") == {("b", "month", "acme"): 0}
        ledger.clock.advance(minutes=6)
        ledger.tick()
        assert counter(ledger) == PAID
