"""A source, its provider on a loopback port, a real ledger with its writer, and a clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from costmeter.attribution import CATCH_ALL, Scope
from costmeter.engine.polling import Poller
from costmeter.ledger.polled import Polled
from costmeter.ledger.terms import Terms
from costmeter.ledger.writer import Writer
from costmeter.model import BillLine
from costmeter.sources.allowance import Allowance
from costmeter.sources.contract import Desk, Page, Settings, Source, Window
from costmeter.sources.registry import make
from costmeter.sources.secret import Secret
from fakes.clock import FakeClock
from fakes.reports import Reports
from faults.ledgers import Ledger

DAY, HOUR = 86_400, 3_600
#: 2026-11-22T10:30:00Z, a Sunday.
NOW = int(datetime(2026, 11, 22, 10, 30, tzinfo=UTC).timestamp())
TODAY = NOW - NOW % DAY
PRICES = """
prices:
  - {provider: openai, model: gpt-5, source: test, usd_per_million: {input: 2, cache_read: 1, output: 8}}
  - {provider: azure, model: gpt-4o, source: test, usd_per_million: {input: 2, output: 8}}
  - {provider: anthropic, model: claude-sonnet-4-5, source: test,
     usd_per_million: {input: 3, cache_read: 1, cache_write: 4, output: 15}}
"""  # noqa: E501


class Lines:
    """Keeps lines as a settlement does: the highest revision stands, the same changes nothing."""

    def __init__(self) -> None:
        self.history: list[BillLine] = []
        self.standing: dict[tuple[str, int, str, str], BillLine] = {}
        self.watermarks: list[int | None] = []
        self.error: Exception | None = None

    def take(
        self,
        lines: Sequence[BillLine],
        watermark_ms: int | None,
        *,
        source: str,
        since_ms: int | None = None,
    ) -> int:
        if self.error is not None:
            raise self.error
        changed = 0
        for line in lines:
            key = (source, line.day, line.basis, line.line)
            old = self.standing.get(key)
            if old is None or line.revision > old.revision:
                self.standing[key] = line
                self.history.append(line)
                changed += 1
        self.watermarks.append(watermark_ms)
        return changed

    def nano(self, day: int | None = None) -> int:
        return sum(
            line.usd_nano or 0 for line in self.standing.values() if day is None or line.day == day
        )


def settings(reports: Reports, *, path: str = "", **changes: object) -> Settings:
    secret = Secret(variable="KEY", environ={"KEY": reports.key})
    return Settings("bill", secret, base_url=reports.url + path, **changes)  # type: ignore[arg-type]


def pages(source: Source, since: int, until: int, now: int = NOW) -> list[Page]:
    """What a source says of [since, until), in seconds, without any ledger."""
    clock = FakeClock(now * 1000)
    window = Window(since * 1000, until * 1000, now * 1000)
    return list(source.fetch(window, Desk(clock, Allowance(), lambda _: False)))


@dataclass
class Rig:
    source: Source
    ledger: Ledger
    writer: Writer
    bills: Lines
    allowance: Allowance
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.polled = Polled(self.ledger.booking, self.bills)
        self.poller = self.another()

    def another(self) -> Poller:
        """One more poller of the same source."""
        return Poller(
            self.source, self.polled, self.writer, self.ledger.clock, self.ledger.tally,
            self.allowance, pause=self._pause,
        )  # fmt: skip

    def _pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.ledger.clock.advance(seconds)
        return False

    def poll(self) -> str:
        return self.poller.poll()

    def tally(self, name: str) -> Mapping[tuple[str, ...], float]:
        return self.ledger.tally.read().get(name, {})

    def booked(self, quantity: str) -> int:
        """Pieces of a class in the journal's days."""
        rows = self.ledger.store.connection.execute("SELECT quantities FROM day_cell").fetchall()
        import json

        return sum(json.loads(row[0]).get(quantity, 0) for row in rows)

    def cost(self) -> int:
        row = self.ledger.store.connection.execute("SELECT sum(up - down) FROM day_cell").fetchone()
        return int(row[0] or 0)

    def records(self) -> int:
        row = self.ledger.store.connection.execute("SELECT count(*) FROM usage_event").fetchone()
        return int(row[0])


@contextmanager
def running(
    folder: Path,
    kind: str,
    source_settings: Settings,
    *,
    books: bool = True,
    bills: Lines | None = None,
    allowance: Allowance | None = None,
    clock: FakeClock | None = None,
) -> Iterator[Rig]:
    """A rig on the ledger in `folder`; its usage is booked, or with `books` False observed."""
    scope = Scope("rest", detail_from=source_settings.name) if books else CATCH_ALL
    ledger = Ledger(
        folder,
        clock or FakeClock(NOW * 1000),
        Terms(birth_hold_ms=0, scopes=(scope,)),
        price_text=PRICES,
    )
    with ledger:
        writer = Writer(ledger.booking, ledger.tally)
        writer.start()
        try:
            source = make(kind, source_settings)
            yield Rig(source, ledger, writer, bills or Lines(), allowance or Allowance())
        finally:
            writer.close()
