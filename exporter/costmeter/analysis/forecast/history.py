"""Daily amounts made ready: gaps filled for the methods, days of the month set apart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from costmeter.analysis.forecast.models import WEEK, WINDOW

Floats = NDArray[np.float64]

#: Days at a month's start and end that may differ from all others.
_EDGES = (1, 2, 3, -1, -2, -3)
_EVIDENCE, _SIGMAS = 0.15, 3.0
_HIGHEST = 20.0


@dataclass(frozen=True, slots=True)
class History:
    """`filled` (series, WINDOW + days) has no unknown day; `known` (series, days) says which
    days were observed; `first` and `lag` (series,) are the first known day's position and the
    number of unknown days at the end."""

    filled: Floats
    known: NDArray[np.bool_]
    first: NDArray[np.intp]
    lag: NDArray[np.intp]


def prepare(amounts: Floats) -> History:
    """Fill (series, days), NaN where unknown: as a week before, else as the first week.

    Only the past fills a gap, so a backtest sees no future; what lies before the first known
    day is made up and never counted as history. A series without a known day becomes 0.
    """
    series, days = amounts.shape
    known = ~np.isnan(amounts)
    some = known.any(axis=1)
    first = np.where(some, known.argmax(axis=1), days)
    lag = np.where(some, known[:, ::-1].argmax(axis=1), days)
    filled = np.concatenate([np.full((series, WINDOW), np.nan), amounts], axis=1)
    total = WINDOW + days
    at = np.arange(total)
    # The first week's own mean stands in for what came before, weekday by weekday where known.
    early = np.take_along_axis(
        filled, np.minimum(WINDOW + first[:, None] + np.arange(WEEK), total - 1), axis=1
    )
    seen = ~np.isnan(early)
    mean = np.where(seen, early, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    early = np.where(seen & seen.all(axis=1)[:, None], early, mean[:, None])
    before = at < (WINDOW + first)[:, None]
    slot = (at - (WINDOW + first)[:, None]) % WEEK
    filled = np.where(before, np.take_along_axis(early, slot, axis=1), filled)
    holes = np.isnan(filled)
    for day in np.flatnonzero(holes.any(axis=0)):
        filled[:, day] = np.where(holes[:, day], filled[:, day - WEEK], filled[:, day])
    return History(filled, known, first, lag)


def month_factors(amounts: Floats, last: date, ahead: int) -> tuple[Floats, Floats]:
    """Factors of the first and last three days of a month: (series, days), (series, ahead).

    A day of the month differs where all its occurrences, two at least, lie on the same side of
    the same weekday one and two weeks away, beyond the noise of ordinary days. With two
    occurrences the smaller effect is believed. 1 everywhere else.
    """
    series, days = amounts.shape
    past, future = np.ones((series, days)), np.ones((series, ahead))
    dates = [last + timedelta(days=at - days + 1) for at in range(days + ahead)]
    edge = np.array([_edge(one) for one in dates])
    columns = [np.flatnonzero(edge[:days] == one) for one in _EDGES]
    if max(map(len, columns)) < 2:
        return past, future
    padded = np.pad(amounts, ((0, 0), (2 * WEEK, 2 * WEEK)), constant_values=np.nan)
    shifts = (0, WEEK, 3 * WEEK, 4 * WEEK)
    around = np.sort(np.stack([padded[:, one : one + days] for one in shifts], axis=-1), axis=-1)
    count = (~np.isnan(around)).sum(axis=-1)
    low = np.take_along_axis(around, np.maximum(count - 1, 0)[..., None] // 2, axis=-1)[..., 0]
    high = np.take_along_axis(around, np.minimum(count // 2, 3)[..., None], axis=-1)[..., 0]
    high = np.where(count % 2 == 1, low, high)
    base = (low + high) / 2
    usable = (count >= 2) & (base > 0) & ~np.isnan(amounts)
    ratio = np.where(usable, amounts / np.where(usable, base, 1.0), np.nan)
    apart = np.sort(np.abs(np.where(edge[:days] == 0, ratio, np.nan) - 1.0), axis=1)
    middle = np.maximum((~np.isnan(apart)).sum(axis=1) // 2 - 1, 0)
    noise = 1.4826 * np.nan_to_num(apart[np.arange(series), middle], nan=1.0)
    for one, column in zip(_EDGES, columns, strict=True):
        if len(column) < 2:
            continue
        effects = np.sort(ratio[:, column] - 1.0, axis=1)
        seen = (~np.isnan(effects)).sum(axis=1)
        at = np.arange(series)
        least, most = effects[:, 0], effects[at, np.maximum(seen - 1, 0)]
        floor = np.maximum(_EVIDENCE, _SIGMAS * noise)
        up, down = (seen >= 2) & (least > floor), (seen >= 2) & (most < -floor)
        middle_effect = effects[at, np.maximum(seen - 1, 0) // 2]
        effect = np.where(up, np.where(seen > 2, middle_effect, least), 0.0)
        effect = np.where(down, np.where(seen > 2, middle_effect, most), effect)
        # A factor of 0 could not be divided out of the past.
        factor = np.clip(1.0 + effect, 1.0 / _HIGHEST, _HIGHEST)[:, None]
        past[:, edge[:days] == one] = factor
        future[:, edge[days:] == one] = factor
    return past, future


def _edge(day: date) -> int:
    if day.day <= 3:
        return day.day
    left = ((day.replace(day=28) + timedelta(days=4)).replace(day=1) - day).days
    return -left if left <= 3 else 0
