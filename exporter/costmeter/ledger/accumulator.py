"""What one transaction adds: gathered as it goes, written in one sweep.

Every posting passes through `post`, and only here does an amount become part of a
cell, of a counter, of a gauge and of a budget. So each follows from the cells, which
`verify` recomputes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from sqlite3 import Connection

import msgspec

from costmeter.ledger.admission import Admission
from costmeter.ledger.budgets import BudgetBook
from costmeter.ledger.counters import Counters
from costmeter.ledger.dims import Dim
from costmeter.ledger.periods import Calendar
from costmeter.model import MS_PER_DAY, TOKEN_CLASSES, Labels

_TOKENS = frozenset(TOKEN_CLASSES)
_encode = msgspec.json.Encoder(order="sorted").encode

CellKey = tuple[int, int, int, int, str, str]


class _Sum:
    """One cell's contents; a cell may hold negative quantities (reversals)."""

    __slots__ = ("down", "latency_ms", "nanos", "quantities", "requests", "up")

    def __init__(self) -> None:
        self.requests = self.latency_ms = self.up = self.down = 0
        self.quantities: dict[str, int] = {}
        self.nanos: dict[str, int] = {}


class Accumulator:
    """Used inside the write transaction only; `flush` ends each transaction."""

    def __init__(
        self,
        connection: Connection,
        admission: Admission,
        counters: Counters,
        budgets: BudgetBook,
        calendar: Calendar,
    ) -> None:
        self._connection = connection
        self._admission = admission
        self._counters = counters
        self._budgets = budgets
        self._calendar = calendar
        self._cells: dict[str, dict[CellKey, _Sum]] = {"cell": {}, "day_cell": {}}
        self._cached: dict[str, dict[CellKey, _Sum]] = {"cell": {}, "day_cell": {}}
        self._periods: dict[tuple[str, int, str], int] = {}
        self._saved: dict[tuple[int, int, int, int], int] = {}
        self._users: dict[tuple[int, int, str, str, int], list[int]] = {}

    def forget(self) -> None:
        """Drop everything, because the transaction was rolled back."""
        for table in (*self._cells.values(), *self._cached.values()):
            table.clear()
        self._periods.clear()
        self._saved.clear()
        self._users.clear()
        self._counters.forget()
        self._budgets.forget()

    def post(
        self,
        dim: Dim,
        hour_ms: int,
        booked: int,
        kind: str,
        status: str = "",
        *,
        requests: int = 0,
        latency_ms: int = 0,
        quantities: Mapping[str, int],
        nanos: Mapping[str, int],
        up: int = 0,
        down: int = 0,
        saved: int = 0,
        release_until_ms: int = 0,
        history: bool = False,
    ) -> None:
        """Add one entry. `up` and `down` are both >= 0 and `up - down = sum(nanos)`.

        `saved` is how much more it would be at list prices; no total of spend holds it.
        `release_until_ms` > 0 shows the amount in counters little by little until then;
        `history` keeps it out of the counters altogether.
        """
        if up - down != sum(nanos.values()):
            raise AssertionError(f"posting {kind} of dim {dim.dim} does not add up")
        day = hour_ms // MS_PER_DAY
        for table, bucket in (("cell", hour_ms), ("day_cell", day)):
            sums = self._cells[table]
            key = (dim.org, bucket, dim.dim, booked, kind, status)
            total = sums.get(key)
            if total is None:
                total = sums[key] = _Sum()
            _add(total, requests, latency_ms, up, down, quantities, nanos)
        if saved:
            self._save(dim, hour_ms, booked, saved)
        self._export(
            dim, hour_ms, booked, kind, status, requests, quantities, up, down,
            release_until_ms, history,
        )  # fmt: skip

    def user(
        self, org: int, day: int, user_id: str, model: str, booked: int, figures: Sequence[int]
    ) -> None:
        """Add [requests, tokens, up, down] to a user's day."""
        found = self._users.setdefault((org, day, user_id, model, booked), [0, 0, 0, 0])
        for position, figure in enumerate(figures):
            found[position] += figure

    def user_spend(
        self, labels: Labels, user_id: str, hour_ms: int, net: int, until_ms: int, history: bool
    ) -> None:
        """Count what a user's calls cost against the budgets of that user."""
        if net and user_id:
            for series in self._budgets.book_user(labels, user_id, hour_ms, net):
                self._counters.add("llm_budget_cost_total", series, net, until_ms, history)

    def waiting(self) -> Iterable[CellKey]:
        """Cells of days (the bucket is a day) that the next flush writes."""
        return self._cells["day_cell"].keys()

    def flush(self, revision: int, now_ms: int) -> None:
        """Write everything gathered; after it the caches mirror the tables."""
        for table in ("cell", "day_cell"):
            self._flush_cells(table)
        self._connection.executemany(
            "INSERT INTO period_cost VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "net = net + excluded.net, rev = excluded.rev",
            [(*key, net, revision) for key, net in self._periods.items()],
        )
        self._periods.clear()
        self._connection.executemany(
            "INSERT INTO saving VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "nano = nano + excluded.nano",
            [(*key, nano) for key, nano in self._saved.items()],
        )
        self._saved.clear()
        self._connection.executemany(
            "INSERT INTO user_day VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "requests = requests + excluded.requests, tokens = tokens + excluded.tokens, "
            "up = up + excluded.up, down = down + excluded.down",
            [(*key, *figures) for key, figures in self._users.items()],
        )
        self._users.clear()
        self._budgets.flush(revision)
        self._counters.flush(revision, now_ms)

    def _save(self, dim: Dim, hour_ms: int, booked: int, saved: int) -> None:
        key = (dim.org, hour_ms, dim.dim, booked)
        self._saved[key] = self._saved.get(key, 0) + saved
        _, month = self._calendar.day_and_month(hour_ms)
        text = _encode(self._admission.exported(dim.labels, booked)).decode()
        period = ("saved", month, text)
        self._periods[period] = self._periods.get(period, 0) + saved

    def _export(
        self, dim: Dim, hour_ms: int, booked: int, kind: str, status: str, requests: int,
        quantities: Mapping[str, int], up: int, down: int, until: int, history: bool,
    ) -> None:  # fmt: skip
        labels = self._admission.exported(dim.labels, booked)
        add = self._counters.add
        if up:
            add("llm_cost_total", labels, up, until, history)
        if down:
            add("llm_cost_credit_total", labels, down, until, history)
        if dim.labels.category == "llm_api":
            _, provider, model, tenant, environment = labels[:5]
            call = (provider, model, tenant, environment)
            if requests:
                add("llm_requests_total", (*call, status), requests, until, history)
                if kind == "unpriced":
                    add("llm_unpriced_requests_total", (provider, model), requests, until, history)
            for name, amount in quantities.items():
                if name in _TOKENS:
                    add("llm_tokens_total", (*call, name), amount, until, history)
        if up != down:
            text = _encode(labels).decode()
            local_day, month = self._calendar.day_and_month(hour_ms)
            for grain, start in (("day", local_day), ("month", month)):
                key = (grain, start, text)
                self._periods[key] = self._periods.get(key, 0) + up - down
            for series in self._budgets.book(dim.labels, hour_ms, up - down):
                add("llm_budget_cost_total", series, up - down, until, history)

    def _flush_cells(self, table: str) -> None:
        cached, rows = self._cached[table], []
        if len(cached) > 20_000:
            cached.clear()
        for key, delta in self._cells[table].items():
            total = cached.get(key)
            if total is None:
                total = cached[key] = self._stored(table, key)
            _add(
                total, delta.requests, delta.latency_ms, delta.up, delta.down,
                delta.quantities, delta.nanos,
            )  # fmt: skip
            rows.append(
                (
                    *key,
                    total.requests,
                    total.latency_ms,
                    total.up,
                    total.down,
                    _encode(total.quantities).decode(),
                    _encode(total.nanos).decode(),
                )
            )
        self._connection.executemany(
            f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
        )
        self._cells[table].clear()

    def _stored(self, table: str, key: CellKey) -> _Sum:
        bucket = "hour" if table == "cell" else "day"
        row = self._connection.execute(
            f"SELECT requests, latency_ms, up, down, quantities, nanos FROM {table} "
            f"WHERE org = ? AND {bucket} = ? AND dim = ? AND booked = ? AND kind = ? "
            "AND status = ?",
            key,
        ).fetchone()
        total = _Sum()
        if row is not None:
            total.requests, total.latency_ms, total.up, total.down = row[:4]
            total.quantities = msgspec.json.decode(row[4])
            total.nanos = msgspec.json.decode(row[5])
        return total


def _add(
    total: _Sum, requests: int, latency_ms: int, up: int, down: int,
    quantities: Mapping[str, int], nanos: Mapping[str, int],
) -> None:  # fmt: skip
    total.requests += requests
    total.latency_ms += latency_ms
    total.up += up
    total.down += down
    for name, amount in quantities.items():
        total.quantities[name] = total.quantities.get(name, 0) + amount
    for name, amount in nanos.items():
        total.nanos[name] = total.nanos.get(name, 0) + amount
