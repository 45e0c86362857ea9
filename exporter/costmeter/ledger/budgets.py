"""What is booked against each budget: net spend by hour, kept as postings arrive."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection

import msgspec

from costmeter.model import Budget, Labels


class BudgetBook:
    """Used inside the write transaction only, but for `active`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # What an earlier process booked and did not flush belongs to the budgets it had.
        self._active = self._kept = self._stored()
        self._covering: dict[Labels, tuple[Budget, ...]] = {}
        self._hours: dict[tuple[str, int], int] = {}

    def forget(self) -> None:
        """Drop what the rolled back transaction gathered, and the budgets it configured."""
        self._hours.clear()
        if self._active is not self._kept:
            self._active = self._kept
            self._covering.clear()

    def committed(self) -> None:
        """What was configured is in the file."""
        self._kept = self._active

    @property
    def active(self) -> tuple[Budget, ...]:
        return self._active

    def book(self, labels: Labels, hour_ms: int, net: int) -> list[tuple[str, tuple[str, str]]]:
        """Add net spend to every budget that covers it; the budgets' series labels."""
        covering = self._covering.get(labels)
        if covering is None:
            if len(self._covering) > 100_000:
                self._covering.clear()
            covering = tuple(b for b in self._active if b.covers(labels))
            self._covering[labels] = covering
        for budget in covering:
            key = (budget.name, hour_ms)
            self._hours[key] = self._hours.get(key, 0) + net
        return [(b.name, (b.period, b.tenant_id)) for b in covering]

    def flush(self) -> None:
        self._connection.executemany(
            "INSERT INTO budget_hour VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET net = net + excluded.net",
            [(*key, net) for key, net in self._hours.items()],
        )
        self._hours.clear()

    def configure(
        self, budgets: Sequence[Budget], revision: int, now_ms: int, hold_until_ms: int
    ) -> None:
        """Make these the active budgets; a new or rescoped one is filled from the cells.

        What was spent before is the counter's opening balance: in the gauges at once,
        never in `llm_budget_cost_total`, which goes on from where it stands. A counter
        that is new is held at zero until `hold_until_ms`, as every new series is.
        """
        stored = {
            name: (rev, msgspec.json.decode(definition, type=Budget), active)
            for name, rev, definition, active in self._connection.execute(
                "SELECT name, max(rev), definition, active FROM budget GROUP BY name"
            )
        }
        wanted = {budget.name: budget for budget in budgets}
        for name, (rev, before, active) in stored.items():
            if active and name not in wanted:
                self._store(rev + 1, before, len(budgets), active=False, now_ms=now_ms)
        for position, budget in enumerate(budgets):
            known = stored.get(budget.name)
            if known is not None and known[1] == budget and known[2]:
                continue
            rev = known[0] + 1 if known is not None else 1
            self._store(rev, budget, position, active=True, now_ms=now_ms)
            if known is None or known[1].match != budget.match or not known[2]:
                self._refill(budget, revision, hold_until_ms)
        self._active = tuple(budgets)
        self._covering.clear()

    def _stored(self) -> tuple[Budget, ...]:
        """The active budgets of the ledger, in the order of their configuration."""
        rows = self._connection.execute(
            "SELECT definition, active, max(rev) FROM budget GROUP BY name ORDER BY position"
        )
        return tuple(msgspec.json.decode(row[0], type=Budget) for row in rows if row[1])

    def _store(self, rev: int, budget: Budget, position: int, *, active: bool, now_ms: int) -> None:
        self._connection.execute(
            "INSERT INTO budget VALUES (?, ?, ?, ?, ?, ?)",
            (
                budget.name,
                rev,
                position,
                msgspec.json.encode(budget).decode(),
                int(active),
                now_ms,
            ),
        )

    def _refill(self, budget: Budget, revision: int, hold_until_ms: int) -> None:
        where = " AND ".join(f"dim.{name} = ?" for name, _ in budget.match) or "1"
        self._connection.execute("DELETE FROM budget_hour WHERE budget = ?", (budget.name,))
        self._connection.execute(
            "INSERT INTO budget_hour SELECT ?, cell.hour, sum(cell.up - cell.down) "
            f"FROM cell JOIN dim USING (dim) WHERE {where} GROUP BY cell.hour",
            (budget.name, *(value for _, value in budget.match)),
        )
        labels = msgspec.json.encode(budget.series_labels).decode()
        self._connection.execute(
            "INSERT INTO series (family, labels, value, opening, hold_until, rev) "
            "VALUES ('llm_budget_cost_total', ?, 0, 0, ?, ?) "
            "ON CONFLICT DO UPDATE SET rev = excluded.rev",
            (labels, hold_until_ms, revision),
        )
        self._connection.execute(
            "UPDATE series SET opening = value - "
            "(SELECT coalesce(sum(net), 0) FROM budget_hour WHERE budget = ?) "
            "WHERE family = 'llm_budget_cost_total' AND labels = ?",
            (budget.name, labels),
        )
