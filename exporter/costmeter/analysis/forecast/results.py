"""What a forecast says, in plain numbers: for a metric, a table, a dashboard, a document."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

from msgspec import Struct

#: The sums that are published: days ahead.
HORIZONS = (1, 7, 14, 30, 90)


class Interval(Struct, frozen=True):
    """An amount in nano-USD with its 80 % and 95 % intervals."""

    point: int
    lower80: int
    upper80: int
    lower95: int
    upper95: int


_FIELDS = 5


@dataclass(frozen=True, slots=True)
class Intervals(Sequence[Interval]):
    """Intervals packed as little-endian int64, five each: a tenth of the memory of objects."""

    packed: bytes

    @classmethod
    def of(cls, intervals: Iterable[Interval]) -> Intervals:
        """Pack intervals. OverflowError where an amount exceeds an int64."""
        row = array("q")
        for one in intervals:
            row.extend((one.point, one.lower80, one.upper80, one.lower95, one.upper95))
        if sys.byteorder == "big":
            row.byteswap()
        return cls(row.tobytes())

    def __len__(self) -> int:
        return len(self.packed) // (8 * _FIELDS)

    @overload
    def __getitem__(self, at: int) -> Interval: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Interval, ...]: ...
    def __getitem__(self, at: int | slice) -> Interval | tuple[Interval, ...]:
        if isinstance(at, slice):
            return tuple(self[one] for one in range(*at.indices(len(self))))
        place = range(len(self))[at]
        row = array("q", self.packed[place * 8 * _FIELDS : (place + 1) * 8 * _FIELDS])
        if sys.byteorder == "big":
            row.byteswap()
        return Interval(*row)


class Character(Struct, frozen=True):
    """How a series behaves. Weekdays: 0 = Monday. Ratios, not percent.

    `weekly_strength` and `trend_strength` are shares of variance, 0 to 1; `weekday_factor` is
    the strongest weekday over an ordinary one; `trend_per_day` the relative change a day;
    `level_shift_days` how many days ago a new level began, None without one.
    """

    weekly_strength: float
    strongest_weekday: int
    weekday_factor: float
    trend: str  # "rising", "falling" or "steady"
    trend_per_day: float
    trend_strength: float
    level_shift_days: int | None


class Quality(Struct, frozen=True):
    """The backtest's verdict, seven days ahead; None where the history was too short for one.

    `wape`: absolute error over amount; `total_error`: that of seven days' sum; `mase`: error
    over the seasonal naive method's; `coverage`: share within the 95 % interval.
    """

    wape: float | None
    total_error: float | None
    mase: float | None
    coverage: float | None


class Forecast(Struct, frozen=True):
    """One series from the day after `last_day` (days since 1970-01-01) on.

    `days[h - 1]` is the h-th day ahead and `totals[h - 1]` the sum up to it. `method` names the
    method with the largest `method_share` of the mixture, or the deep model's name.
    """

    last_day: int
    days: Intervals
    totals: Intervals
    method: str
    method_share: float
    quality: Quality
    character: Character
    history_days: int

    def total(self, days: int) -> Interval | None:
        """The sum of the next `days` days, None beyond what was forecast."""
        return self.totals[days - 1] if 1 <= days <= len(self.totals) else None


def to_period_end(
    spent: int, forecast: Forecast, days_left: int, today_share: float | None = None
) -> Interval | None:
    """A period's total: what is spent, exactly, and the forecast of what is left of it.

    `days_left` counts today, which is the forecast's first day, and the days after it up to the
    period's end. `spent` (nano-USD) includes today so far. `today_share` is the share of an
    ordinary day's amount that falls before now (by the scope's own hours, or the share of the
    day that has passed): only the rest of today is added. None: today has not begun. A period
    that is over is its amount; one that ends beyond the forecast has no total (None).
    """
    if days_left <= 0:
        return Interval(spent, spent, spent, spent, spent)
    left = forecast.total(days_left)
    if left is None:
        return None
    first = forecast.days[0]
    gone = round(first.point * min(max(today_share or 0.0, 0.0), 1.0))
    rest = left.point - gone
    # Of a sum's interval, the part that today takes shrinks with today.
    kept = rest / left.point if left.point > 0 else 1.0

    def bound(of: int) -> int:
        return spent + rest + round((of - left.point) * kept)

    return Interval(
        spent + rest,
        bound(left.lower80),
        bound(left.upper80),
        bound(left.lower95),
        bound(left.upper95),
    )


class Score(Struct, frozen=True):
    """Yesterday's forecasts against what came: `error_ratio` = absolute error over amount,
    None where nothing was spent; `coverage` = share within the 95 % interval."""

    days: int
    error_ratio: float | None
    coverage: float


def score(made: list[Interval], actual: list[int | None]) -> Score | None:
    """Score stored forecasts, one a day, against the days' final amounts in nano-USD.

    Both oldest first and equally long (ValueError otherwise); a day that is not final is None
    and is left out. A rolling score takes the last 28. None without a final day.
    """
    pairs = [(one, came) for one, came in zip(made, actual, strict=True) if came is not None]
    if not pairs:
        return None
    wrong = sum(abs(one.point - came) for one, came in pairs)
    amount = sum(abs(came) for _one, came in pairs)
    inside = sum(one.lower95 <= came <= one.upper95 for one, came in pairs)
    return Score(len(pairs), wrong / amount if amount else None, inside / len(pairs))
