"""What changes an event after it was booked: a correction, or a price that appeared.

The event itself stays as it came. Its whole new state goes to `event_change`, and the
difference goes to the journal with the booking day of today.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from costmeter.ledger.booking import Booking
from costmeter.ledger.door import Verdict
from costmeter.ledger.metered import HISTORY_FEED
from costmeter.ledger.reprice_state import note_prices, note_reached
from costmeter.ledger.standing import EVENTS, State, state_of
from costmeter.model import Correction
from costmeter.pricing import Rate
from costmeter.pricing.gpu_hours import gpu_parts
from costmeter.pricing.rates import calls_of

_encode = msgspec.json.Encoder(order="sorted").encode
#: What a correction may change; the organization is part of an event's identity.
CORRECTABLE = frozenset(
    {
        "purpose", "provider", "account", "region", "model", "environment", "team", "project",
        "service", "feature", "operation", "status", "processing",
    }
)  # fmt: skip


class Amendments:
    """Corrections and repricing on top of a Booking, inside its transactions."""

    def __init__(self, booking: Booking) -> None:
        self.moved: dict[tuple[str, str], tuple[int, int]] = {}
        """Events and nano-USD by provider and model that repricing moved since it was cleared."""
        self._booking = booking
        self._connection = booking.connection

    def correct(self, corrections: Sequence[Correction]) -> list[Verdict]:
        """Book each correction once: the reversal of what stood and the new entry."""
        return [self._correct(correction) for correction in corrections]

    def reprice_unpriced(self, after: int, limit: int) -> tuple[int, int | None]:
        """Price up to `limit` waiting events; how many, and where to go on (None: done)."""
        rows = self._connection.execute(
            "SELECT event FROM unpriced WHERE event > ? ORDER BY event LIMIT ?", (after, limit)
        ).fetchall()
        states = (self._state(int(row[0])) for row in rows)
        return self._reprice(states), (int(rows[-1][0]) if len(rows) == limit else None)

    def reprice_changed(self, limit: int) -> tuple[int, bool]:
        """Go on repricing what has another price in the book in force, `limit` events a time.

        How many had another price, and whether events are left. How far it came is kept in
        the ledger with the book's revision, so that nothing is left out whatever comes in
        between: a crash, a failed write, one more change, prices changed while stopped.
        """
        # A reload may put other prices in force meanwhile: they are to begin at the first event.
        revision = self._booking.prices.revision
        after = note_prices(self._booking, revision)
        if after is None:
            return 0, False
        rows = self._connection.execute(
            EVENTS + "WHERE e.event > ? ORDER BY e.event LIMIT ?", (after, limit)
        ).fetchall()
        count = self._reprice([state_of(row, self._booking.dims) for row in rows])
        left = len(rows) == limit
        note_reached(self._booking, revision, int(rows[-1][0]) if left else None)
        return count, left

    def reprice_since(self, since_ms: int, after: int, limit: int) -> tuple[int, int | None]:
        """Reprice events of `since_ms` and later, whatever was repriced before.

        Up to `limit` after the event `after`: how many moved, and where to go on (None: done).
        """
        rows = self._connection.execute(
            EVENTS + "WHERE e.event > ? ORDER BY e.event LIMIT ?", (after, limit)
        ).fetchall()
        states = [state_of(row, self._booking.dims) for row in rows]
        count = self._reprice(state for state in states if state.at_ms >= since_ms)
        return count, (int(rows[-1][0]) if len(rows) == limit else None)

    def _reprice(self, states: Iterable[State]) -> int:
        return sum(1 for state in states if self._reprice_one(state))

    def _reprice_one(self, old: State) -> bool:
        booking = self._booking
        rate = booking.prices.rate(old.dim.labels, old.at_ms, old.processing, old.quantities)
        if rate is None or rate.costs(old.quantities) is None:
            return False  # a price that was withdrawn does not undo what was booked
        if old.rate is not None:
            known = booking.rates.numbered(old.rate)
            if known.figures == rate.figures:
                return False  # the same figures, wherever they come from
        before = self._posted(old)
        self._withdraw(old)
        number, costs = self._cost(old, rate)
        new = old._replace(rate=number, nano=sum(costs.values()))
        change = (new.nano or 0) - (old.nano or 0)
        model = (old.dim.labels.provider, old.dim.labels.model)
        events, nano = self.moved.get(model, (0, 0))
        self.moved[model] = (events + 1, nano + change)
        self._keep("reprice", new, None)
        booking.accumulator.post(
            old.dim,
            self._hour(old),
            booking.booked,
            "reprice",
            old.status,
            quantities={},
            nanos={
                name: costs.get(name, 0) - before.get(name, 0)
                for name in costs.keys() | before.keys()
            },
            up=max(change, 0),
            down=max(-change, 0),
            saved=self._saved(new) - self._saved(old),
            release_until_ms=booking.released_by(old.at_ms, old.at_ms),
            history=old.feed == HISTORY_FEED,
        )
        self._user(old, (0, 0, max(change, 0), max(-change, 0)))
        self._connection.execute("DELETE FROM unpriced WHERE event = ?", (old.event,))
        return True

    def _correct(self, correction: Correction) -> Verdict:
        booking = self._booking
        org = booking.dims.org(correction.tenant_id)
        seen = self._connection.execute(
            "SELECT 1 FROM event_change WHERE org = ? AND correction_id = ?",
            (org, correction.correction_id),
        ).fetchone()
        if seen is not None:
            return Verdict.DUPLICATE
        event = booking.identities.find(org, correction.day, correction.event_id)
        if event is None:
            return Verdict.UNKNOWN
        old = self._state(event)
        new = self._changed(old, correction)
        rate = booking.prices.rate(new.dim.labels, new.at_ms, new.processing, new.quantities)
        self._book(old, "correct", sign=-1, nanos=self._posted(old))
        self._withdraw(old)
        if new.resource:
            fitting = booking.fitting(new.resource, new.at_ms, new.quantities)
            new = new._replace(quantities=fitting)
        number, costs = self._cost(new, rate)
        priced = number is not None
        new = new._replace(rate=number, nano=sum(costs.values()) if priced else None)
        self._keep("correct", new, correction.correction_id)
        self._book(new, "correct" if priced else "unpriced", sign=1, nanos=costs)
        self._connection.execute("DELETE FROM unpriced WHERE event = ?", (event,))
        if not priced:
            self._connection.execute("INSERT INTO unpriced VALUES (?, ?)", (event, new.dim.dim))
        return Verdict.ACCEPTED

    def _changed(self, old: State, correction: Correction) -> State:
        changes = dict(correction.changes)
        wrong = changes.keys() - CORRECTABLE
        if wrong:
            raise ValueError(f"a correction cannot change {', '.join(sorted(wrong))}")
        status = changes.pop("status", old.status)
        processing = changes.pop("processing", old.processing)
        quantities = old.quantities if correction.quantities is None else correction.quantities
        dim = self._booking.dims.of(old.dim.labels._replace(**changes))
        return old._replace(dim=dim, status=status, processing=processing, quantities=quantities)

    def _book(self, state: State, kind: str, *, sign: int, nanos: Mapping[str, int]) -> None:
        total = sign * sum(nanos.values())
        up, down = max(total, 0), max(-total, 0)
        calls = sign * calls_of(state.quantities)
        self._booking.accumulator.post(
            state.dim,
            self._hour(state),
            self._booking.booked,
            kind,
            state.status,
            requests=calls,
            latency_ms=sign * state.latency_ms,
            quantities={name: sign * amount for name, amount in state.quantities.items()},
            nanos={name: sign * amount for name, amount in nanos.items()},
            up=up,
            down=down,
            saved=sign * self._saved(state),
            release_until_ms=self._booking.released_by(state.at_ms, state.at_ms),
            history=state.feed == HISTORY_FEED,
        )
        self._user(state, (calls, sign * state.tokens, up, down))

    def _user(self, state: State, figures: Sequence[int]) -> None:
        if not state.resource:
            booking = self._booking
            booking.accumulator.user(
                state.dim.org,
                state.day,
                state.user_id,
                state.dim.labels.model,
                booking.booked,
                figures,
            )
            booking.accumulator.user_spend(
                state.dim.labels,
                state.user_id,
                self._hour(state),
                figures[2] - figures[3],
                booking.released_by(state.at_ms, state.at_ms),
                state.feed == HISTORY_FEED,
            )

    def _posted(self, state: State) -> Mapping[str, int]:
        """What the event is booked at now, by class."""
        if state.nano is None or state.rate is None:
            return {}
        rate = self._booking.rates.numbered(state.rate)
        if state.resource:
            return gpu_parts(rate, state.quantities, state.nano)
        return rate.costs(state.quantities) or {}

    def _saved(self, state: State) -> int:
        """How much more the event would be at list prices."""
        if state.nano is None or state.rate is None:
            return 0
        listed = self._booking.rates.numbered(state.rate).listed
        return 0 if listed is None else (listed.cost(state.quantities) or 0) - state.nano

    def _cost(self, state: State, rate: Rate | None) -> tuple[int | None, Mapping[str, int]]:
        """The number of the rate and the nano per class; (None, {}) without a price."""
        booking = self._booking
        number = None if rate is None else booking.rates.number(rate, booking.now_ms)
        if state.resource:
            nano = booking.accruals.price(
                state.resource, state.at_ms, state.quantities, rate, number or 0, again=True
            )
            costs = None
            if rate is not None and nano is not None:
                costs = gpu_parts(rate, state.quantities, nano)
        else:
            costs = None if rate is None else rate.costs(state.quantities)
        return (None, {}) if costs is None else (number, costs)

    def _withdraw(self, state: State) -> None:
        """Take GPU time out of the hour in which it was priced so far."""
        if state.resource:
            rate = None if state.rate is None else self._booking.rates.numbered(state.rate)
            self._booking.accruals.withdraw(
                state.resource,
                state.at_ms,
                state.quantities,
                rate,
                state.rate or 0,
                state.nano or 0,
            )

    def _keep(self, kind: str, new: State, correction_id: str | None) -> None:
        self._connection.execute(
            "INSERT INTO event_change VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                new.event,
                new.seq + 1,
                self._booking.booked,
                kind,
                correction_id,
                new.dim.org,
                new.dim.dim,
                new.status,
                new.processing,
                _encode(new.quantities).decode(),
                new.rate,
                new.nano,
            ),
        )

    def _hour(self, state: State) -> int:
        return state.at_ms - state.at_ms % self._booking.cell_ms

    def _state(self, event: int) -> State:
        row = self._connection.execute(EVENTS + "WHERE e.event = ?", (event,)).fetchone()
        return state_of(row, self._booking.dims)
