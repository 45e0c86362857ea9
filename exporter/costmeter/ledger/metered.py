"""Metered events on their way: stored at once, added up in one sweep at each flush.

Between the two they are gathered in memory, and after a crash or a failure gathered
again from the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.ledger.accumulator import Accumulator
from costmeter.ledger.dims import Dims, Rates
from costmeter.ledger.door import Overfull
from costmeter.ledger.gather import Gatherer, Group, Lane
from costmeter.ledger.identity import Fresh, Identities
from costmeter.ledger.terms import Terms
from costmeter.model import MS_PER_DAY, Usage
from costmeter.pricing import Rate

#: The feed of records from before the ledger; their amounts never reach a counter.
HISTORY_FEED = "import"
#: All the nano-USD that a ledger takes. An event is durable before it is part of a sum, so
#: one with which a sum would leave int64 is refused, or no sum could be written any more.
_MOST_NANO = 1 << 62
_INSERT = f"INSERT INTO usage_event VALUES ({', '.join('?' * 19)})"
#: The same for the commonest event, whose other columns hold what they nearly always do: what
#: an event costs is the binding of its columns above all.
_INSERT_PLAIN = (
    f"INSERT INTO usage_event VALUES ({', '.join('?' * 11)}, 'ok', ?, 'standard', ?, '', '', '', ?)"
)
_SINCE = (
    "SELECT day, dim, booked, h, rate, nano, id, at_ms, feed, quantities, status, latency_ms, "
    "user_id, resource FROM usage_event WHERE event > ? ORDER BY event"
)
_PLAIN = ("ok", "standard", "", "", "")
_encode = msgspec.json.Encoder(order="sorted").encode

#: Rate and nano-USD of an event; None for one that is unpriced.
Price = tuple[Rate, int] | None


class Moment(NamedTuple):
    """When a transaction books: the ledger's time, and the day under which it is known."""

    now_ms: int
    booked: int


