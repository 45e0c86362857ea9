"""A ledger with budgets, who watches it, and what follows, for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from costmeter.engine.budget_alarms import Alarms
from costmeter.engine.budget_watch import BudgetWatch
from costmeter.ledger.budget_alerts import record
from costmeter.ledger.terms import Terms
from costmeter.model import NANO_PER_USD, Budget
from costmeter.pricing.exchange import Exchange
from fakes.clock import FakeClock
from faults.ledgers import HOUR, Ledger, posting

USD = NANO_PER_USD


def at(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000


class Stage:
    """A ledger, who watches it, and what follows; the clock begins on the 10th of November."""

    def __init__(self, folder: Path, *known: Budget, exchange: Exchange | None = None) -> None:
        self.exchange = exchange or Exchange()
        folder.mkdir(exist_ok=True)
        self.ledger = Ledger(folder, FakeClock(at(2025, 11, 10)), Terms(birth_hold_ms=0), known)
        self.ledger.open()
        self.begin()

    def begin(self) -> None:
        self.reader = self.ledger.store.reader()
        self.watch = BudgetWatch(self.reader, lambda: self.exchange)
        self.alarms = Alarms()

    def end(self) -> None:
        self.reader.close()
        self.ledger.close()

    def spend(self, nano: int, **labels: str) -> None:
        number = self.ledger.clock.now_ms()
        hour = number - number % HOUR
        self.ledger.post(posting(f"{number}-{self.ledger.booking.revision}", hour, nano, **labels))

    def look(self, exported: set[int] | None = None) -> list[tuple[str, str]]:
        """Evaluate and write down; (budget, kind) of the entries that are new."""
        self.ledger.tick()
        self.watch.refresh(self.ledger.clock.now_ms())
        self.alarms.look(self.watch, set(self.watch.exported()) if exported is None else exported)
        found = self.alarms.take_crossings()
        connection = self.ledger.booking.connection
        written = self.ledger.do(lambda: record(connection, found))
        by_number = dict(self.reader.execute("SELECT number, name FROM budget_now").fetchall())
        return [(by_number[one.number], one.kind) for one in written]
