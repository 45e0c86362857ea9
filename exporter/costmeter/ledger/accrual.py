"""Usage that accrues over time: a GPU's hour is priced as a whole, in pieces.

An hour holds time of every state and energy, of all its owners together. Each piece posts
priced(everything of the hour so far) - posted, so that the pieces add up to the price of
the whole hour to the nano. A GPU cannot work longer than the hour: what goes beyond is set
aside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from sqlite3 import Connection

import msgspec

from costmeter.model import GPU_ENERGY, GPU_TIME_CLASSES, MS_PER_HOUR
from costmeter.pricing.gpu_hours import gpu_hour
from costmeter.pricing.rates import GPU_MS, Rate

#: Two clocks that agree to a few seconds may still overlap by them.
TOLERANCE_MS = 5_000
#: Hours that are remembered between transactions: 1,000 machines with 8 GPUs, some of them
#: at the turn of the hour. Past it they are read from the table again.
REMEMBERED = 20_000
#: Under this number stands what has no price; its nano is what the hour owes, see `_Hour`.
UNPRICED = 0


class _Hour:
    """One resource's hour: what it holds of each rate.

    `parts` maps the number of a rate to [time_ms, energy_mj, nano], where nano is the price
    of that time and energy. Together they are what the hour's events bear, up to `owed`: a
    piece that leaves takes its own nano along, which may be one off what the hour gets
    cheaper by. The next piece takes what is owed.
    """

    __slots__ = ("owed", "parts", "time_ms")

    def __init__(self) -> None:
        self.parts: dict[int, list[int]] = {}
        self.owed = 0
        self.time_ms = 0


class Accruals:
    """Used inside the write transaction only; `write` is the last thing that it does."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._hours: dict[tuple[str, int], _Hour] = {}
        self._touched: set[tuple[str, int, int]] = set()

    def forget(self) -> None:
        """Drop what was cached, because its transaction was rolled back."""
        self._hours.clear()
        self._touched.clear()

    def fitting(
        self, resource: str, at_ms: int, quantities: Mapping[str, int]
    ) -> tuple[Mapping[str, int], int]:
        """What of a piece its hour has room for, and the milliseconds that it has not.

        Every class is cut in the same proportion, to whole milliseconds and millijoules.
        """
        wanted = time_of(quantities)
        room = max(0, MS_PER_HOUR + TOLERANCE_MS - self._hour(resource, at_ms).time_ms)
        if wanted <= room:
            return quantities, 0
        kept: dict[str, int] = {}
        passed = given = 0
        for name, amount in quantities.items():
            if name in GPU_TIME_CLASSES:
                # By running sums, so that the parts add up to the room.
                passed += amount
                upto = passed * room // wanted
                kept[name], given = upto - given, upto
            else:
                kept[name] = amount * room // wanted
        return {name: amount for name, amount in kept.items() if amount}, wanted - room

    def price(
        self, resource: str, at_ms: int, quantities: Mapping[str, int],
        rate: Rate | None, number: int, *, again: bool = False,
    ) -> int | None:  # fmt: skip
        """Nano-USD that this piece adds to the priced hour.

        A piece that is booked `again` takes all that is owed, and may so come to bear a few
        nano less than nothing; a new one bears 0 or more.

        None without a price; its time is then kept under rate 0, so that the hour still
        cannot hold more than an hour.
        """
        hour = self._hour(resource, at_ms)
        if rate is None or GPU_MS not in rate.prices:
            self._change(resource, at_ms, hour, UNPRICED, quantities, 1)
            return None
        part = self._change(resource, at_ms, hour, number, quantities, 1)
        due = self._renew(part, rate) + hour.owed
        nano = due if again else max(due, 0)
        if hour.owed or due != nano:
            hour.owed = due - nano
            self._touch(resource, at_ms, UNPRICED)
        return nano

    def withdraw(
        self, resource: str, at_ms: int, quantities: Mapping[str, int],
        rate: Rate | None, number: int, nano: int,
    ) -> None:  # fmt: skip
        """Take a piece that bears `nano` out of its hour, because it is booked anew."""
        hour = self._hour(resource, at_ms)
        part = self._change(resource, at_ms, hour, number, quantities, -1)
        if rate is None:
            return
        owed = self._renew(part, rate) + nano
        if owed:
            hour.owed += owed
            self._touch(resource, at_ms, UNPRICED)

    def write(self) -> None:
        """Write what changed since the last time."""
        if not self._touched:
            return
        rows = []
        for resource, hour_ms, number in self._touched:
            hour = self._hours[resource, hour_ms]
            time_ms, energy_mj, nano = hour.parts.get(number, (0, 0, 0))
            if number == UNPRICED:
                nano = hour.owed
            rows.append((resource, hour_ms, number, time_ms, nano, energy_mj))
        self._connection.executemany(
            "INSERT OR REPLACE INTO accrual (resource, hour, rate, quantity, nano, energy_mj) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
        self._touched.clear()
        if len(self._hours) > REMEMBERED:
            self._hours.clear()

    def _hour(self, resource: str, at_ms: int) -> _Hour:
        key = (resource, hour_of(at_ms))
        found = self._hours.get(key)
        if found is None:
            found = self._hours[key] = _Hour()
            for number, time_ms, energy_mj, nano in self._connection.execute(
                "SELECT rate, quantity, energy_mj, nano FROM accrual "
                "WHERE resource = ? AND hour = ?",
                key,
            ):
                found.time_ms += time_ms
                found.parts[number] = [time_ms, energy_mj, nano]
                if number == UNPRICED:
                    found.owed = nano
        return found

    def _change(
        self, resource: str, at_ms: int, hour: _Hour, number: int,
        quantities: Mapping[str, int], sign: int,
    ) -> list[int]:  # fmt: skip
        part = hour.parts.setdefault(number, [0, 0, 0])
        time_ms = sign * time_of(quantities)
        part[0] += time_ms
        part[1] += sign * quantities.get(GPU_ENERGY, 0)
        hour.time_ms += time_ms
        self._touch(resource, at_ms, number)
        return part

    def _renew(self, part: list[int], rate: Rate) -> int:
        """Price a part anew; by how much more it is now."""
        wanted = gpu_hour(rate, part[0], part[1])
        if wanted is None:
            raise AssertionError(f"{rate.rate_id} was chosen for GPU time and has no price for it")
        more, part[2] = wanted - part[2], wanted
        return more

    def _touch(self, resource: str, at_ms: int, number: int) -> None:
        self._touched.add((resource, hour_of(at_ms), number))


def time_of(quantities: Mapping[str, int]) -> int:
    """GPU-milliseconds of all states."""
    found = 0
    for name in GPU_TIME_CLASSES:
        if name in quantities:
            found += quantities[name]
    return found


def hour_of(at_ms: int) -> int:
    return at_ms - at_ms % MS_PER_HOUR


def settle_hours(connection: Connection) -> None:
    """Bring hours of an older version to what they hold now: their price, and what they owe.

    There a piece that left took its own nano out of the hour. Such hours are few.
    """
    prices = {
        number: Rate(rate_id, "", msgspec.json.decode(text))
        for number, rate_id, text in connection.execute("SELECT rate, rate_id, prices FROM price")
    }
    for resource, hour, number, nano, wanted in list(_unsettled(connection, prices)):
        connection.execute(
            "UPDATE accrual SET nano = ? WHERE resource = ? AND hour = ? AND rate = ?",
            (wanted, resource, hour, number),
        )
        connection.execute(
            "INSERT INTO accrual (resource, hour, rate, quantity, nano) VALUES (?, ?, 0, 0, ?) "
            "ON CONFLICT DO UPDATE SET nano = nano + excluded.nano",
            (resource, hour, wanted - nano),
        )


def _unsettled(
    connection: Connection, prices: Mapping[int, Rate]
) -> Iterator[tuple[str, int, int, int, int]]:
    for resource, hour, number, quantity, nano in connection.execute(
        "SELECT resource, hour, rate, quantity, nano FROM accrual WHERE rate != 0"
    ):
        wanted = gpu_hour(prices[number], quantity, 0) or 0
        if wanted != nano:
            yield resource, hour, number, nano, wanted
