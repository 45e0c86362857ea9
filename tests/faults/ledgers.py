"""A ledger in this process on a clock that a test moves: the writing part and its reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from costmeter.ledger.amend import Amendments
from costmeter.ledger.booking import Booking
from costmeter.ledger.door import Verdict
from costmeter.ledger.snapshot import SnapshotReader
from costmeter.ledger.store import open_for_writing
from costmeter.ledger.terms import Terms
from costmeter.ledger.upkeep import start
from costmeter.ledger.verify import verify
from costmeter.model import Budget, Labels, Posting, Snapshot, Usage
from costmeter.pricing import PriceBook, load_price_book
from costmeter.tally import Tally
from fakes.clock import FakeClock

HOUR = 3_600_000
DAY = 24 * HOUR
PRICES = """
prices:
  - {provider: test, model: priced, source: test, usd_per_million: {input: 2.5, output: 10}}
"""
T = TypeVar("T")


def labels(**changes: str) -> Labels:
    return Labels(
        tenant_id="acme", category="llm_api", purpose="inference", provider="test", account="",
        region="", model="priced", environment="prod", team="", project="", service="", feature="",
        operation="generation",
    )._replace(**changes)  # fmt: skip


def usage(
    number: object, at_ms: int, *, tokens: int = 1_000_000, feed: str = "http", **changes: str
) -> Usage:
    """A call with `tokens` of input: 2.5 USD a million under `PRICES`."""
    return Usage(f"f:{feed}:{number}", at_ms, feed, labels(**changes), {"input": tokens})


def posting(number: object, hour_ms: int, nano: int, **changes: str) -> Posting:
    """A line of a bill, not late."""
    found = labels(model="", category="storage", operation="", **changes)
    return Posting(f"bill-{number}", hour_ms, "bill", found, nano)


def prices(folder: Path, text: str = PRICES) -> PriceBook:
    path = folder / f"prices-{abs(hash(text))}.yml"
    path.write_text(text)
    return load_price_book([path])


@dataclass
class Ledger:
    """Use it as a context manager; at the end `verify` must be content."""

    folder: Path
    clock: FakeClock = field(default_factory=FakeClock)
    terms: Terms = field(default_factory=lambda: Terms(birth_hold_ms=0))
    budgets: Sequence[Budget] = ()
    price_text: str = PRICES
    cell_ms: int = HOUR
    tally: Tally = field(default_factory=Tally)

    def __enter__(self) -> Ledger:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                assert list(verify(self.store)) == []
        finally:
            self.close()

    @property
    def path(self) -> Path:
        return self.folder / "ledger.db"

    def open(self) -> None:
        book = prices(self.folder, self.price_text)
        self.store = open_for_writing(self.path, self.cell_ms)
        try:
            self.booking = Booking(self.store, self.terms, book, self.clock, self.tally)
            self.amendments = Amendments(self.booking)
            start(self.booking, self.budgets)
        except BaseException:
            self.store.close()
            raise
        self.reader = SnapshotReader(self.store.reader())

    def close(self) -> None:
        self.reader.close()
        self.store.close()

    def restart(self, **changes: Any) -> None:
        """Close and open again, with other attributes if need be."""
        self.close()
        for name, value in changes.items():
            setattr(self, name, value)
        self.open()

    def do(self, work: Callable[[], T]) -> T:
        return self.booking.transact(work)

    def tick(self) -> None:
        """What the release-clock job does."""
        self.do(lambda: None)

    def book(self, *batch: Usage, history: bool = False) -> list[Verdict]:
        return self.do(lambda: self.booking.usages(batch, history=history))

    def post(self, *postings: Posting) -> list[Verdict]:
        return self.do(lambda: self.booking.post(postings))

    def snapshot(self) -> Snapshot:
        return self.reader.refresh()

    def family(self, name: str) -> Mapping[tuple[str, ...], int]:
        return dict(self.snapshot().samples(name))

    def total(self, name: str, *values: str) -> int:
        """Over the series that carry all these label values."""
        found = self.family(name)
        return sum(value for own, value in found.items() if set(values) <= set(own))
