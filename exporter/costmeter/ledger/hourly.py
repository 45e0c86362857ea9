"""Hourly spend of what is metered: what point anomalies are found in. Integers of nano-USD.

Bills are left out: they come by the day and late.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from sqlite3 import Connection

from msgspec import Struct, field

from costmeter.ledger.daily import DIMENSIONS, LEDGER, OTHER, Scope
from costmeter.ledger.history import METERED_KINDS
from costmeter.model import MS_PER_DAY


class Hours(Struct):
    """One scope: net spend by the hour's start, and the part that was booked days later."""

    net: dict[int, int] = field(default_factory=dict)
    late: dict[int, int] = field(default_factory=dict)

    def add(self, hour: int, net: int, late: int) -> None:
        self.net[hour] = self.net.get(hour, 0) + net
        if late:
            self.late[hour] = self.late.get(hour, 0) + late


def spend_by_hour(
    connection: Connection, since_ms: int, until_ms: int, scopes: Collection[Scope]
) -> dict[Scope, Hours]:
    """Of `scopes`; where a dimension's OTHER is among them it has all that have no own.

    Late is what was booked after the day that follows the hour's day (UTC).
    """
    wanted = frozenset(scopes)
    names = {
        dim: list(_scopes(zip(DIMENSIONS, values, strict=True), wanted))
        for dim, *values in connection.execute(f"SELECT dim, {', '.join(DIMENSIONS)} FROM dim")
    }
    marks = ", ".join("?" * len(METERED_KINDS))
    found: dict[Scope, Hours] = {}
    for hour, dim, net, late in connection.execute(
        "SELECT hour, dim, sum(up) - sum(down), "
        f"sum(CASE WHEN booked > hour / {MS_PER_DAY} + 1 THEN up - down ELSE 0 END) "
        "FROM cell WHERE org IN (SELECT org FROM org) AND hour >= ? AND hour < ? "
        f"AND kind IN ({marks}) GROUP BY hour, dim",
        (since_ms, until_ms, *METERED_KINDS),
    ):
        for scope in names.get(dim, ()):
            found.setdefault(scope, Hours()).add(hour, net, late)
    return found


def _scopes(pairs: Iterable[Scope], wanted: Collection[Scope]) -> Iterable[Scope]:
    if LEDGER in wanted:
        yield LEDGER
    for pair in pairs:
        other = (pair[0], OTHER)
        if pair[1] and pair in wanted:
            yield pair
        elif pair[1] and other in wanted:
            yield other
