"""What a series does when nothing is wrong: season, trend, level, and how it strays.

Everything here is in a bent scale, asinh(amount / unit): proportional for ordinary amounts,
even around zero and for credits, so a season scales with its level. One row a series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmeter.analysis.anomaly.robust import (
    MAD,
    Floats,
    mean,
    median,
    medians,
    profile,
    quantile,
    widen,
)
from costmeter.analysis.anomaly.slots import Slots

#: Least deviation of one step, of the shift window and of the drift window, in the bent
#: scale (0.02 is about 2 %): a series that never moved still has to move by several of these.
_LEAST_POINT, _LEAST_SHIFT, _LEAST_DRIFT = 0.02, 0.025, 0.03
#: A richer season has to be better by this factor.
_PREFER_SIMPLE = 0.95
#: Steepest trend that is taken for growth: 1 % a day.
_STEEPEST_A_DAY = 0.01
#: |z| that a normal distribution exceeds with odds of 5 %.
_Z95 = 1.96
#: A calm hour of the day is allowed this share of the series' own deviation at least.
_LOCAL = 0.6
#: An alarm is this far beyond what one step in 200 did before.
_BEYOND = 1.3
_WEEK = 7


@dataclass(frozen=True, slots=True)
class Windows:
    """How many steps the three tests look at, and their thresholds before any widening."""

    shift: int
    drift: int
    z_point: float
    z_shift: float
    z_drift: float


@dataclass(frozen=True, slots=True)
class Fit:
    """The model of a day. Columns are positions `begin` to `end` of the series.

    `expected` is season, trend and level; `residual` what is left of the past, each from a
    model that has not seen it. The `alarm_*` are the distances from expected
    that alarm: of a step (by column), of the mean of the shift window, of the drift window.
    `drift` is how far the last week is off the weeks before, NaN where that is not known.
    """

    begin: int
    expected: Floats
    residual: Floats
    alarm_up: Floats
    alarm_down: Floats
    alarm_shift: Floats
    alarm_drift: Floats
    drift: Floats
    carry: Floats
    weeks: Floats


def fit(
    y: Floats, tested: NDArray[np.bool_], at: int, begin: int, slots: Slots, windows: Windows
) -> Fit:
    """The model of the day that begins at column `at`; `y` are the columns before it.

    They begin at column `begin`, the start of a day, and are NaN where nothing may be learned.
    What is not `tested` (booked late) is learned from and no part of a shift or a drift.
    """
    per_day = slots.per_day
    past, until = slice(begin, at), at + per_day
    ages = np.arange(begin, until) - at
    slope = _trend(y, per_day)
    flat = y - slope[:, None] * ages[: at - begin]
    season, residual = _season(flat, slots, past, slice(begin, until))
    expected = season + slope[:, None] * ages
    known = np.sum(~np.isnan(y), axis=1)
    carried, carry = _carried(residual, per_day)
    alarm_up, alarm_down = _alarm_point(
        residual - carried, slots, past, slice(begin, until), windows
    )
    days = mean(residual.reshape(len(y), -1, per_day))
    alarm_shift = _alarm_shift(days, per_day, windows)
    level = np.where(tested, y - season[:, : at - begin], np.nan)
    level = mean(level.reshape(len(y), -1, per_day))
    drift, alarm_drift = _drift(level, windows)
    return Fit(
        begin,
        expected,
        residual,
        alarm_up,
        alarm_down,
        alarm_shift,
        alarm_drift,
        drift,
        carry,
        known / (_WEEK * per_day),
    )


def _trend(y: Floats, per_day: int) -> Floats:
    """Change a step: the median change against the week before, 0 where it is not clear."""
    week = _WEEK * per_day
    if y.shape[1] < 2 * week:
        return np.zeros(len(y))
    change = (y[:, week:] - y[:, :-week]) / week
    slope = median(change)
    # Changes a week apart hang together for about a day: that many are independent.
    days = np.maximum(np.sum(~np.isnan(change), axis=1) / per_day, 1)
    error = MAD * median(np.abs(change - slope[:, None])) / np.sqrt(days)
    steepest = _STEEPEST_A_DAY / per_day
    clear = np.clip(slope, -steepest, steepest) * _shrink(slope, error)
    return np.where(days >= _WEEK, np.nan_to_num(clear), 0.0)


def _shrink(slope: Floats, error: Floats) -> Floats:
    """1 for a slope far above twice its error, near 0 below it."""
    square = slope**2
    found: Floats = square / np.maximum(square + 4 * error**2, 1e-300)
    return found


def _season(flat: Floats, slots: Slots, past: slice, columns: slice) -> tuple[Floats, Floats]:
    """Expected values by column and residuals of the past: the best of three profiles.

    Hour of the day; that by working day and weekend; hour of the week. Each is judged by
    how well it tells a value from the others of its slot. After a change of clocks, also by
    UTC, which many jobs follow.
    """
    per_day = slots.per_day
    best: tuple[Floats, Floats, Floats] | None = None
    clocks = [(slots.day, slots.kind, slots.week)]
    if np.ptp(slots.offset[columns]):
        clocks.append(slots.in_utc)
    candidates = [
        (of_step, days * per_day)
        for clock in clocks
        for of_step, days in zip(clock, (1, 2, _WEEK), strict=True)
    ]
    for of_step, size in candidates:
        typical, residual = profile(flat, of_step[past], size)
        values = typical[:, of_step[columns]]
        # A value without others of its slot counts as badly as it does without any season.
        if best is not None:
            residual = np.where(np.isnan(residual), best[1], residual)
            values = np.where(np.isnan(values), best[0], values)
        error = mean(np.abs(residual))
        if best is None:
            best = values, residual, error
            continue
        better = (error < _PREFER_SIMPLE * best[2])[:, None]
        best = (
            np.where(better, values, best[0]),
            np.where(better, residual, best[1]),
            np.where(better[:, 0], error, best[2]),
        )
    assert best is not None
    return best[0], best[1]


def _carried(residual: Floats, per_day: int) -> tuple[Floats, Floats]:
    """How much of the last day's mean residual the next step has, and with which factor."""
    window = max(per_day, 3)
    known = ~np.isnan(residual)
    spread = MAD * median(np.abs(residual))[:, None]
    calm = np.where(known, np.clip(residual, -3 * spread, 3 * spread), 0.0)
    total = np.concatenate([np.zeros((len(calm), 1)), np.cumsum(calm, axis=1)], axis=1)
    count = np.concatenate([np.zeros((len(calm), 1)), np.cumsum(known, axis=1)], axis=1)
    ends = np.arange(residual.shape[1])
    starts = np.maximum(ends - window, 0)
    lately = (total[:, ends] - total[:, starts]) / np.maximum(count[:, ends] - count[:, starts], 1)
    lately = np.where(known, lately, 0.0)
    carry = np.sum(calm * lately, axis=1) / np.maximum(np.sum(lately**2, axis=1), 1e-300)
    carry = np.clip(carry, 0.0, 1.0)
    return carry[:, None] * lately, carry


