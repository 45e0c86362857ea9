"""Recomputes what is booked against budgets from cells and events, and says what differs.

Written apart from the booking on purpose: it looks at every budget for every amount.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from sqlite3 import Connection

import msgspec

from costmeter.ledger.budget_fill import users_hours
from costmeter.ledger.budget_periods import periods_of
from costmeter.ledger.differences import Difference, Sums, add, compare
from costmeter.model import Budget, Labels


def budget_differences(
    connection: Connection,
    nets: Mapping[tuple[int, int], int],
    labels: Mapping[int, Labels],
    cell_ms: int,
) -> Iterator[Difference]:
    """`nets` is net spend by (dim, hour). Amounts of zero and none are the same."""
    budgets = _active(connection)
    by_tenant: dict[str, list[tuple[int, Budget]]] = {}
    for number, budget in budgets.items():
        by_tenant.setdefault(budget.tenant_id, []).append((number, budget))
    computed: dict[tuple[int, int], int] = {}

    def count(dim: int, hour: int, net: int, user: str = "") -> None:
        said = labels[dim]
        for number, budget in (*by_tenant.get("", ()), *by_tenant.get(said.tenant_id, ())):
            if ("user_id" in dict(budget.match)) == bool(user) and budget.covers(said, user):
                computed[(number, hour)] = computed.get((number, hour), 0) + net

    for (dim, hour), net in nets.items():
        count(dim, hour, net)
    if any("user_id" in dict(budget.match) for budget in budgets.values()):
        for user, dim, hour, net in users_hours(connection, cell_ms):
            count(dim, hour, net, user)
    periods: Sums = {}
    for (number, hour), net in computed.items():
        found = periods_of(budgets[number].cut).of(hour)
        if found is not None:
            add(periods.setdefault((number, found[0]), {}), {"net": net})
    stored = connection.execute("SELECT number, hour, net FROM budget_net WHERE net != 0")
    yield from compare("budget_net", _sums(stored, budgets), _without_zeros(computed))
    stored = connection.execute("SELECT number, start, net FROM budget_period WHERE net != 0")
    nonzero: Sums = {key: sums for key, sums in periods.items() if sums["net"]}
    yield from compare("budget_period", _sums(stored, budgets), nonzero)


def counted_sums(connection: Connection) -> Iterator[tuple[str, int]]:
    """(labels of the counter, what is booked) of each active budget that has a counter."""
    for definition, net in connection.execute(
        "SELECT definition, (SELECT coalesce(sum(net), 0) FROM budget_net "
        "WHERE budget_net.number = budget_now.number) "
        "FROM budget_now JOIN budget USING (name, rev) WHERE budget_now.active AND counted"
    ):
        budget = msgspec.json.decode(definition, type=Budget)
        yield msgspec.json.encode(budget.series_labels).decode(), int(net)


def _active(connection: Connection) -> dict[int, Budget]:
    return {
        number: msgspec.json.decode(definition, type=Budget)
        for number, definition in connection.execute(
            "SELECT number, definition FROM budget_now JOIN budget USING (name, rev) "
            "WHERE budget_now.active"
        )
    }


def _sums(rows: Iterator[tuple[int, int, int]], budgets: Mapping[int, Budget]) -> Sums:
    return {(number, at): {"net": net} for number, at, net in rows if number in budgets}


def _without_zeros(computed: Mapping[tuple[int, int], int]) -> Sums:
    return {key: {"net": net} for key, net in computed.items() if net}
