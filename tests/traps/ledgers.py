"""One ledger's month: the real exporter under a clock of its own, and what Prometheus sees of it.

The exporter books, releases, assesses budgets and renders its page as `costmeter serve` does. Its
quiet hours are passed in steps of one hour, what happens is looked at minute by minute. Between
two steps a page stays as it is, as it would with senders that report once an hour.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import yaml

from costmeter.config import load_config
from costmeter.ledger.copies import back_up, restore
from costmeter.model import MS_PER_HOUR, NANO_PER_USD, Labels, Posting, Usage
from fakes.clock import FakeClock
from simulation.exporters import SteppedReplica, SteppedService
from traps.scrapes import Scrapes, reading

ZONE = "Europe/Berlin"
MINUTE = 60_000
#: Scrapes stand this far before the evaluation that sees them.
BEFORE_MS = 53_000
#: Held pages between two hourly steps: enough for every window, and never two in the same minute.
_HELD_MS = (MINUTE, 20 * MINUTE, 40 * MINUTE, 58 * MINUTE)
#: What a call costs in a middling answer, for the number of calls behind an amount.
_USD_A_CALL = 0.02
_NANO_PER_MILLION = 150_000_000  # openai/gpt-4o-mini, input
#: Jobs run and sources are asked so often while nothing happens, and where minutes count.
_JOBS_MS, _FINE_JOBS_MS = 4 * MS_PER_HOUR, 5 * MINUTE

#: USD an hour by tenant.
Spend = Callable[[int], Mapping[str, float]]


def at(text: str) -> int:
    """Unix milliseconds of a local time in `ZONE`, as 2026-10-21T10:00."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONE)).timestamp()) * 1000


def local(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(ZONE))


class Span(NamedTuple):
    """[from, to) in Unix milliseconds."""

    from_ms: int
    to_ms: int

    def __contains__(self, at_ms: object) -> bool:
        return isinstance(at_ms, int) and self.from_ms <= at_ms < self.to_ms


def between(first: str, last: str) -> Span:
    return Span(at(first), at(last))


def steps(start_ms: int, end_ms: int, fine: Sequence[Span]) -> Iterator[int]:
    """The evaluations: every full hour, and every minute of the fine spans."""
    at_ms = start_ms
    while at_ms < end_ms:
        yield at_ms
        inside = any(at_ms in span for span in fine)
        at_ms += MINUTE if inside else MS_PER_HOUR - at_ms % MS_PER_HOUR