def _alarm_point(
    strays: Floats, slots: Slots, past: slice, columns: slice, windows: Windows
) -> tuple[Floats, Floats]:
    """The distances up and down that alarm, by column.

    From the deviation around the hour of the day; never less than `_LOCAL` of the whole
    series', and never within what the worst hours of the lookback did. Up and down apart: a
    service that often stops is not expected to explode.
    """
    per_day, width = slots.per_day, columns.stop - columns.start
    size = np.abs(strays)
    overall = np.fmax(np.nan_to_num(MAD * median(size)), _LEAST_POINT)
    start = overall if per_day == 1 else np.full(len(size), _LEAST_POINT)
    shape = np.repeat(start[:, None], width, axis=1)
    if per_day > 1:
        # A weekend's calm is not the week's: of both pools of hours, the wider deviation.
        for of_step, days in ((slots.day, 1), (slots.kind, 2)):
            local = MAD * medians(size, of_step[past], days * per_day)
            local = np.nan_to_num(local).reshape(len(size), days, per_day)
            near = (np.roll(local, 1, 2) + local + np.roll(local, -1, 2)) / 3
            # A nightly job strays more than the calm hours around it.
            local = np.maximum(local, near) if days == 1 else near
            shape = np.fmax(shape, local.reshape(len(size), -1)[:, of_step[columns]])
    known = np.sum(~np.isnan(strays), axis=1)
    z = widen(windows.z_point, known - 1.0)
    alarms = []
    for way in (1, -1):
        bulk = np.nan_to_num(quantile(way * strays, 0.975))
        worst = np.nan_to_num(quantile(way * strays, 0.995))
        body = np.maximum(overall, bulk / _Z95)
        least = np.maximum(z * _LOCAL * body, _BEYOND * worst)
        alarms.append(np.maximum(z[:, None] * shape, least[:, None]))
    return alarms[0], alarms[1]


