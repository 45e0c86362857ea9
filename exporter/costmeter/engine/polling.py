"""Asks each source in a thread of its own, and hands what it says to the ledger's writer.

Sources know nothing of each other here either: one that hangs, fails or is told to wait
keeps no other one waiting, no scrape and no shutdown.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import TypeVar

from costmeter.clock import Clock
from costmeter.ledger.door import Busy, Unavailable
from costmeter.ledger.polled import Delivery, Polled, Progress
from costmeter.ledger.polled_usage import Counted
from costmeter.ledger.writer import Writer
from costmeter.model import MS_PER_DAY, NANO_PER_USD
from costmeter.sources.allowance import Allowance, Spent
from costmeter.sources.backoff import after_failures
from costmeter.sources.contract import (
    REASONS,
    Desk,
    Page,
    Source,
    SourceError,
    Window,
)
from costmeter.tally import Tally

_log = logging.getLogger("costmeter.sources")
_T = TypeVar("_T")

_COMMIT_SECONDS = 120
#: A provider that answers may have no figures yet: what is read again begins where its bills
#: end, but no longer ago than this.
_LONGEST_SILENCE_MS = 14 * MS_PER_DAY
#: Sources that are due at once begin one after the other within this time.
_SPREAD_MS = 5_000


class Superseded(Exception):
    """Another poll of the source began later."""


class Poller:
    """One source: when it is due, and one poll from beginning to end."""

    def __init__(
        self, source: Source, polled: Polled, writer: Writer, clock: Clock, tally: Tally,
        allowance: Allowance | None = None, stopping: threading.Event | None = None,
        pause: Callable[[float], bool] | None = None,
    ) -> None:  # fmt: skip
        """`pause` waits so many seconds and is True when the process is stopping."""
        self.source = source
        self.name = source.name
        self._polled = polled
        self._writer = writer
        self._clock = clock
        self._tally = tally
        self._stopping = stopping or threading.Event()
        self._desk = Desk(clock, allowance or Allowance(), pause or self._stopping.wait)
        self._running = threading.Lock()
        self._failures = 0
        self._due_ms: int | None = None
        self._said = ""

    def remember(self) -> None:
        """Plan the first poll from when the ledger says the source last answered."""
        progress = self._commit(lambda: self._polled.progress(self.name))
        self._show(progress)
        now_ms = self._clock.now_ms()
        last_ms = progress.success_ms
        every_ms = self.source.rhythm.every_seconds * 1_000
        wait_ms = 0 if last_ms is None else max(0, min(last_ms + every_ms - now_ms, every_ms))
        self._plan(wait_ms + self._spread(_SPREAD_MS, 0))

    def due(self) -> bool:
        return self._due_ms is None or self._clock.monotonic_ms() >= self._due_ms

    def hurry(self) -> None:
        """Make it due at once."""
        self._due_ms = None

    def poll(self) -> str:
        """Ask now, if that is not being done; what came of it. Never raises."""
        if not self._running.acquire(blocking=False):
            return "it is being asked already"
        try:
            return self._poll()
        finally:
            self._running.release()

    def _poll(self) -> str:
        began = time.perf_counter()
        allowance = self._desk.allowance
        calls, nano = allowance.calls, allowance.nano
        try:
            outcome = self._read()
        except Superseded as error:
            self._plan(self.source.rhythm.every_seconds * 1_000)
            return str(error)
        except Exception as error:  # noqa: BLE001 - one source never stops the others
            said = self._failed(error)
        else:
            said = self._succeeded(outcome)
        # A poll that fails has cost as much.
        self._tally.add("costmeter_source_api_calls_total", self.name, by=allowance.calls - calls)
        cost = (allowance.nano - nano) / NANO_PER_USD
        self._tally.add("costmeter_source_api_cost_usd_total", self.name, by=cost)
        used = allowance.used_ratio(self._clock.now_ms())
        if used is not None:
            self._tally.set("costmeter_source_call_budget_used_ratio", self.name, to=used)
        took = time.perf_counter() - began
        self._tally.set("costmeter_source_poll_duration_seconds", self.name, to=took)
        return said

    def _read(self) -> Counted:
        begun = self._commit(lambda: self._polled.begin(self.name))
        self._show_forecast(begun)
        self._desk.allowance.restore(Spent(*begun.spent))
        total = Counted()
        done = begun
        billed_ms = self._commit(lambda: self._polled.billed_until_ms(self.name))
        for window in self._windows(begun, billed_ms):
            watermark_ms = min(window.until_ms, window.now_ms)
            previous: Page | None = None
            # The watermark moves with the last page, in the same transaction.
            for page in self.source.fetch(window, self._desk._replace(kept=done.kept)):
                if self._stopping.is_set():
                    raise SourceError("stopped", "the exporter is stopping")
                _check(page, window)
                if previous is not None:
                    outcome, done = self._take(begun, previous, done)
                    total = _sum(total, outcome)
                previous = page
            if previous is None:
                previous = Page("", window.since_ms, window.since_ms)
            reached = max(watermark_ms, done.watermark_ms or 0)
            last = window.until_ms >= _day_end(window.now_ms)
            done = done._replace(
                watermark_ms=reached, success_ms=window.now_ms if last else done.success_ms
            )
            outcome, done = self._take(begun, previous, done)
            total = _sum(total, outcome)
        self._show(done)
        return total

    def _windows(self, begun: Progress, billed_ms: int | None) -> Iterator[Window]:
        """What is to be read again and what is new, in steps that are kept one by one."""
        now_ms, rhythm = self._clock.now_ms(), self.source.rhythm
        if begun.watermark_ms is None:
            since_ms = now_ms - rhythm.lookback_days * MS_PER_DAY
        else:
            since_ms = min(begun.watermark_ms, now_ms) - rhythm.restated_days * MS_PER_DAY
            known_ms = billed_ms or begun.newest_ms or begun.first_ms
            if known_ms is not None:
                since_ms = min(since_ms, max(known_ms, now_ms - _LONGEST_SILENCE_MS))
        since_ms -= since_ms % MS_PER_DAY
        while since_ms < _day_end(now_ms):
            until_ms = min(since_ms + max(1, rhythm.step_days) * MS_PER_DAY, _day_end(now_ms))
            yield Window(since_ms, until_ms, now_ms)
            since_ms = until_ms

    def _take(self, begun: Progress, page: Page, now: Progress) -> tuple[Counted, Progress]:
        newest = [ms for ms in (now.newest_ms, page.newest_ms) if ms is not None]
        now = now._replace(newest_ms=max(newest, default=None), spent=self._desk.allowance.spent)
        if page.forecast is not None:
            now = now._replace(forecast=(page.forecast.until_ms, page.forecast.figures))
        if page.keep:
            now = now._replace(kept=page.keep)
        delivery = Delivery(page.stream, page.since_ms, page.until_ms, page.usages, page.lines)
        outcome = self._commit(lambda: self._polled.take(self.name, begun, delivery, now))
        if outcome is None:
            raise Superseded(f"another poll of {self.name} has taken over")
        return outcome, now

    def _commit(self, work: Callable[[], _T]) -> _T:
        return self._writer.run(work).result(_COMMIT_SECONDS)

    def _succeeded(self, outcome: Counted) -> str:
        self._failures = 0
        if self._said:
            _log.info("source %s answers again", self.name)
            self._said = ""
        every_ms = self.source.rhythm.every_seconds * 1_000
        # A tenth of the period either way, so that sources drift apart.
        self._plan(every_ms * 9 // 10 + self._spread(every_ms // 5, self._clock.now_ms()))
        self._tally.set("costmeter_source_up", self.name, to=1)
        for what, number in outcome._asdict().items():
            self._tally.add("costmeter_source_records_total", self.name, what, by=number)
        changed = [f"{n} {what}" for what, n in outcome._asdict().items() if n]
        return ", ".join(changed) or "nothing there"

    def _failed(self, error: Exception) -> str:
        self._failures += 1
        reason, asked_ms = "other", None
        if isinstance(error, SourceError):
            reason = error.reason if error.reason in REASONS else "other"
            asked_ms = error.retry_after_ms
        elif isinstance(error, Busy | Unavailable | TimeoutError):
            reason = "ledger"
        wait_ms = max(after_failures(self._failures), asked_ms or 0)
        self._plan(wait_ms + self._spread(wait_ms // 10, self._failures))
        if reason == "stopped":
            return str(error)
        self._tally.set("costmeter_source_up", self.name, to=0)
        self._tally.add("costmeter_source_errors_total", self.name, reason)
        text = f"{reason}: {error}" if reason != "other" else f"{type(error).__name__}: {error}"
        if text != self._said:
            trace = error if reason == "other" else None
            _log.error("source %s failed: %s", self.name, text, exc_info=trace)
            self._said = text
        if reason != "ledger":
            spent = self._desk.allowance.spent
            try:
                self._commit(lambda: self._polled.note_spent(self.name, spent))
            except Exception as again:  # noqa: BLE001 - the next poll keeps it
                _log.debug("what source %s spent is not kept yet: %s", self.name, again)
        return f"failed: {text}"

    def _plan(self, wait_ms: int) -> None:
        self._due_ms = self._clock.monotonic_ms() + wait_ms

    def _spread(self, within_ms: int, salt: int) -> int:
        """A number below `within_ms` that differs from source to source."""
        mark = blake2b(f"{self.name} {salt}".encode(), digest_size=4).digest()
        return int.from_bytes(mark, "big") % max(1, within_ms)

    def _show(self, progress: Progress) -> None:
        every = self.source.rhythm.every_seconds
        self._tally.set("costmeter_source_poll_interval_seconds", self.name, to=every)
        for name, instant in (
            ("costmeter_source_last_success_timestamp_seconds", progress.success_ms),
            ("costmeter_source_newest_data_timestamp_seconds", progress.newest_ms),
            ("costmeter_source_watermark_timestamp_seconds", progress.watermark_ms),
        ):
            if instant is not None:
                self._tally.set(name, self.name, to=instant / 1000)
        self._show_forecast(progress)

    def _show_forecast(self, progress: Progress) -> None:
        """The provider's forecast until its time is over; then it is not known any more."""
        name = "llm_provider_forecast_cost"
        until_ms, figures = progress.forecast or (0, ())
        shown = dict(figures) if self._clock.now_ms() < until_ms else {}
        for source, bound in self._tally.read().get(name, {}):
            if source == self.name and bound not in shown:
                self._tally.forget(name, source, bound)
        for bound, nano in shown.items():
            self._tally.set(name, self.name, bound, to=nano / NANO_PER_USD)


def _check(page: Page, window: Window) -> None:
    """A source of somebody else must not reach beyond what it was asked."""
    if not window.since_ms <= page.since_ms <= page.until_ms <= _day_end(window.until_ms - 1):
        raise SourceError("malformed", f"stream {page.stream!r} covers time that nobody asked for")
    for at_ms in (
        *(usage.at_ms for usage in page.usages),
        *(line.day * MS_PER_DAY for line in page.lines),
    ):
        if not page.since_ms <= at_ms < page.until_ms:
            raise SourceError("malformed", f"stream {page.stream!r} has a record outside its page")


def _day_end(at_ms: int) -> int:
    return (at_ms // MS_PER_DAY + 1) * MS_PER_DAY


def _sum(one: Counted, other: Counted) -> Counted:
    return Counted(*(a + b for a, b in zip(one, other, strict=True)))
