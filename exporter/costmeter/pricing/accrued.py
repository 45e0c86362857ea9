"""Amounts that accrue with time: so much for every so many months, to any instant.

A month's part is spread evenly over its time, and every month of a year or of an
amortisation bears the same part, however long it is. What accrues between two instants is
a difference of two rounded running sums, so pieces always add up to the whole, wherever
they are cut.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from costmeter.model import half_even

#: Months of the calendar are counted from here.
CALENDAR = "2000-01-01"


class Recurring(NamedTuple):
    """`nano` for every `months` months, which begin at the day `anchor` in `zone`."""

    nano: int
    months: int = 1
    anchor: str = CALENDAR
    zone: str = "UTC"


def accrued(terms: Recurring, since_ms: int, until_ms: int) -> int:
    """Nano-USD of the time from `since_ms` until before `until_ms`."""
    return running(terms, until_ms) - running(terms, since_ms)


def running(terms: Recurring, at_ms: int) -> int:
    """Nano-USD from the anchor to an instant, rounded half to even once; negative before it.

    amount x (whole months + the part of the month that has passed) / months
    """
    number = _month(terms.anchor, terms.zone, at_ms)
    begins = month_start(terms.anchor, terms.zone, number)
    length = month_start(terms.anchor, terms.zone, number + 1) - begins
    passed = number * length + at_ms - begins
    return half_even(terms.nano * passed, length * terms.months)


@lru_cache(maxsize=4_096)
def month_start(anchor: str, zone: str, number: int) -> int:
    """When the month with this number begins, in ms; month 0 begins at the anchor's midnight.

    A day that a month does not have is its last one.
    """
    first = date.fromisoformat(anchor)
    year, month = divmod(first.year * 12 + first.month - 1 + number, 12)
    day = min(first.day, monthrange(year, month + 1)[1])
    return day_start(date(year, month + 1, day), zone)


def day_start(day: date, zone: str) -> int:
    """Midnight of a day in a zone, in ms."""
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000


def _month(anchor: str, zone: str, at_ms: int) -> int:
    first = date.fromisoformat(anchor)
    local = datetime.fromtimestamp(at_ms // 1_000, UTC).astimezone(ZoneInfo(zone))
    number = (local.year - first.year) * 12 + local.month - first.month
    while month_start(anchor, zone, number) > at_ms:
        number -= 1
    while month_start(anchor, zone, number + 1) <= at_ms:
        number += 1
    return number
