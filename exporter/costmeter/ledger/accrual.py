"""Usage that accrues over time: a GPU's hour is priced as a whole, in pieces.

Each piece posts priced(everything of the hour so far) - posted, so that the pieces add
up to the price of the whole hour to the nano. A GPU cannot work longer than the hour:
what goes beyond is set aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from sqlite3 import Connection

from costmeter.model import MS_PER_HOUR, Usage
from costmeter.pricing import Rate

#: Two clocks that agree to a few seconds may still overlap by them.
TOLERANCE_MS = 5_000


class Accruals:
    """Used inside the write transaction only."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def room(self, usage: Usage) -> int:
        """GPU-milliseconds that this resource's hour can still take."""
        row = self._connection.execute(
            "SELECT coalesce(sum(quantity), 0) FROM accrual WHERE resource = ? AND hour = ?",
            (usage.resource, _hour(usage.at_ms)),
        ).fetchone()
        return max(0, MS_PER_HOUR + TOLERANCE_MS - int(row[0]))

    def price(
        self, resource: str, at_ms: int, added_ms: int, rate: Rate | None, number: int
    ) -> Mapping[str, int] | None:
        """What this piece adds to the priced hour, as {"gpu_ms": nano}.

        None without a price; the time is then kept under rate 0, so that the hour still
        cannot hold more than an hour.
        """
        key = (resource, _hour(at_ms), number)
        row = self._connection.execute(
            "SELECT quantity, nano FROM accrual WHERE resource = ? AND hour = ? AND rate = ?", key
        ).fetchone()
        quantity, posted = row if row is not None else (0, 0)
        quantity += added_ms
        wanted = 0 if rate is None else rate.cost({"gpu_ms": quantity})
        if wanted is None:
            raise AssertionError(f"rate {number} was chosen for GPU time and has no price for it")
        self._connection.execute(
            "INSERT OR REPLACE INTO accrual VALUES (?, ?, ?, ?, ?)", (*key, quantity, wanted)
        )
        return None if rate is None else {"gpu_ms": wanted - posted}

    def withdraw(self, resource: str, at_ms: int, taken_ms: int, number: int, nano: int) -> None:
        """Take a piece out of its hour, because it is booked under another rate now."""
        self._connection.execute(
            "UPDATE accrual SET quantity = quantity - ?, nano = nano - ? "
            "WHERE resource = ? AND hour = ? AND rate = ?",
            (taken_ms, nano, resource, _hour(at_ms), number),
        )


def _hour(at_ms: int) -> int:
    return at_ms - at_ms % MS_PER_HOUR
