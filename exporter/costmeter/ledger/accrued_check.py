"""Fixed costs against their terms: each cell's postings are what its time costs.

Written apart from the booking on purpose, month by month instead of from instant to
instant: an error in one shows against the other.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import date, datetime
from functools import lru_cache
from sqlite3 import Connection
from zoneinfo import ZoneInfo

from costmeter.ledger.accrued import COVERED, KIND, Covered, covered_of
from costmeter.ledger.differences import Difference
from costmeter.pricing.accrued import Recurring

Key = tuple[str, int, int, int]


def fixed_costs(connection: Connection, cell_ms: int) -> Iterator[Difference]:
    """Every cell of an entry that does not hold what the entry's terms make of its time."""
    wanted: dict[Key, int] = {}
    last: tuple[str, int] = ("", 0)
    for name, value in connection.execute(
        "SELECT name, value FROM state WHERE kind = ? ORDER BY name", (COVERED,)
    ):
        entry, part = name.partition(" ")[0], covered_of(value)
        if entry == last[0] and part.since < last[1]:
            yield Difference("fixed cost", entry, "charged until", last[1], part.since)
        last = (entry, part.until)
        _add(wanted, entry, part, cell_ms)
    for posting, hour, dim, history, nano in connection.execute(
        "SELECT id, hour, dim, history, nano FROM posting WHERE kind = ? AND id GLOB ?",
        (KIND, f"{KIND}:*"),
    ):
        key = (posting.split(":")[1], hour, dim, history)
        wanted[key] = wanted.get(key, 0) - nano
    for (entry, hour, dim, _), missing in sorted(wanted.items()):
        if missing:
            yield Difference("fixed cost", f"{entry} hour {hour} dim {dim}", "nano", -missing, 0)


def _add(wanted: dict[Key, int], entry: str, part: Covered, cell_ms: int) -> None:
    """What the terms make of each cell, month by month."""
    terms = part.terms
    first = date.fromisoformat(terms.anchor)
    local = datetime.fromtimestamp(part.since // 1000, ZoneInfo(terms.zone))
    # The month before may still be under way: the anchor's day has not come in this one.
    number = (local.year * 12 + local.month) - (first.year * 12 + first.month) - 1
    at, before = part.since, None
    while at < part.until:
        begins, ends = (_begins(first, number + k, terms.zone) for k in (0, 1))
        length = ends - begins
        while begins <= at < min(ends, part.until):
            hour = at - at % cell_ms
            stop = min(hour + cell_ms, ends, part.until)
            if before is None:
                before = _rounded(terms.nano * (number * length + at - begins), length, terms)
            after = _rounded(terms.nano * (number * length + stop - begins), length, terms)
            key = (entry, hour, part.dim, part.history)
            wanted[key] = wanted.get(key, 0) + after - before
            at, before = stop, after
        number += 1


def _rounded(amount: int, length: int, terms: Recurring) -> int:
    """`amount` a month of this length, over all months, half to even."""
    whole, rest = divmod(amount, length * terms.months)
    over = 2 * rest - length * terms.months
    return whole + 1 if over > 0 or (over == 0 and whole % 2) else whole


@lru_cache(maxsize=4_096)
def _begins(first: date, number: int, zone: str) -> int:
    year, month = divmod(first.year * 12 + first.month - 1 + number, 12)
    day = min(first.day, monthrange(year, month + 1)[1])
    return int(datetime(year, month + 1, day, tzinfo=ZoneInfo(zone)).timestamp()) * 1000
