"""What was metered on a scope's day, as the cells have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.attribution import Scope, scope_of
from costmeter.ledger.settle.match import Meter
from costmeter.ledger.settle.plan import BILL, SETTLE
from costmeter.model import GPU_ENERGY, MS_PER_HOUR, TOKEN_CLASSES, Labels

_TOKENS = frozenset(TOKEN_CLASSES)
_CELLS = (
    f"SELECT dim, dim.scope, {', '.join(Labels._fields)}, kind, requests, up - down, quantities "
    "FROM day_cell JOIN dim USING (dim) "
    # Each organization by itself: cells are sorted by it first.
    f"WHERE day_cell.org IN (SELECT org FROM org) AND day = ? "
    f"AND kind NOT IN ('{SETTLE}', '{BILL}')"
)


class Metered(NamedTuple):
    """`adopted` are dims that were booked under another scope and are counted here."""

    meters: tuple[Meter, ...]
    adopted: tuple[int, ...]


def settlement_hour(day: int) -> int:
    """The cell that a day's settlement is posted to: noon, which is on the same date in
    nearly every reporting time zone."""
    return (day * 24 + 12) * MS_PER_HOUR


def metered_on(connection: Connection, scopes: Sequence[Scope], scope: Scope, day: int) -> Metered:
    """The day's meters by label tuple, sorted.

    Usage belongs to the scope that it was booked under. If that one has no bill for the
    day and the scopes of today say this one, it is counted here: the scopes were changed
    between the usage and its bill. What a scope counted once it keeps.
    """
    billed = {
        name
        for (name,) in connection.execute("SELECT DISTINCT scope FROM bill WHERE day = ?", (day,))
    }
    holders = _holders(connection, day)
    sums: dict[Labels, Meter] = {}
    adopted: set[int] = set()
    for dim, booked_under, *rest in connection.execute(_CELLS, (day,)):
        labels = Labels(*rest[:13])
        if booked_under != scope.name:
            if booked_under in billed:
                continue
            holder = holders.get(dim) or scope_of(scopes, labels).name
            if holder != scope.name:
                continue
            adopted.add(dim)
        kind, requests, nano, text = rest[13:]
        quantities = msgspec.json.decode(text)
        old = sums.get(labels) or Meter(labels, 0)
        sums[labels] = _added(old, kind, requests, nano, quantities)
    meters = (meter for meter in sums.values() if any(meter[1:5]))
    return Metered(tuple(sorted(meters)), tuple(sorted(adopted)))


def _holders(connection: Connection, day: int) -> dict[int, str]:
    """Which scope counts a dim of another one on this day."""
    return {
        dim: name
        for name, text in connection.execute(
            "SELECT scope, adopted FROM settlement AS s WHERE day = ? AND rev = "
            "(SELECT max(rev) FROM settlement WHERE scope = s.scope AND day = s.day) "
            "AND adopted != '[]'",
            (day,),
        )
        for dim in msgspec.json.decode(text)
    }


def _added(
    meter: Meter, kind: str, requests: int, nano: int, quantities: Mapping[str, int]
) -> Meter:
    tokens = sum(amount for name, amount in quantities.items() if name in _TOKENS)
    # Energy is another measure of the same GPU time, and would outweigh it by far.
    beside = quantities.get("requests", 0) + quantities.get(GPU_ENERGY, 0)
    return meter._replace(
        nano=meter.nano + nano,
        tokens=meter.tokens + tokens,
        pieces=meter.pieces + sum(quantities.values()) - tokens - beside,
        requests=meter.requests + requests,
        unpriced=meter.unpriced or (kind == "unpriced" and any(quantities.values())),
    )