def _alarm_shift(days: Floats, per_day: int, windows: Windows) -> Floats:
    """The distance of the shift window's mean that alarms, from the means of past days."""
    width = max(windows.shift // per_day, 1)
    rolled = days
    if width > 1:
        pieces = np.lib.stride_tricks.sliding_window_view(days, width, axis=1)
        rolled = mean(pieces)
    spread = np.fmax(MAD * median(np.abs(rolled)), quantile(np.abs(rolled), 0.95) / _Z95)
    known = np.sum(~np.isnan(rolled), axis=1) / width
    found: Floats = widen(windows.z_shift, known - 1.0) * np.fmax(
        np.nan_to_num(spread), _LEAST_SHIFT
    )
    return found


def _drift(level: Floats, windows: Windows) -> tuple[Floats, Floats]:
    """How far the last week is from where the weeks before were heading, and the alarm."""
    rows, days = level.shape
    earlier = days - _WEEK
    nothing = np.full(rows, np.nan)
    if earlier < 2 * _WEEK:
        return nothing, np.ones(rows)
    past, age = level[:, :earlier], np.arange(days, dtype=np.float64)
    first, second = np.triu_indices(earlier, _WEEK)
    slopes = (past[:, second] - past[:, first]) / (age[second] - age[first])
    slope = median(slopes)
    bare = median(np.abs(past - median(past)[:, None]))
    error = MAD * bare * np.sqrt(12.0 / earlier**3)
    slope = np.clip(slope, -_STEEPEST_A_DAY, _STEEPEST_A_DAY) * _shrink(slope, error)
    slope = np.nan_to_num(slope)
    base = median(past - slope[:, None] * age[:earlier])
    strays = level - base[:, None] - slope[:, None] * age
    drift = mean(strays[:, earlier:])
    known = np.sum(~np.isnan(past), axis=1)
    calm = strays[:, :earlier]
    spread = MAD * median(np.abs(calm))
    pairs = np.clip(calm, -3 * spread[:, None], 3 * spread[:, None])
    together = mean(pairs[:, 1:] * pairs[:, :-1]) / np.maximum(mean(pairs**2), 1e-300)
    together = np.clip(np.nan_to_num(together), 0.0, 0.9)
    lags = np.arange(1, _WEEK)
    week = (1 + 2 * np.sum((1 - lags / _WEEK) * together[:, None] ** lags, axis=1)) / _WEEK
    # The line's own error: of its level, and of its slope carried to the middle of the week.
    reach = (earlier + _WEEK) / 2
    line = (1 / earlier + reach**2 * 12 / earlier**3) * (1 + together) / (1 - together)
    spread = np.fmax(np.nan_to_num(spread) * np.sqrt(week + line), _LEAST_DRIFT)
    enough = known >= 2 * _WEEK
    alarm = widen(windows.z_drift, known - 1.0) * spread
    return np.where(enough, drift, np.nan), np.where(enough, alarm, 1.0)
