"""The one write transaction: event → cell → series → release.

Everything here runs on the writer's connection between BEGIN and COMMIT. A failure
rolls back and drops every cache, so memory never knows more than the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from sqlite3 import DataError
from typing import TypeVar

import msgspec

from costmeter.attribution import CATCH_ALL, Scope
from costmeter.clock import Clock
from costmeter.ledger.accrual import Accruals
from costmeter.ledger.accumulator import Accumulator
from costmeter.ledger.admission import Admission, Limits
from costmeter.ledger.budgets import BudgetBook
from costmeter.ledger.counters import Counters
from costmeter.ledger.dims import Dims, Rates
from costmeter.ledger.door import Overfull, Verdict
from costmeter.ledger.gather import Gatherer
from costmeter.ledger.identity import Fresh, Identities
from costmeter.ledger.periods import Calendar
from costmeter.ledger.store import Store, transaction
from costmeter.ledger.timekeeper import Timekeeper
from costmeter.model import MS_PER_DAY, Posting, Usage
from costmeter.pricing import PriceBook, Rate
from costmeter.tally import Tally

#: The feed of records from before the ledger; their amounts never reach a counter.
HISTORY_FEED = "import"
#: So many events may wait for the next flush; they take memory.
_FLUSH_AT = 25_000
_RELEASE_STEP_MS = 900_000
#: All the nano-USD that a ledger takes. An event is durable before it is part of a sum, so
#: one with which a sum would leave int64 is refused, or no sum could be written any more.
_MOST_NANO = 1 << 62
_encode = msgspec.json.Encoder(order="sorted").encode
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Terms:
    """The rules that a ledger books by: plain values, read from the configuration."""

    reporting_timezone: str = "UTC"
    extra_labels: tuple[str, ...] = ()
    birth_hold_ms: int = 300_000
    late_after_ms: int = 3_600_000
    max_release_ms: int = 14 * MS_PER_DAY
    promote_permille: int = 10
    limits: Limits = field(default_factory=Limits)
    admit: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scopes: tuple[Scope, ...] = (CATCH_ALL,)


class Booking:
    """Books into one store. Not thread-safe: the writer is its only caller."""

    def __init__(
        self, store: Store, terms: Terms, prices: PriceBook, clock: Clock, tally: Tally
    ) -> None:
        self.store = store
        self.connection = store.connection
        self.terms = terms
        self.prices = prices
        self.tally = tally
        self.cell_ms = store.cell_ms
        self.calendar = Calendar(terms.reporting_timezone)
        self.dims = Dims(self.connection, terms.scopes)
        self.rates = Rates(self.connection)
        self.admission = Admission(self.connection, terms.limits)
        self.counters = Counters(self.connection, terms.birth_hold_ms)
        self.budgets = BudgetBook(self.connection)
        self.identities = Identities(self.connection, self.dims)
        self.accruals = Accruals(self.connection)
        self.accumulator = Accumulator(
            self.connection, self.admission, self.counters, self.budgets, self.calendar
        )
        self.time = Timekeeper(clock, int(store.meta("heartbeat")))
        self.now_ms = self.booked = self.revision = self.release_clock_ms = 0
        self._gathered = Gatherer(self.cell_ms)
        self._held_nano = 0
        self._behind = True
        self._recall()

    def transact(self, work: Callable[[], T], *, flush: bool = True) -> T:
        """Run `work` as one durable transaction; it is the only way to write.

        With `flush` False only the events themselves are written now. What they add to
        cells and counters is kept in memory and goes out, in one sweep for all of them,
        with the next transaction that flushes. A crash in between loses nothing: the
        events after `flushed_event` are gathered again.
        """
        now_ms = self.time.now_ms()
        # While totals cannot be written nothing more is taken: the next one must flush too.
        flush = flush or self._behind or self.identities.waiting > _FLUSH_AT
        try:
            with transaction(self.connection):
                self.now_ms = now_ms
                self.booked = max(self.booked, now_ms // MS_PER_DAY)
                if self._behind:
                    self._catch_up()
                if flush:
                    self.release_clock_ms = max(self.release_clock_ms, now_ms)
                    self.revision += 1
                    # Work that reads cells, to fill a budget for one, must find them whole.
                    self._flush()
                result = work()
                if flush:
                    self._flush()
                    self._remember()
        except BaseException:
            self._forget()
            raise
        self.budgets.committed()
        for label in self.admission.overflowed:
            self.tally.add("costmeter_series_overflow_total", label)
        self.admission.overflowed.clear()
        return result

    def usages(self, batch: Sequence[Usage], *, history: bool = False) -> list[Verdict]:
        """Book metered usage once each; a verdict for every record, in order."""
        verdicts, fresh = self.identities.sift(batch)
        rows: list[tuple[object, ...]] = []
        metered = [new for new in fresh if not batch[new.place].resource]
        prices = self.prices.price_batch([batch[new.place] for new in metered])
        for new, price in zip(metered, prices, strict=True):
            usage = batch[new.place]
            rate, nano = price if price is not None else (None, None)
            self._gather(new, usage, rate, nano, history=history)
            rows.append(self._row(new, usage, rate, nano))
        for new in fresh:
            if batch[new.place].resource and not self._accrue(
                rows, new, batch[new.place], history=history
            ):
                verdicts[new.place] = Verdict.EXCESS
        if rows and self._held_nano > _MOST_NANO:
            raise Overfull(
                f"the ledger would hold {self._held_nano // 10**9:,} USD, which is more than it "
                "can add up; find out who sends such amounts, then restore a backup from before"
            )
        self.connection.executemany(
            "INSERT INTO unpriced VALUES (?, ?)",
            [(row[0], row[3]) for row in rows if row[7] is None],
        )
        self.identities.keep(rows)
        for place, verdict in enumerate(verdicts):
            if verdict is Verdict.OBSERVED:
                scope = self.dims.of(batch[place].labels).scope.name
                self.tally.add("costmeter_events_observed_total", batch[place].feed, scope)
        return verdicts

    def post(self, postings: Sequence[Posting]) -> list[Verdict]:
        """Book entries that come from no metered call, each id once."""
        verdicts = []
        for posting in postings:
            dim = self.dims.of(posting.labels)
            hour = posting.hour_ms - posting.hour_ms % self.cell_ms
            cursor = self.connection.execute(
                "INSERT INTO posting VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    dim.org,
                    posting.posting_id,
                    hour,
                    dim.dim,
                    posting.kind,
                    self.booked,
                    posting.nano,
                ),
            )
            if not cursor.rowcount:
                verdicts.append(Verdict.DUPLICATE)
                continue
            since = posting.late_since_ms
            self.accumulator.post(
                dim,
                hour,
                self.booked,
                posting.kind,
                quantities={},
                nanos={"amount": posting.nano},
                up=max(posting.nano, 0),
                down=max(-posting.nano, 0),
                release_until_ms=0 if since is None else self.released_by(posting.hour_ms, since),
            )
            verdicts.append(Verdict.ACCEPTED)
        return verdicts

    def released_by(self, at_ms: int, since_ms: int) -> int:
        """When a late amount is shown in full; 0 when it is not late.

        Linear over 2 x (now - `since_ms`), at most `max_release_ms`; `since_ms` is the
        usage's own time for a pushed record and the source's watermark for a polled one.
        """
        if self.now_ms - at_ms <= self.terms.late_after_ms:
            return 0
        until = self.now_ms + min(2 * (self.now_ms - since_ms), self.terms.max_release_ms)
        return until + -until % _RELEASE_STEP_MS

    def _accrue(
        self, rows: list[tuple[object, ...]], new: Fresh, usage: Usage, *, history: bool
    ) -> bool:
        """Book time of a resource; False when its hour is full already."""
        room = self.accruals.room(usage)
        wanted = usage.quantities.get("gpu_ms", 0)
        if wanted > room:
            excess = (wanted - room) / 1000
            self.tally.add("costmeter_gpu_excess_seconds_total", usage.resource, by=excess)
            if not room:
                return False
            usage = usage._replace(quantities={**usage.quantities, "gpu_ms": room})
        rate = self.prices.rate(usage.labels, usage.at_ms, usage.processing, usage.quantities)
        number = 0 if rate is None else self.rates.number(rate, self.now_ms)
        added_ms = usage.quantities["gpu_ms"]
        costs = self.accruals.price(usage.resource, usage.at_ms, added_ms, rate, number)
        nano = None if costs is None else costs["gpu_ms"]
        self._gather(new, usage, rate, nano, history=history)
        rows.append(self._row(new, usage, rate, nano))
        return True

    def _gather(
        self, new: Fresh, usage: Usage, rate: Rate | None, nano: int | None, *, history: bool
    ) -> None:
        at_ms = usage.at_ms
        self._held_nano += nano or 0
        late = self.now_ms - at_ms > self.terms.late_after_ms
        until = self.released_by(at_ms, at_ms) if late else 0
        self._gathered.add(new.dim, usage, rate, nano, until, self.booked, history)

    def _flush(self) -> None:
        """Carry what was gathered into cells and counters, and write these."""
        for (_, hour, status, _, until, booked, history), group in self._gathered.groups():
            quantities = group.quantities()
            self.accumulator.post(
                group.dim,
                hour,
                booked,
                "usage" if group.rate is not None else "unpriced",
                status,
                requests=len(group.usages),
                latency_ms=sum([usage.latency_ms for usage in group.usages]),
                quantities=quantities,
                nanos=group.by_class(quantities),
                up=sum(group.nanos),
                release_until_ms=until,
                history=history,
            )
            org, model, day = group.dim.org, group.dim.labels.model, hour // MS_PER_DAY
            for user_id, figures in group.users().items():
                self.accumulator.user(org, day, user_id, model, booked, (*figures, 0))
        self._gathered.clear()
        self.identities.flush()
        # By the release clock: after a step back the wall clock lies before what was shown.
        try:
            self.accumulator.flush(self.revision, self.release_clock_ms)
        except OverflowError as error:
            raise DataError("a total is too large for 64 bits") from error

    def _row(
        self, new: Fresh, usage: Usage, rate: Rate | None, nano: int | None
    ) -> tuple[object, ...]:
        """The event as `usage_event` has it: what the ledger says, then the record's own."""
        number = None if rate is None or nano is None else self.rates.number(rate, self.now_ms)
        return (
            self.identities.number(new),
            new.dim.org,
            new.day,
            new.dim.dim,
            self.booked,
            _encode(usage.quantities).decode(),
            number,
            nano,
            *usage[:3],
            *usage[5:],
        )

    def _catch_up(self) -> None:
        """Gather again what events booked after the last flush add to cells and counters."""
        today = self.booked
        held = self.connection.execute("SELECT total(up) + total(down) FROM day_cell").fetchone()
        self._held_nano = int(held[0])
        for row in self.connection.execute(
            "SELECT event, org, day, dim, booked, id, at_ms, feed, quantities, status, latency_ms, "
            "processing, user_id, session_id, resource, detail, rate, nano "
            "FROM usage_event WHERE event > ? ORDER BY event",
            (int(self.store.meta("flushed_event")),),
        ).fetchall():
            event, org, day, number, self.booked = row[:5]
            dim = self.dims.numbered(number)
            event_id, at_ms, feed, quantities, *rest, rate_number, nano = row[5:]
            usage = Usage(event_id, at_ms, feed, dim.labels, msgspec.json.decode(quantities), *rest)
            rate = None if rate_number is None else self.rates.numbered(rate_number)
            self.identities.remember(org, day, event_id, event)
            new = Fresh(0, dim, day, 0)
            self._gather(new, usage, rate, nano, history=feed == HISTORY_FEED)
        self.booked = max(self.booked, today)
        self._behind = False

    def _remember(self) -> None:
        self.connection.executemany(
            "UPDATE meta SET v = ? WHERE k = ?",
            [
                (str(self.revision), "revision"),
                (str(self.release_clock_ms), "release_clock"),
                (str(self.now_ms), "heartbeat"),
                (str(self.booked), "booked"),
                (str(self.identities.last_event()), "flushed_event"),
            ],
        )

    def _recall(self) -> None:
        self.revision = int(self.store.meta("revision"))
        self.release_clock_ms = int(self.store.meta("release_clock"))
        self.booked = int(self.store.meta("booked"))

    def _forget(self) -> None:
        self._gathered.clear()
        self.accumulator.forget()
        self.admission.forget()
        self.dims.forget()
        self.rates.forget()
        self.identities.forget()
        self._behind = True
        self._recall()
