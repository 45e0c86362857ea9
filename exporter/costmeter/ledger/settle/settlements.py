"""Bills into postings: what is wanted less what was posted.

Everything here runs inside the writer's transaction: `writer.run(lambda: ...)`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from costmeter.attribution import NONE, Scope
from costmeter.ledger.booking import Booking
from costmeter.ledger.metered import Moment
from costmeter.ledger.settle.bills import RESTATED, current_lines, take_line, unconverted_lines
from costmeter.ledger.settle.meters import metered_on, settlement_hour
from costmeter.ledger.settle.plan import PROVISIONAL, Plan, plan
from costmeter.model import MS_PER_DAY, NANO_PER_USD, BillLine, Labels, Posting
from costmeter.pricing.exchange import Exchange, converted

_encode = msgspec.json.Encoder().encode
Key = tuple[str, Labels]


class Settlements:
    """Stores lines of bills and posts what they make of the meters."""

    def __init__(self, booking: Booking) -> None:
        self._booking = booking
        self._connection = booking.connection
        self._scopes = booking.terms.scopes
        self._by_name = {scope.name: scope for scope in self._scopes}
        self.exchange = Exchange()
        """By which lines of other currencies get their amounts in USD."""
        for name in (scope.name for scope in self._scopes if scope.amount_from != NONE):
            for direction in ("up", "down"):
                # increase() cannot see the first value of a counter that was not there.
                tally = booking.tally
                tally.add("costmeter_bill_restated_usd_total", name, direction, by=0)

    def take(
        self,
        lines: Sequence[BillLine],
        watermark_ms: int | None,
        *,
        source: str,
        later: bool = False,
        since_ms: int | None = None,
    ) -> int:
        """Store what `source` says, and settle the days that it changes.

        `watermark_ms` is up to when the source had delivered everything before this; None
        when it comes for the first time. `since_ms` is when it was set up, which is now
        unless it says otherwise: the first bills are of days before they came. A day's
        lines belong into one call, or a part of a bill would be settled as the whole; a
        bill too large for one is taken `later`: its days wait for `settle_due`. The number
        of lines that changed something. Raises ValueError for a line that cannot be kept;
        then nothing of the transaction is.
        """
        touched: set[tuple[str, int]] = set()
        changed = 0
        for line in lines:
            scopes = self._take(line, source)
            changed += bool(scopes)
            touched.update((scope, line.day) for scope in scopes)
        for name in sorted({scope for scope, _ in touched}):
            self._connect(name, source, since_ms)
        for name, day in sorted(touched):
            scope = self._scope(name, day)
            # Another source is the amount of the scope: kept for comparing, never booked.
            if scope is None or scope.amount_from != source:
                continue
            if later:
                self._connection.execute(
                    "INSERT INTO settle_due VALUES (?, ?, ?) "
                    "ON CONFLICT DO UPDATE SET since_ms = coalesce(since_ms, excluded.since_ms)",
                    (name, day, watermark_ms),
                )
            else:
                self.settle(name, day, watermark_ms)
        return changed

    def _take(self, line: BillLine, source: str) -> Sequence[str]:
        """Store one line; the scopes whose day it changes."""
        tally = self._booking.tally
        moment = Moment(self._booking.now_ms, self._booking.booked)
        line = converted(line, self.exchange)
        taken = take_line(self._connection, self._scopes, source, line, moment)
        tally.add("costmeter_bill_lines_total", taken.scope, taken.outcome)
        if taken.outcome == RESTATED and taken.change:
            direction = "up" if taken.change > 0 else "down"
            size = abs(taken.change) / NANO_PER_USD
            tally.add("costmeter_bill_restated_usd_total", taken.scope, direction, by=size)
        return taken.touched

    def convert(self, limit: int = 500) -> tuple[int, bool]:
        """Convert lines that got a rate since; how many, and whether some are left."""
        found: dict[str, list[BillLine]] = {}
        number = 0
        for source, old in unconverted_lines(self._connection, self.exchange.currencies):
            if number == limit:
                break
            line = converted(old, self.exchange)
            if line is not old:
                found.setdefault(source, []).append(line)
                number += 1
        for source, lines in found.items():
            self.take(lines, None, source=source, later=True)
        return number, number == limit

    def settle(self, scope: str, day: int, watermark_ms: int | None = None) -> int:
        """Post what a scope's day is worth less what was posted; the number of postings.

        `day` counts from 1970 (UTC). Running it again posts nothing. Raises ValueError
        for a scope that has no bill.
        """
        found = self._scope(scope, day)
        if found is None:
            raise ValueError(
                f"scope {scope!r} has no bill; name a source in its amount_from, or choose from "
                f"{', '.join(s.name for s in self._scopes if s.amount_from != NONE) or 'none'}"
            )
        lines = current_lines(self._connection, found, day)
        metered = metered_on(self._connection, self._scopes, found, day)
        made = plan(found, lines, metered.meters)
        self._note(found, day, made, metered.adopted)
        postings = self._postings(found, day, made, watermark_ms)
        self._booking.post(postings)
        self._connection.execute("DELETE FROM settle_due WHERE scope = ? AND day = ?", (scope, day))
        return len(postings)

    def settle_due(self, limit: int = 50) -> tuple[int, bool]:
        """Settle again up to `limit` days whose meters moved; how many, and whether some
        are left."""
        rows = self._connection.execute(
            "SELECT scope, day, since_ms FROM settle_due ORDER BY day DESC, scope LIMIT ?",
            (limit,),
        ).fetchall()
        for name, day, since_ms in rows:
            self.settle(name, day, since_ms)
        return len(rows), len(rows) == limit

    def _scope(self, name: str, day: int) -> Scope | None:
        """The scope by whose terms a day is settled; None for one without a bill.

        As it is configured; but a day that a former configuration settled keeps its source
        until the new one says something about it.
        """
        scope = self._by_name.get(name)
        configured = scope is not None and scope.amount_from != NONE
        row = self._connection.execute(
            "SELECT source, basis, detail FROM settlement WHERE scope = ? AND day = ? "
            "ORDER BY rev DESC LIMIT 1",
            (name, day),
        ).fetchone()
        if row is None:
            return scope if configured else None
        source, basis, detail = row
        if scope is None or not configured:
            return Scope(name, amount_from=source, basis=basis, detail_from=detail)
        if (source, basis) == (scope.amount_from, scope.basis) or current_lines(
            self._connection, scope, day
        ):
            return scope
        return replace(scope, amount_from=source, basis=basis)

    def _postings(
        self, scope: Scope, day: int, made: Plan, watermark_ms: int | None
    ) -> list[Posting]:
        hour = settlement_hour(day)
        hour -= hour % self._booking.cell_ms
        late_since = hour if watermark_ms is None else min(watermark_ms, self._booking.now_ms)
        before_connection = (day + 1) * MS_PER_DAY <= self._connected(scope)
        posted = self._posted(scope, hour)
        number = self._count(scope, hour)
        found: list[Posting] = []
        for kind, labels in sorted(posted.keys() | made.wanted.keys()):
            total, counted = posted.get((kind, labels), (0, 0))
            wanted = made.wanted.get((kind, labels), 0)
            if before_connection:
                parts = (0, wanted - total)
            else:
                # Counters follow an unfinished bill only upwards, gauges follow it anyway.
                shown = max(wanted, counted) if made.status == PROVISIONAL else wanted
                parts = (shown - counted, wanted - total - (shown - counted))
            for history, nano in enumerate(parts):
                if nano:
                    name = f"settle:{scope.name}:{day}:{number + len(found)}"
                    found.append(
                        Posting(
                            name, hour, kind, labels, nano, late_since,
                            scope=scope.name, history=bool(history),
                        )
                    )  # fmt: skip
        return found

    def _count(self, scope: Scope, hour: int) -> int:
        row = self._connection.execute(
            "SELECT count(*) FROM posting WHERE scope = ? AND hour = ?", (scope.name, hour)
        ).fetchone()
        return int(row[0])

    def _posted(self, scope: Scope, hour: int) -> dict[Key, tuple[int, int]]:
        """What stands for the day: (all of it, the part that counters have got)."""
        rows = self._connection.execute(
            "SELECT kind, dim, sum(nano), sum(iif(history, 0, nano)) FROM posting "
            "WHERE scope = ? AND hour = ? GROUP BY kind, dim",
            (scope.name, hour),
        ).fetchall()
        found: dict[Key, tuple[int, int]] = {}
        for kind, dim, total, counted in rows:
            key = (kind, self._booking.dims.numbered(dim).labels)
            before = found.get(key, (0, 0))
            found[key] = (before[0] + total, before[1] + counted)
        return found

    def _connect(self, scope: str, source: str, since_ms: int | None) -> None:
        """Remember since when a source bills a scope: days before are its opening balance."""
        self._connection.execute(
            "INSERT OR IGNORE INTO state VALUES ('bill', ?, ?, ?)",
            (f"{source} {scope}", "connected", since_ms or self._booking.now_ms),
        )

    def _connected(self, scope: Scope) -> int:
        row = self._connection.execute(
            "SELECT at_ms FROM state WHERE kind = 'bill' AND name = ?",
            (f"{scope.amount_from} {scope.name}",),
        ).fetchone()
        return 0 if row is None else int(row[0])

    def _note(self, scope: Scope, day: int, made: Plan, adopted: Sequence[int]) -> None:
        """Keep the settlement if it is another one than before."""
        state = (
            scope.amount_from, scope.basis, scope.detail_from, made.status, made.metered,
            made.billed, made.usage_billed, made.unattributed, _encode(list(adopted)).decode(),
        )  # fmt: skip
        row = self._connection.execute(
            "SELECT rev, source, basis, detail, status, metered, billed, usage_billed, "
            "unattributed, adopted FROM settlement WHERE scope = ? AND day = ? "
            "ORDER BY rev DESC LIMIT 1",
            (scope.name, day),
        ).fetchone()
        if row is not None and tuple(row[1:]) == state:
            return
        if row is None:
            # What others counted here, because this scope had no bill, they give back.
            self._connection.execute(
                "INSERT OR IGNORE INTO settle_due SELECT DISTINCT scope, day, NULL FROM settlement "
                "WHERE day = ? AND scope != ? AND adopted != '[]'",
                (day, scope.name),
            )
        revision = 1 if row is None else int(row[0]) + 1
        self._connection.execute(
            "INSERT INTO settlement VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (scope.name, day, revision, *state, self._booking.now_ms, self._booking.booked),
        )
