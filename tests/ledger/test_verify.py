"""What `verify` finds, and what it must not take for a fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from costmeter.ledger.verify import verify
from faults.ledgers import Ledger, usage


def test_events_that_no_total_holds_yet_are_no_difference(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(usage(1, now))
        batch = [usage(2, now), usage(3, now, model="unknown"), usage(4, now, team="new")]
        ledger.booking.transact(lambda: ledger.booking.usages(batch), flush=False)
        assert list(verify(ledger.store)) == []


@pytest.mark.parametrize(
    ("damage", "table"),
    [
        ("UPDATE cell SET up = up + 1", "cell"),
        ("UPDATE series SET value = value + 1 WHERE family = 'llm_cost_total'", "series"),
        ("UPDATE period_cost SET net = net - 1 WHERE grain = 'day'", "period_cost"),
        ("UPDATE usage_event SET nano = nano + 1 WHERE nano > 0", "usage_event"),
        ("DELETE FROM unpriced", "unpriced"),
        ("UPDATE user_day SET requests = 9", "user_day"),
    ],
)
def test_a_figure_that_somebody_changed_is_found(tmp_path: Path, damage: str, table: str) -> None:
    ledger = Ledger(tmp_path)
    ledger.open()
    now = ledger.clock.now_ms()
    ledger.book(usage(1, now), usage(2, now, model="unknown"))
    assert list(verify(ledger.store)) == []
    ledger.store.connection.execute(damage)
    assert table in {getattr(found, "table", found) for found in verify(ledger.store)}
    ledger.close()
