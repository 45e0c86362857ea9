"""Settlements against bills and cells: what is borne and what is nobody's is the bill.

Written apart from the settling on purpose: an error in one shows against the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from sqlite3 import Connection

import msgspec

from costmeter.ledger.differences import Difference

_NEWEST = (
    "SELECT scope, day, source, basis, status, metered, billed, adopted FROM settlement AS s "
    "WHERE rev = (SELECT max(rev) FROM settlement WHERE scope = s.scope AND day = s.day)"
)
_LINES = (
    "SELECT coalesce(sum(usd_nano), 0), "
    "count(*) > 0 AND count(*) = count(iif(maturity = 'final', usd_nano, NULL)) "
    "FROM bill AS b WHERE scope = ? AND day = ? AND source = ? AND basis = ? "
    "AND rev = (SELECT max(rev) FROM bill WHERE source = b.source AND day = b.day "
    "AND basis = b.basis AND line = b.line)"
)


def settlements(connection: Connection) -> Iterator[Difference]:
    """Every settled day that is not its bill, to the nano."""
    rows = connection.execute(_NEWEST).fetchall()
    if not rows:
        return
    meters = _meters(connection)
    taken = {(day, dim) for row in rows for day in (row[1],) for dim in _adopted(row)}
    due = set(connection.execute("SELECT scope, day FROM settle_due"))
    posted: dict[tuple[str, int], int] = {}
    for scope, hour, nano in connection.execute(
        "SELECT scope, hour, sum(nano) FROM posting WHERE scope != '' GROUP BY scope, hour"
    ):
        key = (scope, hour // 86_400_000)
        posted[key] = posted.get(key, 0) + nano
    for row in rows:
        scope, day, source, basis, status, metered, billed, _ = row
        name = f"{scope} day {day}"
        waits = (scope, day) in due
        bill, final = connection.execute(_LINES, (scope, day, source, basis)).fetchone()
        if bill != billed and not waits:
            yield Difference("settlement", name, "billed", billed, bill)
        if final != (status == "final") and not waits:
            yield Difference("settlement", name, "final", int(status == "final"), final)
        settled = status != "metered"
        if settled and not waits:
            own = meters.get((scope, day), {})
            computed = sum(nano for dim, nano in own.items() if (day, dim) not in taken)
            for dim in _adopted(row):
                computed += sum(found.get(dim, 0) for (_, at), found in meters.items() if at == day)
            if computed != metered:
                yield Difference("settlement", name, "metered", metered, computed)
        value = metered + posted.pop((scope, day), 0)
        wanted = billed if settled else metered
        if value != wanted:
            yield Difference("settlement", name, "value", value, wanted)
    for (scope, day), nano in posted.items():
        if nano:
            yield Difference("posting", f"{scope} day {day}", "nano", nano, 0)


def _adopted(row: tuple[object, ...]) -> list[int]:
    adopted: list[int] = msgspec.json.decode(str(row[7]))
    return adopted


def _meters(connection: Connection) -> dict[tuple[str, int], dict[int, int]]:
    """Metered nano by dim, for each scope's day that has cells."""
    found: dict[tuple[str, int], dict[int, int]] = {}
    for scope, day, dim, nano in connection.execute(
        "SELECT dim.scope, day, dim, sum(up - down) FROM day_cell JOIN dim USING (dim) "
        "WHERE kind NOT IN ('settle', 'bill') AND day IN (SELECT day FROM settlement) "
        "GROUP BY day, dim"
    ):
        found.setdefault((scope, day), {})[dim] = nano
    return found
