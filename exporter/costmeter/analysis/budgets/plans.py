"""Planned spend: what of it has come, what is still to come, what it was of the recent rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Plans(NamedTuple):
    """Declared amounts in a period, at an instant.

    `begun` are those whose time has begun in the period, `open` those whose time is now.
    `ahead` are (instant, amount) that the rest of the period brings; of an open one it is
    what has not been spent yet. `in_rate` is what plans account for of the recent spend.
    """

    begun: int = 0
    open: int = 0
    ahead: tuple[tuple[int, int], ...] = ()
    in_rate: int = 0

    @property
    def left(self) -> int:
        return sum(amount for _, amount in self.ahead)


NO_PLANS = Plans()


def plans(
    dues: Iterable[tuple[int, int, int]],
    spent_in: Callable[[int, int], int],
    period: tuple[int, int],
    recent_since_ms: int,
    now_ms: int,
) -> Plans:
    """`dues` are (from, until, amount) around the period; `spent_in(from, until)` is net spend.

    Which spend a plan is nobody can tell; up to its amount, what was spent in its time
    is taken for it.
    """
    start_ms, end_ms = period
    begun = opened = in_rate = 0
    ahead: list[tuple[int, int]] = []
    for from_ms, until_ms, amount in sorted(dues):
        if now_ms < from_ms:
            if start_ms <= from_ms < end_ms:
                ahead.append((from_ms, amount))
            continue
        if start_ms <= from_ms:
            begun += amount
        if now_ms < until_ms:
            opened += amount
            rest = amount - max(spent_in(from_ms, now_ms + 1), 0)
            if rest > 0:
                ahead.append((now_ms, rest))
        seen_ms = max(from_ms, recent_since_ms)
        if seen_ms < until_ms:
            in_rate += min(amount, max(spent_in(seen_ms, until_ms), 0))
    return Plans(begun, opened, tuple(sorted(ahead)), in_rate)
