"""Questions to the journal: what was spent, by what, and what was believed on a day."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection
from typing import NamedTuple

from costmeter.model import Labels

#: What spend can be grouped by: any attribute of usage, its day, or what booked it.
DIMENSIONS: tuple[str, ...] = (*Labels._fields, "scope", "kind", "day")


class Spend(NamedTuple):
    """One group of spend. `net = up - down`, all in nano-USD."""

    group: tuple[str, ...]
    requests: int
    up: int
    down: int

    @property
    def net(self) -> int:
        return self.up - self.down


def spend(
    connection: Connection,
    by: Sequence[str],
    *,
    since_ms: int = 0,
    until_ms: int = 1 << 62,
    booked_until: int | None = None,
    where: Sequence[tuple[str, str]] = (),
) -> list[Spend]:
    """Spend by usage time in [since_ms, until_ms), largest first.

    `booked_until` (a UTC day number) answers with what was booked up to that day's end:
    the same question about the past always has the same answer. Raises ValueError for a
    dimension that is not in `DIMENSIONS`.
    """
    unknown = [name for name in [*by, *(name for name, _ in where)] if name not in DIMENSIONS]
    if unknown:
        raise ValueError(f"unknown dimension {unknown[0]!r}; choose from {', '.join(DIMENSIONS)}")
    columns = [_column(name) for name in by]
    conditions = ["cell.hour >= ?", "cell.hour < ?"]
    values: list[object] = [since_ms, until_ms]
    if booked_until is not None:
        conditions.append("cell.booked <= ?")
        values.append(booked_until)
    for name, value in where:
        conditions.append(f"{_column(name)} = ?")
        values.append(value)
    group = f" GROUP BY {', '.join(columns)}" if columns else ""
    rows = connection.execute(
        f"SELECT {', '.join([*columns, 'sum(requests), sum(up), sum(down)'])} "
        f"FROM cell JOIN dim USING (dim) WHERE {' AND '.join(conditions)}{group}",
        values,
    )
    found = [
        Spend(tuple(str(value) for value in row[: len(by)]), *(int(n or 0) for n in row[len(by) :]))
        for row in rows
    ]
    return sorted(found, key=lambda item: (-item.net, item.group))


def _column(name: str) -> str:
    if name == "day":
        return "date(cell.hour / 1000, 'unixepoch')"
    return f"cell.{name}" if name == "kind" else f"dim.{name}"


class Unpriced(NamedTuple):
    provider: str
    model: str
    requests: int


def unpriced(connection: Connection) -> list[Unpriced]:
    """Calls that have no price now, most first."""
    return [
        Unpriced(*row)
        for row in connection.execute(
            "SELECT provider, model, count(*) FROM unpriced JOIN dim USING (dim) "
            "GROUP BY provider, model ORDER BY count(*) DESC, provider, model"
        )
    ]


class BudgetSpend(NamedTuple):
    """Net nano-USD booked against a budget within two spans of time."""

    spent: int
    recent: int
    first_ms: int | None
    """The first hour of the recent span in which anything was booked."""


def budget_spend(
    connection: Connection, budget: str, start_ms: int, end_ms: int, recent_since_ms: int
) -> BudgetSpend:
    """What a budget spent in [start_ms, end_ms), and in [recent_since_ms, end_ms)."""
    row = connection.execute(
        "SELECT coalesce(sum(net) FILTER (WHERE hour >= ?), 0), "
        "coalesce(sum(net) FILTER (WHERE hour >= ?), 0), min(hour) FILTER (WHERE hour >= ?) "
        "FROM budget_hour WHERE budget = ? AND hour >= ? AND hour < ?",
        (
            start_ms,
            recent_since_ms,
            recent_since_ms,
            budget,
            min(start_ms, recent_since_ms),
            end_ms,
        ),
    ).fetchone()
    return BudgetSpend(int(row[0]), int(row[1]), row[2])
