"""After a restore counters begin at zero, also when the backup held unflushed events."""

from __future__ import annotations

from pathlib import Path

import pytest

from costmeter.ledger.copies import back_up, restore
from costmeter.ledger.store import LedgerError
from faults.ledgers import Ledger, usage

PAID = 2_500_000_000


def test_events_beside_the_totals_do_not_bring_old_counters_back(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(usage(1, now))
        ledger.booking.transact(lambda: ledger.booking.usages([usage(2, now)]), flush=False)
        backup = tmp_path / "backup.db"
        back_up(ledger.store, backup)
        ledger.close()
        restore(backup, ledger.path)
        ledger.open()
        assert ledger.total("llm_cost_total") == 0
        assert ledger.total("llm_cost_month_to_date") == 2 * PAID
        ledger.book(usage(3, now))
        assert ledger.total("llm_cost_total") == PAID
        assert ledger.total("llm_cost_month_to_date") == 3 * PAID


def test_a_restore_that_broke_off_half_way_keeps_the_old_ledger(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(usage(1, ledger.clock.now_ms()))
        backup, aside = tmp_path / "backup.db", tmp_path / "ledger.db.before-restore"
        back_up(ledger.store, backup)
        ledger.book(usage(2, ledger.clock.now_ms()))
        ledger.close()
        # As after a crash: the old ledger is aside and nothing is in its place yet.
        ledger.path.rename(aside)
        restore(backup, ledger.path)
        ledger.open()
        assert ledger.total("llm_cost_month_to_date") == PAID
        ledger.close()
        with pytest.raises(LedgerError, match="no backup"):
            restore(tmp_path / "none.db", ledger.path)
        restore(aside, ledger.path)
        ledger.open()
        assert ledger.total("llm_cost_month_to_date") == 2 * PAID
