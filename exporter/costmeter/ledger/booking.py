"""The one write transaction: event → cell → series → release.

Everything here runs on the writer's connection between BEGIN and COMMIT. A failure
rolls back and drops every cache, so memory never knows more than the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from sqlite3 import DataError
from typing import TypeVar

from costmeter.clock import Clock
from costmeter.ledger.accrual import Accruals
from costmeter.ledger.accumulator import Accumulator
from costmeter.ledger.admission import Admission
from costmeter.ledger.budgets import BudgetBook
from costmeter.ledger.counters import Counters
from costmeter.ledger.dims import Dims, Rates
from costmeter.ledger.door import Verdict
from costmeter.ledger.identity import Fresh
from costmeter.ledger.metered import Metered, Moment, Price
from costmeter.ledger.periods import Calendar
from costmeter.ledger.settle.due import Due
from costmeter.ledger.store import Store, transaction
from costmeter.ledger.terms import Terms
from costmeter.ledger.timekeeper import Timekeeper
from costmeter.model import MS_PER_DAY, Posting, Usage
from costmeter.pricing import PriceBook
from costmeter.tally import Tally

#: So many events may wait for the next flush: the ids of all of them are in memory.
_FLUSH_AT = 50_000
#: So many are added up at once, so that a flush has not all of it to do while others wait.
_CARRY_AT = 4_000
T = TypeVar("T")
_RESOURCE = attrgetter("resource")


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
        self.metered = Metered(self.connection, terms, self.dims, self.rates, self.cell_ms)
        self.identities = self.metered.identities
        self.accruals = Accruals(self.connection)
        self.accumulator = Accumulator(
            self.connection, self.admission, self.counters, self.budgets, self.calendar
        )
        self.due = Due(self.connection, terms.scopes)
        self.time = Timekeeper(clock, int(store.meta("heartbeat")))
        self.now_ms = self.booked = self.revision = self.release_clock_ms = 0
        self.rollbacks = 0
        """How often a transaction failed: whoever remembers what one wrote forgets it then."""
        self._behind = True
        self.durable = True
        """Whether the last transaction is on the disk for sure; one without a flush leaves the
        disk to its caller, who answers nobody before."""
        self._carried = 0
        self.carry_at = _CARRY_AT
        self._recall()

    def transact(self, work: Callable[[], T], *, flush: bool = True) -> T:
        """Run `work` as one transaction; it is the only way to write.

        With `flush` False only the events themselves are written now, and `durable` says
        whether they are on the disk or only in the system's memory. What they add to
        cells and counters is kept in memory and goes out, in one sweep for all of them,
        with the next transaction that flushes. A crash in between loses nothing: the
        events after `flushed_event` are gathered again.
        """
        now_ms = self.time.now_ms()
        # While totals cannot be written nothing more is taken: the next one must flush too.
        flush = flush or self._behind or self.identities.waiting > _FLUSH_AT
        if flush != self.durable:
            self.store.wait_for_disk(flush)
            self.durable = flush
        try:
            with transaction(self.connection):
                self.now_ms = now_ms
                self.booked = max(self.booked, now_ms // MS_PER_DAY)
                if self._behind:
                    self.metered.catch_up(now_ms, int(self.store.meta("flushed_event")))
                    self._behind = False
                if flush:
                    self.release_clock_ms = max(self.release_clock_ms, now_ms)
                    self.revision += 1
                    # Work that reads cells, to fill a budget for one, must find them whole.
                    self._flush()
                result = work()
                self.accruals.write()
                if flush:
                    self._flush()
                    self._remember()
                elif self.identities.waiting - self._carried > self.carry_at:
                    self._carry()
        except BaseException:
            self._forget()
            raise
        for label in self.admission.overflowed:
            self.tally.add("costmeter_series_overflow_total", label)
        self.admission.overflowed.clear()
        return result

    def usages(self, batch: Sequence[Usage], *, history: bool = False) -> list[Verdict]:
        """Book metered usage once each; a verdict for every record, in order."""
        verdicts, fresh = self.identities.sift(batch)
        usages = batch if len(fresh) == len(batch) else [batch[new.place] for new in fresh]
        if any(map(_RESOURCE, usages)):
            fresh, usages, prices = self._accrue(fresh, usages, verdicts)
        else:
            prices = self.prices.price_batch(usages)
        moment = Moment(self.now_ms, self.booked)
        self.metered.keep(moment, fresh, usages, prices, history=history)
        if len(fresh) < len(batch) and Verdict.OBSERVED in verdicts:
            self._count_observed(batch, verdicts)
        return verdicts

    def _count_observed(self, batch: Sequence[Usage], verdicts: Sequence[Verdict]) -> None:
        for usage, verdict in zip(batch, verdicts, strict=True):
            if verdict is Verdict.OBSERVED:
                scope = self.dims.of(usage.labels).scope.name
                self.tally.add("costmeter_events_observed_total", usage.feed, scope)

    def post(self, postings: Sequence[Posting]) -> list[Verdict]:
        """Book entries that come from no metered call, each id once."""
        verdicts = []
        for posting in postings:
            dim = self.dims.of(posting.labels)
            hour = posting.hour_ms - posting.hour_ms % self.cell_ms
            cursor = self.connection.execute(
                "INSERT INTO posting VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    dim.org,
                    posting.posting_id,
                    hour,
                    dim.dim,
                    posting.kind,
                    self.booked,
                    posting.nano,
                    posting.scope,
                    int(posting.history),
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
                # What a source brings may be as old as what it brought last.
                release_until_ms=0
                if since is None
                else self.released_by(min(posting.hour_ms, since), since),
                history=posting.history,
            )
            verdicts.append(Verdict.ACCEPTED)
        return verdicts

    def released_by(self, at_ms: int, since_ms: int) -> int:
        """When a late amount is shown in full; 0 when it is not late."""
        return self.terms.released_by(self.now_ms, at_ms, since_ms)

    def _accrue(
        self, fresh: Sequence[Fresh], usages: Sequence[Usage], verdicts: list[Verdict]
    ) -> tuple[list[Fresh], list[Usage], list[Price]]:
        """Price a batch that holds time of resources; what an hour has no room for is left out."""
        taken: list[Fresh] = []
        trimmed: list[Usage] = []
        prices: list[Price] = []
        for new, usage in zip(fresh, usages, strict=True):
            if usage.resource:
                quantities = self.fitting(usage.resource, usage.at_ms, usage.quantities)
                if not quantities:
                    verdicts[new.place] = Verdict.EXCESS
                    continue
                if quantities is not usage.quantities:
                    usage = usage._replace(quantities=quantities)  # noqa: PLW2901 - the fitting part
                prices.append(self._accrued(usage))
            else:
                prices += self.prices.price_batch([usage])
            trimmed.append(usage)
            taken.append(new)
        return taken, trimmed, prices

    def fitting(
        self, resource: str, at_ms: int, quantities: Mapping[str, int]
    ) -> Mapping[str, int]:
        """What of a resource's time its hour has room for; the rest is counted."""
        fitting, excess_ms = self.accruals.fitting(resource, at_ms, quantities)
        if excess_ms:
            self.tally.add("costmeter_gpu_excess_seconds_total", resource, by=excess_ms / 1000)
        return fitting

    def _accrued(self, usage: Usage) -> Price:
        """Priced with what its hour holds already, so that the pieces add up to the whole."""
        rate = self.prices.rate(usage.labels, usage.at_ms, usage.processing, usage.quantities)
        number = 0 if rate is None else self.rates.number(rate, self.now_ms)
        nano = self.accruals.price(usage.resource, usage.at_ms, usage.quantities, rate, number)
        return None if rate is None or nano is None else (rate, nano)

    def write_totals(self) -> None:
        """Write what was booked so far; for work in a transaction that reads cells."""
        self._flush()

    def _flush(self) -> None:
        """Carry what was gathered into cells and counters, and write these."""
        self._carry()
        self.metered.carry_users(self.accumulator)
        self.identities.flush()
        self._carried = 0
        self.due.note(self.accumulator.waiting())
        # By the release clock: after a step back the wall clock lies before what was shown.
        try:
            self.accumulator.flush(self.revision, self.release_clock_ms)
        except OverflowError as error:
            raise DataError("a total is too large for 64 bits") from error

    def _carry(self) -> None:
        self.metered.carry(self.accumulator)
        self._carried = self.identities.waiting

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
        self.rollbacks += 1
        self.metered.forget()
        self.accruals.forget()
        self.accumulator.forget()
        self.admission.forget()
        self.dims.forget()
        self.rates.forget()
        self._behind = True
        self._carried = 0
        self._recall()