class Metered:
    """Used inside the write transaction only."""

    def __init__(
        self, connection: Connection, terms: Terms, dims: Dims, rates: Rates, cell_ms: int
    ) -> None:
        self._connection = connection
        self._terms = terms
        self._dims = dims
        self._rates = rates
        self._cell_ms = cell_ms
        self.identities = Identities(connection, dims)
        self._gathered = Gatherer()
        self._held_nano = 0

    def forget(self) -> None:
        """Drop everything, because the transaction was rolled back."""
        self._gathered.clear()
        self.identities.forget()

    def keep(
        self,
        moment: Moment,
        fresh: Sequence[Fresh],
        usages: Sequence[Usage],
        prices: Sequence[Price],
        *,
        history: bool,
    ) -> None:
        """Store events, and gather what they add. The hot path: everything goes through here."""
        now_ms, booked = moment
        cell_ms, rate_number = self._cell_ms, self._rates.number
        late_before = now_ms - self._terms.late_after_ms
        prompt = self._gathered.lane(0, booked, history)
        rows: list[tuple[object, ...]] = []
        plain: list[tuple[object, ...]] = []
        unpriced: list[tuple[int, int]] = []
        events = self.identities.numbers(len(fresh))
        for event, new, usage, price in zip(events, fresh, usages, prices, strict=True):
            _, dim, day, event_id, h = new
            (
                _, at_ms, feed, _, quantities, status, latency_ms, processing, user_id,
                session_id, resource, detail,
            ) = usage  # fmt: skip
            rate: Rate | None
            if price is None:
                rate = number = nano = None
                unpriced.append((event, dim.dim))
            else:
                rate, nano = price
                number = rate_number(rate, now_ms)
                self._held_nano += nano
            amounts = _encode(quantities).decode()
            if (status, processing, session_id, resource, detail) == _PLAIN:
                plain.append(
                    (
                        event, dim.org, day, dim.dim, booked, amounts, number, nano, event_id,
                        at_ms, feed, latency_ms, user_id, h,
                    )
                )  # fmt: skip
            else:
                rows.append(
                    (
                        event, dim.org, day, dim.dim, booked, amounts, number, nano, event_id,
                        at_ms, feed, status, latency_ms, processing, user_id, session_id,
                        resource, detail, h,
                    )
                )  # fmt: skip
            lane = prompt if at_ms >= late_before else self._late(moment, at_ms, history)
            names = tuple(quantities)
            key = (dim.dim, at_ms - at_ms % cell_ms, status, number, resource != "", names)
            group = lane.get(key)
            if group is None:
                group = lane[key] = Group(dim, rate, names, accrues=bool(resource))
            group.numbers += quantities.values()
            group.users.append(user_id)
            group.nanos.append(nano or 0)
            group.latency_ms += latency_ms
        if fresh and self._held_nano > _MOST_NANO:
            raise Overfull(
                f"the ledger would hold {self._held_nano // 10**9:,} USD, which is more than it "
                "can add up; find out who sends such amounts, then restore a backup from before"
            )
        if plain:
            self._connection.executemany(_INSERT_PLAIN, plain)
        if rows:
            self._connection.executemany(_INSERT, rows)
        if unpriced:
            self._connection.executemany("INSERT INTO unpriced VALUES (?, ?)", unpriced)

    def _late(self, moment: Moment, at_ms: int, history: bool) -> Lane:
        until = self._terms.released_by(moment.now_ms, at_ms, at_ms)
        return self._gathered.lane(until, moment.booked, history)

    def catch_up(self, now_ms: int, flushed_event: int) -> None:
        """Gather again what the events after `flushed_event` add to cells and counters."""
        held = self._connection.execute("SELECT total(up) + total(down) FROM day_cell").fetchone()
        self._held_nano = int(held[0])
        self.identities.catch_up(flushed_event)
        for row in self._connection.execute(_SINCE, (flushed_event,)).fetchall():
            day, dim_number, booked, h, number, nano, event_id, at_ms, feed = row[:9]
            quantities, status, latency_ms, user_id, resource = row[9:]
            dim = self._dims.numbered(dim_number)
            self.identities.remember(Fresh(0, dim, day, event_id, h))
            until = self._terms.released_by(now_ms, at_ms, at_ms)
            lane = self._gathered.lane(until, booked, feed == HISTORY_FEED)
            amounts = msgspec.json.decode(quantities)
            names = tuple(amounts)
            hour = at_ms - at_ms % self._cell_ms
            key = (dim_number, hour, status, number, resource != "", names)
            group = lane.get(key)
            if group is None:
                rate = None if number is None else self._rates.numbered(number)
                group = lane[key] = Group(dim, rate, names, accrues=bool(resource))
            group.numbers += amounts.values()
            group.users.append(user_id)
            group.nanos.append(nano or 0)
            group.latency_ms += latency_ms
            self._held_nano += nano or 0

    def carry(self, accumulator: Accumulator) -> None:
        """Hand over what was gathered but for users; nothing of it is written by that."""
        gathered = self._gathered
        for lane, (_, hour, status, *_), group in gathered.groups():
            until, booked, history = lane
            quantities = group.quantities()
            accumulator.post(
                group.dim,
                hour,
                booked,
                "usage" if group.rate is not None else "unpriced",
                status,
                requests=group.calls(),
                latency_ms=group.latency_ms,
                quantities=quantities,
                nanos=group.by_class(quantities),
                up=sum(group.nanos),
                saved=group.saved(quantities),
                release_until_ms=until,
                history=history,
            )
            group.fold(gathered.users(lane, group.dim, hour))
        gathered.carried()

    def carry_users(self, accumulator: Accumulator) -> None:
        """Hand over what users add, after everything else is carried."""
        for dim, hour, (until, booked, history), figures in self._gathered.take_users():
            org, model, day = dim.org, dim.labels.model, hour // MS_PER_DAY
            for user_id, (calls, tokens, up) in figures.items():
                accumulator.user(org, day, user_id, model, booked, (calls, tokens, up, 0))
                accumulator.user_spend(dim.labels, user_id, hour, up, until, history)
