"""Recomputes every total from what lies under it and says what differs.

usage → cells → (counters, gauges, day cells, users' days, budgets); rates → events;
bills and cells → settlements; list prices → savings.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from sqlite3 import Connection

import msgspec

from costmeter.ledger.accrued_check import fixed_costs
from costmeter.ledger.admission import Admission, Limits
from costmeter.ledger.budget_check import budget_differences, counted_sums
from costmeter.ledger.differences import Difference, Sums, add, compare
from costmeter.ledger.periods import Calendar
from costmeter.ledger.recount import Recount
from costmeter.ledger.settle.check import settlements
from costmeter.ledger.store import Store, transaction_for_reading
from costmeter.model import TOKEN_CLASSES, Labels

_TOKENS = frozenset(TOKEN_CLASSES)
_encode = msgspec.json.Encoder(order="sorted").encode


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
    yield from checker.recount.events()
    yield from checker.recount.cells()
    yield from checker.rollups()
    yield from checker.counters()
    yield from settlements(connection)
    yield from fixed_costs(connection, store.cell_ms)


class _Checker:
    def __init__(self, connection: Connection, cell_ms: int, zone: str) -> None:
        self._connection = connection
        self._cell_ms = cell_ms
        self._calendar = Calendar(zone)
        self._admission = Admission(connection, Limits(), admitting=False)
        self.recount = Recount(connection, cell_ms)
        self._labels = self.recount.labels

    def rollups(self) -> Iterator[Difference]:
        """Gauges, users' days and budgets against the cells."""
        periods: Sums = {}
        for dim, hour, booked, net in self._nets():
            labels = self._admission.exported(self._labels[dim], booked)
            day, month = self._calendar.day_and_month(hour)
            for grain, start in (("day", day), ("month", month)):
                key = (grain, start, _encode(labels).decode())
                add(periods.setdefault(key, {}), {"net": net})
        for dim, hour, booked, nano in self._connection.execute(
            "SELECT dim, hour, booked, nano FROM saving"
        ):
            labels = self._admission.exported(self._labels[dim], booked)
            period = ("saved", self._calendar.day_and_month(hour)[1], _encode(labels).decode())
            add(periods.setdefault(period, {}), {"net": nano})
        stored: Sums = {
            tuple(row[:3]): {"net": row[3]}
            for row in self._connection.execute("SELECT grain, start, labels, net FROM period_cost")
        }
        yield from compare("period_cost", stored, periods)
        users: Sums = {
            tuple(row[:5]): dict(zip(("requests", "tokens", "up", "down"), row[5:], strict=True))
            for row in self._connection.execute("SELECT * FROM user_day")
        }
        yield from compare("user_day", users, self.recount.users)
        yield from budget_differences(
            self._connection, self._nets_by_hour(), self._labels, self._cell_ms
        )

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
        for labels_text, net in counted_sums(self._connection):
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

    def _nets(self) -> list[tuple[int, int, int, int]]:
        return self._connection.execute(
            "SELECT dim, hour, booked, sum(up - down) FROM cell GROUP BY dim, hour, booked"
        ).fetchall()

    def _nets_by_hour(self) -> dict[tuple[int, int], int]:
        """Net spend by dim and hour, whenever it was booked."""
        sums: dict[tuple[int, int], int] = {}
        for dim, hour, _, net in self._nets():
            sums[(dim, hour)] = sums.get((dim, hour), 0) + net
        return sums


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
