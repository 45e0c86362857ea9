"""The publisher goes on whatever the file does."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from costmeter.engine.publisher import Publisher
from costmeter.ledger.copies import back_up, restore
from costmeter.ledger.store import Store, open_for_reading
from faults.ledgers import Ledger, usage


class Flaky(Store):
    """A ledger's file that can sometimes not be opened."""

    failing = False

    def reader(self) -> sqlite3.Connection:
        if self.failing:
            raise sqlite3.OperationalError("unable to open database file")
        return super().reader()


def test_a_ledger_that_could_not_be_opened_once_is_opened_again(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(usage(1, ledger.clock.now_ms()))
        backup = tmp_path / "backup.db"
        back_up(ledger.store, backup)
        opened = open_for_reading(ledger.path)
        store = Flaky(opened.path, opened.connection, None)
        publisher = Publisher(store, ledger.clock)
        publisher.refresh()
        ledger.close()
        restore(backup, ledger.path)
        ledger.open()
        store.failing = True
        for _ in range(2):
            with pytest.raises(sqlite3.Error):
                publisher.refresh()
        store.failing = False
        publisher.refresh()
        snapshot = publisher.snapshot()
        assert snapshot is not None
        assert snapshot.epoch == 2
        publisher.stop()
        store.close()