@dataclass
class World:
    """Runs from `start_ms` to `end_ms`; `moments` are what happens besides spending.

    `look` are the spans in which every minute is seen; `fine` those of them in which the exporter
    is stepped every minute, too.
    """

    job: str
    spend: Spend
    start_ms: int
    end_ms: int
    look: Sequence[Span]
    fine: Sequence[Span]
    settings: Mapping[str, Any]
    moments: Sequence[tuple[int, Callable[[World], None]]] = ()
    #: Before the exporter starts: more configuration, providers on `stack`.
    prepare: Callable[[World], None] | None = None
    every_step: Callable[[World], None] | None = None
    scrapes: Scrapes = field(init=False)

    def run(self) -> None:
        """Fills `scrapes`."""
        self.scrapes = Scrapes(self.job)
        ahead = "/dev/shm" if Path("/dev/shm").is_dir() else None
        with (
            tempfile.TemporaryDirectory(dir=ahead, ignore_cleanup_errors=True) as folder,
            ExitStack() as stack,
        ):
            self.folder = Path(folder)
            self.clock = FakeClock(self.start_ms - BEFORE_MS)
            self.stack = stack
            self._entries = 0
            self._jobs_ms = self.step_ms = 0
            self.writing = "a:9952"
            self.exporters: dict[str, SteppedService | SteppedReplica | None] = {}
            self.config = dict(self.settings)
            if self.prepare is not None:
                self.prepare(self)
            self.begin(self.writing)
            try:
                self._live()
            finally:
                for name in sorted(self.exporters, key=lambda name: name == self.writing):
                    self.end(name)

    def _live(self) -> None:
        waiting = sorted(self.moments, key=lambda moment: moment[0])
        seen_ms = before_ms = self.start_ms - MS_PER_HOUR
        for now_ms in steps(self.start_ms, self.end_ms, self.look):
            minute_by_minute = any(now_ms in span for span in self.fine)
            hourly, seen_ms = now_ms - seen_ms == MS_PER_HOUR, now_ms
            if now_ms % MS_PER_HOUR and not minute_by_minute:
                self.scrapes.hold(now_ms - BEFORE_MS)
                continue
            if hourly and self.scrapes.begun:
                for held_ms in _HELD_MS:
                    self.scrapes.hold(before_ms - BEFORE_MS + held_ms, counters=True)
            self.clock.advance((now_ms - BEFORE_MS - self.clock.now_ms()) / 1000)
            while waiting and waiting[0][0] <= now_ms:
                waiting.pop(0)[1](self)
            self.step_ms = now_ms - before_ms
            self._spend(before_ms, now_ms)
            self._step(now_ms, minute_by_minute)
            before_ms = now_ms

    def _step(self, now_ms: int, minute_by_minute: bool) -> None:
        if self.every_step is not None:
            self.every_step(self)
        writer = self.exporters.get(self.writing)
        if isinstance(writer, SteppedService):
            if now_ms - self._jobs_ms >= (_FINE_JOBS_MS if minute_by_minute else _JOBS_MS):
                writer.step()
                self._jobs_ms = now_ms
            else:
                writer.writer.run(_nothing).result()
                writer._publisher.refresh()
        # As a scrape that asks by `name[]` for what the rules read.
        names = sorted(reading().families)
        pages: dict[str, bytes | None] = {}
        for name, exporter in self.exporters.items():
            if isinstance(exporter, SteppedReplica):
                exporter.step()
            pages[name] = exporter.exposition.respond("", "", names).body if exporter else None
        self.scrapes.scrape(self.clock.now_ms(), pages)

    def _spend(self, from_ms: int, to_ms: int) -> None:
        found = []
        for tenant, usd_an_hour in self.spend(to_ms - 1).items():
            usd = usd_an_hour * (to_ms - from_ms) / MS_PER_HOUR
            if usd > 0:
                found.append(self.usage(tenant, usd, to_ms - BEFORE_MS - 1_000))
        if found and self.exporters.get(self.writing) is not None:
            self.book(found)

    def usage(self, tenant: str, usd: float, at_ms: int, feed: str = "gateway") -> Usage:
        """Calls of a tenant that cost so much."""
        self._entries += 1
        pick = random.Random(f"{tenant}/{at_ms // MS_PER_HOUR}")
        usd *= pick.uniform(0.92, 1.08)
        tokens = round(usd * NANO_PER_USD / _NANO_PER_MILLION * 1_000_000)
        calls = max(1, round(usd / _USD_A_CALL))
        return Usage(
            f"f:{feed}:{self._entries}", at_ms, feed, labels(tenant),
            {"input": tokens, "requests": calls},
        )  # fmt: skip

    def book(self, usages: Sequence[Usage]) -> None:
        self.service.writer.submit(usages).result()

    def post(
        self, tenant: str, usd: float, category: str = "llm_api", late_since_ms: int | None = None,
        hour_ms: int | None = None,
    ) -> None:  # fmt: skip
        """An entry that comes from no call."""
        self._entries += 1
        hour_ms = self.clock.now_ms() if hour_ms is None else hour_ms
        own = labels(tenant)._replace(category=category, model="" if category != "llm_api" else "x")
        self.service.book(
            Posting(
                f"entry-{self._entries}", hour_ms - hour_ms % MS_PER_HOUR, "bill", own,
                round(usd * NANO_PER_USD), late_since_ms,
            )
        )  # fmt: skip

    @property
    def service(self) -> SteppedService:
        found = self.exporters[self.writing]
        assert isinstance(found, SteppedService)
        return found

    def begin(self, name: str) -> None:
        """Start the writing exporter under this instance."""
        self.writing = name
        self.exporters[name] = SteppedService(self._load(), self.clock)

    def replica(self, name: str) -> None:
        """Start one that only reads."""
        self.exporters[name] = SteppedReplica(self._load(), self.clock)

    def end(self, name: str) -> None:
        """Stop an exporter; its target stays and does not answer."""
        exporter = self.exporters.get(name)
        if exporter is not None:
            exporter.stop()
        self.exporters[name] = None

    def reload(self, **changes: Any) -> None:
        """Put changed sections of the configuration in force without a restart."""
        self.config.update(changes)
        self.service.reload(self._load())

    def back_up(self, name: str) -> None:
        back_up(self.service._store, self.folder / name)

    def restore(self, name: str) -> None:
        """Put a backup in the place of the ledger; the exporter must be down."""
        restore(self.folder / name, self.folder / "ledger.db")

    def _load(self) -> Any:
        found = {
            "gpu": {"enabled": "false"},
            "forecast": {"enabled": False},
            "anomalies": {"enabled": False},
            "jobs": {"budgets_seconds": 60},
            **self.config,
        }
        found["ledger"] = {
            "path": str(self.folder / "ledger.db"),
            "reporting_timezone": ZONE,
            **found.get("ledger", {}),
        }
        path = self.folder / "costmeter.yml"
        path.write_text(yaml.safe_dump(found), "utf-8")
        return load_config(path, {})


def _nothing() -> None:
    """What moves the counters' clock: a transaction."""


def labels(tenant: str) -> Labels:
    return Labels(
        tenant, "llm_api", "inference", "openai", "", "", "gpt-4o-mini", "prod", "", "", "", "",
        "generation",
    )  # fmt: skip
