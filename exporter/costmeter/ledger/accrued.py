"""Costs that accrue with time: what a configuration says of them, in the journal.

For each entry the ledger keeps which time is charged, and on which terms. An hour's cells
hold what these terms make of it, so that it does not matter in how many pieces it came, and
`verify` computes them anew. Used inside the write transaction only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from costmeter.ledger.booking import Booking
from costmeter.model import Labels
from costmeter.pricing.accrued import Recurring, running

#: The kind of cell, of posting, and (with what is known of an entry) of state.
KIND = "fixed"
COVERED = "fixed:covered"
#: So many cells are written in one transaction, so that ingest hardly waits.
CELLS_AT_ONCE = 1_000
_SECOND = 1_000
_encode = msgspec.json.Encoder().encode
_PUT = "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)"

#: What an entry costs at an instant, and until when that stays so. None: not known.
TermsAt = Callable[[int], tuple[Recurring | None, int]]


class Accruing(NamedTuple):
    """One entry of the configuration.

    `start_ms` and `end_ms` are what it says itself, end exclusive. With `whole` it is one
    payment that is spread over time: other terms restate all of it.
    """

    name: str
    labels: Labels
    start_ms: int | None
    end_ms: int | None
    at: TermsAt
    whole: bool = False


class Covered(NamedTuple):
    """Time that is charged: [since, until) on these terms, under this dim."""

    since: int
    until: int
    dim: int
    history: int
    terms: Recurring


class Known(NamedTuple):
    """When an entry was first read, since when it is there, and whether it is away now."""

    first_ms: int
    since_ms: int
    away: bool = False


class Done(NamedTuple):
    """`pieces` were booked; `more` is left to do; `waiting` have no amount in USD for now."""

    pieces: int
    more: bool
    waiting: tuple[str, ...] = ()


class Accruals:
    """`begin` first, and again after the entries changed; then `advance` regularly."""

    def __init__(self, booking: Booking) -> None:
        self._booking = booking
        self._connection = booking.connection
        self._covered: dict[str, list[Covered]] = {}
        self._rollbacks = booking.rollbacks
        self._left = 0
        self._pieces = 0

    def forget(self) -> None:
        """Drop what was cached, because its transaction was rolled back."""
        self._covered.clear()

    def begin(self, entries: Sequence[Accruing]) -> None:
        """Note which entries are there now. One that is gone costs nothing more, and what
        it has cost stays."""
        now_ms = self._now()
        names = {entry.name for entry in entries}
        known = self._known()
        for name in sorted(names | known.keys()):
            old = known.get(name)
            if old is None:
                new = Known(now_ms, now_ms)
            elif name not in names:
                new = old._replace(away=True)
            elif old.away:
                new = Known(old.first_ms, now_ms)
            else:
                new = old
            if new != old:
                value = _encode(new).decode()
                self._connection.execute(_PUT, (KIND, name, value, now_ms))

    def advance(self, entries: Sequence[Accruing], *, restate: bool = False) -> Done:
        """Book what has accrued by now; call it again while there is `more`.

        Dates speak about the past: time that the dates leave out is taken back, time that
        they take in is booked. Terms and labels count from now on; with `restate`, and for a
        `whole` payment, they count for all of its time. Running it again books nothing.
        """
        if self._rollbacks != self._booking.rollbacks:
            # Perhaps the last call's, and whoever waits for it has not come to say so yet.
            self._rollbacks = self._booking.rollbacks
            self.forget()
        self._left, self._pieces = CELLS_AT_ONCE, 0
        known = self._known()
        waiting: list[str] = []
        for entry in entries:
            state = known.get(entry.name)
            if state is None or state.away:
                raise LookupError(f"{entry.name} was not begun")
            self._take_back(entry)
            self._restate(entry, everything=restate)
            if self._fill(entry, state):
                waiting.append(entry.name)
            if self._left <= 0:
                return Done(self._pieces, more=True, waiting=tuple(waiting))
        return Done(self._pieces, more=False, waiting=tuple(waiting))

    def covered(self, name: str) -> Sequence[Covered]:
        """The time of an entry that is charged, in its order."""
        found = self._covered.get(name)
        if found is None:
            rows = self._connection.execute(
                "SELECT value FROM state WHERE kind = ? AND name >= ? AND name < ? ORDER BY name",
                (COVERED, f"{name} ", f"{name}!"),
            )
            found = self._covered[name] = [covered_of(value) for (value,) in rows]
        return found

    def _take_back(self, entry: Accruing) -> None:
        for old in list(self.covered(entry.name)):
            if entry.end_ms is not None and old.until > entry.end_ms and self._left > 0:
                self._remove(entry.name, old, max(old.since, entry.end_ms), old.until)
        for old in list(self.covered(entry.name)):
            if entry.start_ms is not None and old.since < entry.start_ms and self._left > 0:
                self._remove(entry.name, old, old.since, min(old.until, entry.start_ms))

    def _restate(self, entry: Accruing, *, everything: bool) -> None:
        if not everything and not entry.whole:
            return
        dim = self._booking.dims.of(entry.labels).dim
        for old in list(self.covered(entry.name)):
            for since, until, terms in _stretches(entry, old.since, old.until):
                same_owner = old.dim == dim or not everything
                if terms is None or self._left <= 0 or (same_owner and terms == old.terms):
                    continue
                # Both in one transaction: what is taken away comes back.
                stop = self._fitting(since, until)
                at = next(c for c in self.covered(entry.name) if c.since <= since < c.until)
                self._remove(entry.name, at, since, stop)
                owner = dim if everything else old.dim
                self._add(entry.name, Covered(since, stop, owner, old.history, terms), since)

    def _fill(self, entry: Accruing, state: Known) -> bool:
        """Book what is missing; whether some of it has no amount for now."""
        dim = self._booking.dims.of(entry.labels).dim
        since = state.since_ms if entry.start_ms is None else entry.start_ms
        until = self._now() if entry.end_ms is None else min(entry.end_ms, self._now())
        waits = False
        for begins, ends in list(_gaps(self.covered(entry.name), since, until)):
            for start, stop, terms in _stretches(entry, begins, ends):
                if terms is None:
                    waits = True
                    continue
                for history in (1, 0):
                    low = start if history else max(start, state.first_ms)
                    high = min(stop, state.first_ms) if history else stop
                    if low < high and self._left > 0:
                        high = self._fitting(low, high)
                        self._add(entry.name, Covered(low, high, dim, history, terms), begins)
        return waits

    def _fitting(self, since: int, until: int) -> int:
        """As much of a stretch as this transaction has room for."""
        cell = self._booking.cell_ms
        return min(until, since - since % cell + self._left * cell)

    def _add(self, name: str, new: Covered, late_since: int) -> None:
        self._post(name, new, 1, late_since)
        known = self.covered(name)
        for old in known:
            if old.until == new.since and old[2:] == new[2:]:
                self._keep(name, old, [old._replace(until=new.until)])
                return
        self._keep(name, None, [new])

    def _remove(self, name: str, old: Covered, since: int, until: int) -> None:
        """Take back [since, until) of what is covered; as much of it as there is room for."""
        until = self._fitting(since, until)
        gone = old._replace(since=since, until=until)
        self._post(name, gone, -1, since)
        left = [old._replace(until=since), old._replace(since=until)]
        self._keep(name, old, [part for part in left if part.since < part.until])

    def _keep(self, name: str, old: Covered | None, new: Iterable[Covered]) -> None:
        known = [part for part in self.covered(name) if part != old]
        if old is not None:
            self._connection.execute(
                "DELETE FROM state WHERE kind = ? AND name = ?", (COVERED, _key(name, old.since))
            )
        for part in new:
            known.append(part)
            value = _encode(part).decode()
            row = (COVERED, _key(name, part.since), value, part.until)
            self._connection.execute(_PUT, row)
        self._covered[name] = sorted(known)

    def _post(self, name: str, part: Covered, sign: int, late_since: int) -> None:
        booking = self._booking
        dim = booking.dims.numbered(part.dim)
        until_ms = 0 if part.history else booking.released_by(late_since, late_since)
        before = running(part.terms, part.since)
        for hour, end in cells(part.since, part.until, booking.cell_ms):
            after = running(part.terms, end)
            nano = sign * (after - before)
            before = after
            self._left -= 1
            if not nano:
                continue
            self._pieces += 1
            # One row for what a day books into a cell, as the cell itself is one.
            mark = f"{'h' if part.history else ''}{'+' if nano > 0 else '-'}"
            posting = f"{KIND}:{name}:{hour}:{booking.booked}:{part.dim}{mark}"
            self._connection.execute(
                "INSERT INTO posting (org, id, hour, dim, kind, booked, nano, scope, history) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, '', ?) "
                "ON CONFLICT DO UPDATE SET nano = nano + excluded.nano",
                (dim.org, posting, hour, part.dim, KIND, booking.booked, nano, part.history),
            )
            booking.accumulator.post(
                dim, hour, booking.booked, KIND, quantities={}, nanos={"amount": nano},
                up=max(nano, 0), down=max(-nano, 0), release_until_ms=until_ms,
                history=bool(part.history),
            )  # fmt: skip

    def _known(self) -> dict[str, Known]:
        rows = self._connection.execute("SELECT name, value FROM state WHERE kind = ?", (KIND,))
        return {name: Known(*msgspec.json.decode(value)) for name, value in rows}

    def _now(self) -> int:
        return self._booking.now_ms - self._booking.now_ms % _SECOND


def covered_of(value: str) -> Covered:
    """What `state` keeps of a stretch."""
    since, until, dim, history, terms = msgspec.json.decode(value)
    return Covered(since, until, dim, history, Recurring(*terms))


def cells(since: int, until: int, cell_ms: int) -> Iterator[tuple[int, int]]:
    """The cells that [since, until) reaches, each with the end of its own part."""
    for hour in range(since - since % cell_ms, until, cell_ms):
        yield hour, min(hour + cell_ms, until)


def _key(name: str, since: int) -> str:
    return f"{name} {since:015d}"


def _stretches(
    entry: Accruing, since: int, until: int
) -> Iterator[tuple[int, int, Recurring | None]]:
    """[since, until) in parts of the same terms."""
    while since < until:
        terms, ends = entry.at(since)
        stop = min(max(ends, since + 1), until)
        yield since, stop, terms
        since = stop


def _gaps(covered: Iterable[Covered], since: int, until: int) -> Iterator[tuple[int, int]]:
    for part in covered:
        if since < min(part.since, until):
            yield since, min(part.since, until)
        since = max(since, part.until)
    if since < until:
        yield since, until
