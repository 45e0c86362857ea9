"""Recomputes events' amounts from their rates, and the cells from events and postings.

Written apart from the booking on purpose: an error in one shows against the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.ledger.differences import Difference, Sums, add, compare
from costmeter.ledger.dims import RATE_COLUMNS, rate_of
from costmeter.ledger.recount_hours import Hours, parts_of_piece
from costmeter.model import MS_PER_DAY, TOKEN_CLASSES, Labels
from costmeter.pricing import Rate
from costmeter.pricing.rates import FEE

_TOKENS = frozenset(TOKEN_CLASSES)
_FIGURES = ("requests", "latency_ms", "up", "down")


class Recount:
    """One recount: `events` to its end, which also gathers what `cells` then compares."""

    def __init__(self, connection: Connection, cell_ms: int) -> None:
        self._connection = connection
        self._cell_ms = cell_ms
        self._rates: dict[int, Rate] = {
            number: rate_of(row)
            for number, *row in connection.execute(f"SELECT rate, {RATE_COLUMNS} FROM price")
        }
        self.labels: dict[int, Labels] = {
            row[0]: Labels(*row[1:])
            for row in connection.execute(f"SELECT dim, {', '.join(Labels._fields)} FROM dim")
        }
        # Later events are booked and not in the cells yet: the next flush takes them there.
        row = connection.execute("SELECT v FROM meta WHERE k = 'flushed_event'").fetchone()
        self._flushed = int(row[0])
        self._cells: Sums = {}
        self.users: Sums = {}
        """What the events make of users' days, whole after `events`."""
        self.saved: Sums = {}
        """What contracts saved on the events by (org, hour, dim, booked)."""

    def events(self) -> Iterator[Difference]:
        """Each event's amount from its rate; and the cells that the events make."""
        hours = Hours(self._connection, self._rates)
        waiting: Sums = {}
        for (
            event,
            org,
            at_ms,
            dim,
            booked,
            status,
            latency,
            user,
            resource,
            text,
            rate,
            nano,
        ) in self._connection.execute(
            "SELECT event, org, at_ms, dim, booked, status, latency_ms, user_id, resource, "
            "quantities, rate, nano FROM usage_event"
        ):
            quantities = msgspec.json.decode(text)
            costs, difference = self._costs(event, resource, quantities, rate, nano)
            if difference is not None:
                yield difference
            entry = _Entry(org, at_ms, dim, status, latency, user, resource)
            if event <= self._flushed:
                kind = "usage" if nano is not None else "unpriced"
                self._enter(entry, booked, kind, 1, quantities, costs)
                self._save(entry, booked, 1, quantities, rate, nano)
            last_rate, last_nano = rate, nano
            for (
                change_kind,
                change_booked,
                new_dim,
                new_status,
                new_text,
                new_rate,
                new_nano,
            ) in self._connection.execute(
                "SELECT kind, booked, dim, status, quantities, rate, nano FROM event_change "
                "WHERE event = ? ORDER BY seq",
                (event,),
            ):
                new_quantities = msgspec.json.decode(new_text)
                new_costs, difference = self._costs(
                    event, resource, new_quantities, new_rate, new_nano
                )
                if difference is not None:
                    yield difference
                if change_kind == "reprice":
                    delta = {
                        name: new_costs.get(name, 0) - costs.get(name, 0)
                        for name in new_costs.keys() | costs.keys()
                    }
                    self._enter(entry, change_booked, "reprice", 0, {}, delta)
                    self._save(entry, change_booked, -1, quantities, last_rate, last_nano)
                else:
                    self._enter(entry, change_booked, "correct", -1, quantities, costs)
                    self._save(entry, change_booked, -1, quantities, last_rate, last_nano)
                    entry = entry._replace(dim=new_dim, status=new_status)
                    new_kind = "correct" if new_nano is not None else "unpriced"
                    self._enter(entry, change_booked, new_kind, 1, new_quantities, new_costs)
                self._save(entry, change_booked, 1, new_quantities, new_rate, new_nano)
                quantities, costs = new_quantities, new_costs
                last_rate, last_nano = new_rate, new_nano
            if last_nano is None:
                waiting[(event,)] = {"waits": 1}
            if resource:
                hours.take(resource, at_ms, last_rate, quantities, last_nano)
        yield from hours.differences()
        listed: Sums = {
            (event,): {"waits": 1}
            for (event,) in self._connection.execute("SELECT event FROM unpriced")
        }
        yield from compare("unpriced", listed, waiting)
        events, kept = self._connection.execute(
            "SELECT (SELECT count(*) FROM usage_event WHERE event <= ?), "
            "(SELECT count(*) FROM identity JOIN usage_event USING (event, day))",
            (self._flushed,),
        ).fetchone()
        if events != kept:
            yield Difference("identity", "all", "events", kept, events)

    def cells(self) -> Iterator[Difference]:
        """The stored cells against what events and postings make."""
        for org, hour, dim, kind, booked, nano in self._connection.execute(
            "SELECT org, hour, dim, kind, booked, nano FROM posting"
        ):
            sums = self._cells.setdefault((org, hour, dim, booked, kind, ""), {})
            add(sums, {"up": max(nano, 0), "down": max(-nano, 0), "nano:amount": nano})
        yield from compare("cell", self._stored("cell", "hour"), self._cells)
        days: Sums = {}
        for (org, hour, *rest), sums in self._cells.items():
            add(days.setdefault((org, int(str(hour)) // MS_PER_DAY, *rest), {}), sums)
        yield from compare("day_cell", self._stored("day_cell", "day"), days)
        saved: Sums = {
            (org, hour, dim, booked): {"nano": nano}
            for org, hour, dim, booked, nano in self._connection.execute("SELECT * FROM saving")
        }
        yield from compare("saving", saved, self.saved)

    def _costs(
        self, event: int, resource: str, quantities: Mapping[str, int],
        rate: int | None, nano: int | None,
    ) -> tuple[Mapping[str, int], Difference | None]:  # fmt: skip
        if rate is None or nano is None:
            return {}, None
        if resource:
            return parts_of_piece(self._rates[rate].prices, quantities, nano), None
        costs = self._rates[rate].costs(quantities) or {}
        total = sum(costs.values())
        if total != nano:
            return costs, Difference("usage_event", f"event {event}", "nano", nano, total)
        return costs, None

    def _enter(
        self, entry: _Entry, booked: int, kind: str, sign: int,
        quantities: Mapping[str, int], costs: Mapping[str, int],
    ) -> None:  # fmt: skip
        direction = -1 if sign < 0 else 1
        total = direction * sum(costs.values())
        hour = entry.at_ms - entry.at_ms % self._cell_ms
        calls = sign * quantities.get(FEE, 1)
        figures = {
            "requests": calls,
            "latency_ms": sign * entry.latency_ms,
            "up": max(total, 0),
            "down": max(-total, 0),
        }
        for name, amount in quantities.items():
            figures[f"quantity:{name}"] = direction * amount
        for name, amount in costs.items():
            figures[f"nano:{name}"] = direction * amount
        add(
            self._cells.setdefault((entry.org, hour, entry.dim, booked, kind, entry.status), {}),
            figures,
        )
        if not entry.resource:
            tokens = direction * sum(n for name, n in quantities.items() if name in _TOKENS)
            key = (
                entry.org,
                entry.at_ms // MS_PER_DAY,
                entry.user_id,
                self.labels[entry.dim].model,
                booked,
            )
            user = self.users.setdefault(key, {})
            add(
                user,
                {"requests": calls, "tokens": tokens, "up": max(total, 0), "down": max(-total, 0)},
            )

    def _save(
        self, entry: _Entry, booked: int, sign: int, quantities: Mapping[str, int],
        rate: int | None, nano: int | None,
    ) -> None:  # fmt: skip
        """What the event would be more at list prices."""
        listed = None if rate is None else self._rates[rate].listed
        if listed is None or nano is None:
            return
        hour = entry.at_ms - entry.at_ms % self._cell_ms
        saved = sign * ((listed.cost(quantities) or 0) - nano)
        add(self.saved.setdefault((entry.org, hour, entry.dim, booked), {}), {"nano": saved})

    def _stored(self, table: str, bucket: str) -> Sums:
        stored: Sums = {}
        for row in self._connection.execute(
            f"SELECT org, {bucket}, dim, booked, kind, status, requests, latency_ms, up, down, "
            f"quantities, nanos FROM {table}"
        ):
            figures = dict(zip(_FIGURES, row[6:10], strict=True))
            for name, amount in msgspec.json.decode(row[10]).items():
                figures[f"quantity:{name}"] = amount
            for name, amount in msgspec.json.decode(row[11]).items():
                figures[f"nano:{name}"] = amount
            stored[tuple(row[:6])] = figures
        return stored


class _Entry(NamedTuple):
    org: int
    at_ms: int
    dim: int
    status: str
    latency_ms: int
    user_id: str
    resource: str
