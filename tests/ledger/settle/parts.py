"""What tests of settlement have in common: a ledger, usage, lines of bills."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from costmeter.attribution import Scope
from costmeter.ledger.booking import Booking
from costmeter.ledger.history import spend
from costmeter.ledger.settle.settlements import Settlements
from costmeter.ledger.snapshot import SnapshotReader
from costmeter.ledger.store import open_for_writing
from costmeter.ledger.terms import Terms
from costmeter.ledger.upkeep import start
from costmeter.ledger.verify import verify
from costmeter.model import BillLine, Labels, Usage
from costmeter.pricing import PriceBook, load_price_book
from costmeter.tally import Tally
from fakes.clock import FakeClock

DAY = 86_400_000
HOUR = 3_600_000
USD = 1_000_000_000

PRICES = """
prices:
  - {provider: test, model: cheap, source: test, usd_per_million: {input: 1}}
  - {provider: test, model: dear, source: test, usd_per_million: {input: 10}}
"""
BILLED = Scope("test", provider="test", amount_from="bill")


def price_book(folder: Path) -> PriceBook:
    path = folder / "prices.yml"
    path.write_text(PRICES)
    return load_price_book([path])


def labels(tenant: str, model: str = "cheap", **more: str) -> Labels:
    whole = Labels(
        tenant, "llm_api", "inference", "test", "", "", model, "prod", "", "", "", "", ""
    )
    return whole._replace(**more)


def line(day: int, name: str, usd: int | None, **more: object) -> BillLine:
    """A final line of nano-USD under the model that `name` begins with."""
    whole = {
        "scope": "", "day": day, "line": name, "revision": 1,
        "amount": str(usd), "currency": "USD", "usd_nano": usd, "maturity": "final",
        "labels": labels("", name.split(":", maxsplit=1)[0]),
    }  # fmt: skip
    return BillLine(**{**whole, **more})


class Bench:
    """A ledger on a clock, opened and opened again."""

    def __init__(self, folder: Path, book: PriceBook, *scopes: Scope, zone: str = "UTC") -> None:
        self.path = folder / "ledger.db"
        self.book = book
        self.clock = FakeClock()
        self.terms = Terms(scopes=scopes or (BILLED,), reporting_timezone=zone)
        self.tally = Tally()
        self.number = 0
        self.open()

    def open(self) -> None:
        self.store = open_for_writing(self.path)
        self.booking = Booking(self.store, self.terms, self.book, self.clock, self.tally)
        self.settlements = Settlements(self.booking)
        start(self.booking, [])
        self.reader = SnapshotReader(self.store.reader())

    def close(self) -> None:
        self.reader.close()
        self.store.close()

    def again(self, *scopes: Scope) -> None:
        """A restart, with other scopes if some are named."""
        self.close()
        if scopes:
            self.terms = Terms(scopes=scopes, reporting_timezone=self.terms.reporting_timezone)
        self.open()

    @property
    def today(self) -> int:
        return self.clock.now_ms() // DAY

    def use(
        self, tenant: str, tokens: int, model: str = "cheap", *, at_ms: int | None = None,
        **more: str,
    ) -> None:  # fmt: skip
        self.number += 1
        usage = Usage(
            f"f:http:{self.number}",
            self.clock.now_ms() if at_ms is None else at_ms,
            "http",
            labels(tenant, model, **more),
            {"input": tokens},
        )
        self.booking.transact(lambda: self.booking.usages([usage]))

    def take(self, *lines: BillLine, watermark_ms: int | None = None, source: str = "bill") -> int:
        return self.booking.transact(
            lambda: self.settlements.take(lines, watermark_ms, source=source)
        )

    def settle(self, day: int, scope: str = "test") -> int:
        return self.booking.transact(lambda: self.settlements.settle(scope, day))

    def net(self, *by: str) -> dict[tuple[str, ...], int]:
        """Net spend of the ledger by dimensions; groups at zero left out."""
        rows = spend(self.store.connection, by or ("tenant_id",))
        return {row.group: row.net for row in rows if row.net}

    def shown(self, family: str, place: int = 3) -> dict[str, int]:
        """A family's values now, added up by one of its labels."""
        self.booking.transact(lambda: None)
        found: dict[str, int] = {}
        for values, amount in self.reader.refresh().samples(family):
            found[values[place]] = found.get(values[place], 0) + amount
        return {name: amount for name, amount in found.items() if amount}

    def differences(self) -> Sequence[str]:
        return [str(item) for item in verify(self.store)]
