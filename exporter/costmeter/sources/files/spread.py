"""A charge of several days, divided among its UTC days so that the parts equal the whole."""

from __future__ import annotations

from decimal import Decimal

from costmeter.model import MS_PER_DAY
from costmeter.sources.files.values import EXACT, Unreadable

#: A month. What lasts longer was paid at once, and stays on the day on which it was.
LONGEST_DAYS = 31
#: Parts are whole multiples of this, or of the amount's own last digit where that is finer.
_FINEST = -12

#: Days, each with how many milliseconds of it the charge covers.
Span = tuple[tuple[int, int], ...]


def span(start_ms: int, end_ms: int, column: str = "") -> Span:
    """The UTC days of [start, end); one that ends where it begins has that day."""
    if end_ms < start_ms:
        raise Unreadable(column, "ends before it begins")
    first, last = start_ms // MS_PER_DAY, max(start_ms, end_ms - 1) // MS_PER_DAY
    if last == first or last - first >= LONGEST_DAYS + 1 or end_ms - start_ms > _LONGEST_MS:
        return ((first, 1),)
    return tuple(
        (day, min(end_ms, (day + 1) * MS_PER_DAY) - max(start_ms, day * MS_PER_DAY))
        for day in range(first, last + 1)
    )


_LONGEST_MS = LONGEST_DAYS * MS_PER_DAY


def divide(whole: Decimal, days: Span) -> list[Decimal]:
    """Parts by time, by largest remainder; the earlier day comes first among equals."""
    exponent: int = min(_FINEST, whole.as_tuple().exponent)  # type: ignore[assignment]
    units = int(EXACT.scaleb(whole, -exponent))
    total = sum(weight for _, weight in days)
    shares = [divmod(abs(units) * weight, total) for _, weight in days]
    parts = [share for share, _ in shares]
    order = sorted(range(len(days)), key=lambda at: (-shares[at][1], at))
    for at in order[: abs(units) - sum(parts)]:
        parts[at] += 1
    sign = -1 if units < 0 else 1
    return [EXACT.scaleb(Decimal(sign * part), exponent) for part in parts]
