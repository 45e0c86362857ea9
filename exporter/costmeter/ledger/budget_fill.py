"""Fills budgets that are new, or count something else than before, from what the ledger holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from sqlite3 import Connection

from costmeter.ledger.budget_periods import periods_of
from costmeter.ledger.budgets import BudgetBook
from costmeter.model import Budget, Labels


def from_ledger(
    connection: Connection, book: BudgetBook, fresh: Mapping[int, Budget], cell_ms: int
) -> None:
    """Fill budgets from the cells, and those of users from the events: one pass for all."""
    connection.executemany(
        "DELETE FROM budget_net WHERE number = ?", [(number,) for number in fresh]
    )
    dims = {
        row[0]: Labels(*row[1:])
        for row in connection.execute(f"SELECT dim, {', '.join(Labels._fields)} FROM dim")
    }
    sums: dict[tuple[int, int], int] = {}
    plain: dict[int, tuple[int, ...]] = {}
    if any("user_id" not in dict(budget.match) for budget in fresh.values()):
        for dim, hour, net in connection.execute(
            "SELECT dim, hour, sum(up - down) FROM cell GROUP BY dim, hour"
        ):
            numbers = plain.get(dim)
            if numbers is None:
                found = book.covering(dims[dim]).numbers
                numbers = plain[dim] = tuple(n for n in found if n in fresh)
            for number in numbers:
                key = (number, hour)
                sums[key] = sums.get(key, 0) + net
    users = {dict(budget.match).get("user_id", "") for budget in fresh.values()} - {""}
    if users:
        for user, dim, hour, net in users_hours(connection, cell_ms):
            if user in users:
                for number in book.covering(dims[dim], user).numbers:
                    if number in fresh:
                        key = (number, hour)
                        sums[key] = sums.get(key, 0) + net
    connection.executemany(
        "INSERT INTO budget_net VALUES (?, ?, ?)",
        [(number, hour, net) for (number, hour), net in sums.items()],
    )


def periods(connection: Connection, budgets: Mapping[int, Budget]) -> None:
    """Add up each budget's periods from its hours."""
    for number, budget in budgets.items():
        cut, sums = periods_of(budget.cut), dict[int, int]()
        for hour, net in connection.execute(
            "SELECT hour, net FROM budget_net WHERE number = ?", (number,)
        ):
            found = cut.of(hour)
            if found is not None:
                sums[found[0]] = sums.get(found[0], 0) + net
        connection.execute("DELETE FROM budget_period WHERE number = ?", (number,))
        connection.executemany(
            "INSERT INTO budget_period VALUES (?, ?, ?)",
            [(number, start, net) for start, net in sums.items()],
        )


def users_hours(connection: Connection, cell_ms: int) -> Iterable[tuple[str, int, int, int]]:
    """(user, dim, hour, nano) of what the calls of users cost as they stand."""
    return connection.execute(
        "SELECT user_id, coalesce(c.dim, e.dim), at_ms - at_ms % ?, "
        "sum(CASE WHEN c.event IS NULL THEN e.nano ELSE c.nano END) "
        "FROM usage_event AS e LEFT JOIN event_change AS c ON c.event = e.event AND c.seq = "
        "(SELECT max(seq) FROM event_change WHERE event = e.event) "
        "WHERE user_id != '' AND resource = '' "
        "GROUP BY 1, 2, 3 HAVING sum(CASE WHEN c.event IS NULL THEN e.nano ELSE c.nano END) != 0",
        (cell_ms,),
    )
