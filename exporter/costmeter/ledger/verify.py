"""Recomputes every total from what lies under it and says what differs.

usage → cells → (counters, gauges, day cells, users' days, budgets); rates → events.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Set
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.ledger.admission import Admission, Limits
from costmeter.ledger.dims import RATE_COLUMNS, rate_of
from costmeter.ledger.periods import Calendar
from costmeter.ledger.store import Store, transaction_for_reading
from costmeter.model import MS_PER_DAY, MS_PER_HOUR, TOKEN_CLASSES, Budget, Labels
from costmeter.pricing import Rate

_TOKENS = frozenset(TOKEN_CLASSES)
_encode = msgspec.json.Encoder(order="sorted").encode
_FIGURES = ("requests", "latency_ms", "up", "down")
Sums = dict[tuple[object, ...], dict[str, int]]


class Difference(NamedTuple):
    """One figure that is not what lies under it says."""

    table: str
    key: str
    figure: str
    stored: int
    computed: int

    def __str__(self) -> str:
        return (
            f"{self.table} {self.key}: {self.figure} is {self.stored}, "
            f"what lies under it gives {self.computed}"
        )


def verify(store: Store) -> Iterator[Difference | str]:
    """Every difference; a text where the file itself is damaged."""
    connection = store.connection
    try:
        with transaction_for_reading(connection):
            yield from _verify(store, connection)
    except (sqlite3.DatabaseError, msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
        # What SQLite's own check did not see: pages carry no checksums.
        yield f"the file is damaged: {type(error).__name__}: {error}"


def _verify(store: Store, connection: Connection) -> Iterator[Difference | str]:
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"the file is damaged: {line}"
            return
    checker = _Checker(connection, store.cell_ms, store.meta("reporting_timezone") or "UTC")
    yield from checker.events()
    yield from checker.cells()
    yield from checker.rollups()
    yield from checker.counters()


class _Checker:
    def __init__(self, connection: Connection, cell_ms: int, zone: str) -> None:
        self._connection = connection
        self._cell_ms = cell_ms
        self._calendar = Calendar(zone)
        self._admission = Admission(connection, Limits(), admitting=False)
        self._rates: dict[int, Rate] = {
            number: rate_of(row)
            for number, *row in connection.execute(f"SELECT rate, {RATE_COLUMNS} FROM price")
        }
        self._labels: dict[int, Labels] = {
            row[0]: Labels(*row[1:])
            for row in connection.execute(f"SELECT dim, {', '.join(Labels._fields)} FROM dim")
        }
        # Later events are booked and not in the cells yet: the next flush takes them there.
        row = connection.execute("SELECT v FROM meta WHERE k = 'flushed_event'").fetchone()
        self._flushed = int(row[0])
        self._cells: Sums = {}
        self._users: Sums = {}

    def events(self) -> Iterator[Difference]:
        """Each event's amount from its rate; and the cells that the events make."""
        accrued: dict[tuple[object, ...], int] = {}
        withdrawn: set[tuple[object, ...]] = set()
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
            hour = (resource, at_ms - at_ms % MS_PER_HOUR)
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
                else:
                    self._enter(entry, change_booked, "correct", -1, quantities, costs)
                    entry = entry._replace(dim=new_dim, status=new_status)
                    new_kind = "correct" if new_nano is not None else "unpriced"
                    self._enter(entry, change_booked, new_kind, 1, new_quantities, new_costs)
                quantities, costs = new_quantities, new_costs
                withdrawn.add((*hour, last_rate))
                last_rate, last_nano = new_rate, new_nano
            if last_nano is None:
                waiting[(event,)] = {"waits": 1}
            elif resource:
                key = (*hour, last_rate)
                accrued[key] = accrued.get(key, 0) + last_nano
        yield from self._accruals(accrued, withdrawn)
        listed: Sums = {
            (event,): {"waits": 1}
            for (event,) in self._connection.execute("SELECT event FROM unpriced")
        }
        yield from _compare("unpriced", listed, waiting)
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
            _add(sums, {"up": max(nano, 0), "down": max(-nano, 0), "nano:amount": nano})
        yield from _compare("cell", self._stored("cell", "hour"), self._cells)
        days: Sums = {}
        for (org, hour, *rest), sums in self._cells.items():
            _add(days.setdefault((org, int(str(hour)) // MS_PER_DAY, *rest), {}), sums)
        yield from _compare("day_cell", self._stored("day_cell", "day"), days)

    def rollups(self) -> Iterator[Difference]:
        """Gauges, users' days and budgets against the cells."""
        periods: Sums = {}
        for dim, hour, booked, net in self._nets():
            labels = self._admission.exported(self._labels[dim], booked)
            day, month = self._calendar.day_and_month(hour)
            for grain, start in (("day", day), ("month", month)):
                key = (grain, start, _encode(labels).decode())
                _add(periods.setdefault(key, {}), {"net": net})
        stored: Sums = {
            tuple(row[:3]): {"net": row[3]}
            for row in self._connection.execute("SELECT grain, start, labels, net FROM period_cost")
        }
        yield from _compare("period_cost", stored, periods)
        users: Sums = {
            tuple(row[:5]): dict(zip(("requests", "tokens", "up", "down"), row[5:], strict=True))
            for row in self._connection.execute("SELECT * FROM user_day")
        }
        yield from _compare("user_day", users, self._users)
        yield from self._budgets()

    def counters(self) -> Iterator[Difference]:
        """value = cells + opening for every counter; releases within their counter."""
        sums: dict[tuple[str, str], int] = {}
        for dim, kind, status, booked, requests, up, down, text in self._connection.execute(
            "SELECT dim, kind, status, booked, requests, up, down, quantities FROM cell"
        ):
            labels = self._labels[dim]
            exported = self._admission.exported(labels, booked)
            for family, values, amount in _exported(
                labels, exported, kind, status, requests, up, down, msgspec.json.decode(text)
            ):
                key = (family, _encode(values).decode())
                sums[key] = sums.get(key, 0) + amount
        for labels_text, net in self._budget_sums():
            sums[("llm_budget_cost_total", labels_text)] = net
        for family, text, value, opening in self._connection.execute(
            "SELECT family, labels, value, opening FROM series"
        ):
            if family == "llm_budget_cost_total" and (family, text) not in sums:
                continue  # of a budget that is no more: it stands still, beside no cells
            computed = sums.pop((family, text), 0) + opening
            if value != computed:
                yield Difference("series", f"{family}{text}", "value", value, computed)
        for (family, text), amount in sums.items():
            if amount:
                yield Difference("series", f"{family}{text}", "value", 0, amount)
        for series, value, pending in self._connection.execute(
            "SELECT series, value, sum(amount) FROM release JOIN series USING (series) "
            "GROUP BY series HAVING sum(amount) > value"
        ):
            yield Difference("release", f"series {series}", "amount", pending, value)

    def _costs(
        self, event: int, resource: str, quantities: Mapping[str, int],
        rate: int | None, nano: int | None,
    ) -> tuple[Mapping[str, int], Difference | None]:  # fmt: skip
        if rate is None or nano is None:
            return {}, None
        if resource:
            return {"gpu_ms": nano}, None
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
        figures = {
            "requests": sign,
            "latency_ms": sign * entry.latency_ms,
            "up": max(total, 0),
            "down": max(-total, 0),
        }
        for name, amount in quantities.items():
            figures[f"quantity:{name}"] = direction * amount
        for name, amount in costs.items():
            figures[f"nano:{name}"] = direction * amount
        _add(
            self._cells.setdefault((entry.org, hour, entry.dim, booked, kind, entry.status), {}),
            figures,
        )
        if not entry.resource:
            tokens = direction * sum(n for name, n in quantities.items() if name in _TOKENS)
            key = (
                entry.org,
                entry.at_ms // MS_PER_DAY,
                entry.user_id,
                self._labels[entry.dim].model,
                booked,
            )
            user = self._users.setdefault(key, {})
            _add(
                user,
                {"requests": sign, "tokens": tokens, "up": max(total, 0), "down": max(-total, 0)},
            )

    def _accruals(
        self, accrued: Mapping[tuple[object, ...], int], withdrawn: Set[tuple[object, ...]]
    ) -> Iterator[Difference]:
        """The pieces of every hour; a whole is left out of which a piece was taken again."""
        stored: Sums = {}
        for resource, hour, rate, quantity, nano in self._connection.execute(
            "SELECT resource, hour, rate, quantity, nano FROM accrual WHERE rate != 0"
        ):
            stored[(resource, hour, rate)] = {"nano": nano}
            whole = self._rates[rate].cost({"gpu_ms": quantity}) or 0
            if whole != nano and (resource, hour, rate) not in withdrawn:
                yield Difference("accrual", f"{resource} {hour}", "nano", nano, whole)
        yield from _compare(
            "accrual", stored, {key: {"nano": nano} for key, nano in accrued.items()}
        )

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

    def _nets(self) -> list[tuple[int, int, int, int]]:
        return self._connection.execute(
            "SELECT dim, hour, booked, sum(up - down) FROM cell GROUP BY dim, hour, booked"
        ).fetchall()

    def _active_budgets(self) -> list[Budget]:
        return [
            msgspec.json.decode(definition, type=Budget)
            for _, definition, active, _ in self._connection.execute(
                "SELECT name, definition, active, max(rev) FROM budget GROUP BY name"
            )
            if active
        ]

    def _budgets(self) -> Iterator[Difference]:
        computed: Sums = {}
        budgets = self._active_budgets()
        for dim, hour, _, net in self._nets():
            for budget in budgets:
                if budget.covers(self._labels[dim]):
                    _add(computed.setdefault((budget.name, hour), {}), {"net": net})
        names = {budget.name for budget in budgets}
        stored: Sums = {
            (name, hour): {"net": net}
            for name, hour, net in self._connection.execute("SELECT * FROM budget_hour")
            if name in names
        }
        yield from _compare("budget_hour", stored, computed)

    def _budget_sums(self) -> Iterator[tuple[str, int]]:
        for budget in self._active_budgets():
            row = self._connection.execute(
                "SELECT coalesce(sum(net), 0) FROM budget_hour WHERE budget = ?", (budget.name,)
            ).fetchone()
            yield _encode(budget.series_labels).decode(), int(row[0])


class _Entry(NamedTuple):
    org: int
    at_ms: int
    dim: int
    status: str
    latency_ms: int
    user_id: str
    resource: str


def _exported(
    labels: Labels, exported: tuple[str, ...], kind: str, status: str, requests: int,
    up: int, down: int, quantities: Mapping[str, int],
) -> Iterator[tuple[str, tuple[str, ...], int]]:  # fmt: skip
    """What a cell adds to each counter; written apart from the booking on purpose."""
    yield "llm_cost_total", exported, up
    yield "llm_cost_credit_total", exported, down
    if labels.category != "llm_api":
        return
    call = exported[1:5]
    yield "llm_requests_total", (*call, status), requests
    if kind == "unpriced":
        yield "llm_unpriced_requests_total", exported[1:3], requests
    for name, amount in quantities.items():
        if name in _TOKENS:
            yield "llm_tokens_total", (*call, name), amount


def _add(sums: dict[str, int], figures: Mapping[str, int]) -> None:
    for name, amount in figures.items():
        sums[name] = sums.get(name, 0) + amount


def _compare(table: str, stored: Sums, computed: Sums) -> Iterator[Difference]:
    for key in stored.keys() | computed.keys():
        left, right = stored.get(key, {}), computed.get(key, {})
        for figure in left.keys() | right.keys():
            if left.get(figure, 0) != right.get(figure, 0):
                text = "/".join(str(part) for part in key)
                yield Difference(table, text, figure, left.get(figure, 0), right.get(figure, 0))
