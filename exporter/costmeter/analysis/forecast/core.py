"""The light forecast: thousands of daily series at once, each with its own backtest.

weights of the methods   by each method's own error at the rolling origins
point                    the weighted methods, day by day
intervals                quantiles of the combined forecast's errors at the same origins,
                         of days and, apart, of sums: errors of neighbouring days correlate
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date

import numpy as np
from numpy.typing import NDArray

from costmeter.analysis.forecast.backtest import backtest
from costmeter.analysis.forecast.history import month_factors, prepare
from costmeter.analysis.forecast.intervals import widths
from costmeter.analysis.forecast.models import NEAR, WEEK, WINDOW
from costmeter.analysis.forecast.shifts import shift_days

Floats = NDArray[np.float64]

LONGEST = 90
#: So many series at once stay in the processor's cache.
CHUNK = 256
_NORMAL_80, _NORMAL_95 = 1.2816, 1.96


@dataclass(frozen=True, slots=True)
class Batch:
    """Forecasts of many series from the day after `last`; amounts in the unit they came in.

    `point` (series, ahead) by day, `total` its sums up to each day. `day80`, `day95`, `total80`
    and `total95` are half-widths of the same shape; lower bounds are cut at 0 by `lower` for
    series that were never negative. `weights` (series, methods in the order of NAMES) over a week.
    The rest, (series,), from the backtest: NaN where there was too little history.
    """

    last: date
    point: Floats
    total: Floats
    day80: Floats
    day95: Floats
    total80: Floats
    total95: Floats
    weights: Floats
    wape: Floats
    total_error_7d: Floats
    mase: Floats
    coverage: Floats
    history_days: Floats
    credits: NDArray[np.bool_]
    profile: Floats
    """(series, 7) around 1, Monday first."""
    slope: Floats
    """Relative change a day over the last 28 days, (series,)."""
    trend_strength: Floats
    """Share of the deseasonalised variance that a straight line explains, 0 to 1."""
    seasonal_strength: Floats
    """Share of the variance that the weekly profile explains, 0 to 1."""
    shifted_days: NDArray[np.intp]
    """Days since the last level shift, 0 = none."""

    def lower(self, point: Floats, width: Floats) -> Floats:
        """Lower bounds: never below 0 where no day of the history was."""
        low = point - width
        return np.where(self.credits[:, None], low, np.maximum(low, 0.0))


def forecast(
    amounts: Floats, last: date, ahead: int = LONGEST, spread: Floats | None = None
) -> Batch:
    """Forecast (series, days) daily amounts, NaN = unknown, whose last column is `last`.

    `spread` (series, days): relative standard deviation of amounts that were scaled up because
    they were not final; 0 for final days. ValueError for a horizon outside 1 to 90 days or for
    values that are infinite.
    """
    if not 1 <= ahead <= LONGEST:
        raise ValueError(f"a horizon of {ahead} days: 1 to {LONGEST} are possible")
    if amounts.ndim != 2 or not amounts.shape[1]:
        raise ValueError("amounts are (series, days), with at least one day")
    if np.isinf(amounts).any():
        raise ValueError("an amount is infinite: unknown days are NaN")
    parts = [
        _chunk(
            amounts[at : at + CHUNK],
            last,
            ahead,
            None if spread is None else spread[at : at + CHUNK],
        )
        for at in range(0, max(len(amounts), 1), CHUNK)
    ]
    joined = {
        one.name: np.concatenate([getattr(part, one.name) for part in parts])
        for one in fields(Batch)
        if one.name != "last"
    }
    return Batch(last=last, **joined)


def _chunk(amounts: Floats, last: date, ahead: int, spread: Floats | None) -> Batch:
    factors, future = month_factors(amounts, last, ahead)
    history = prepare(amounts / factors)
    refunded = np.where(history.known, amounts, 0.0).min(axis=1) < 0
    found = backtest(history)
    point = found.now.combined(found.weights, ahead) * future
    point = np.where(refunded[:, None], point, np.maximum(point, 0.0))
    days = history.known.sum(axis=1).astype(float)
    lag = np.minimum(history.lag, LONGEST)
    wide = widths(found.errors, found.size, days, lag, ahead)
    # What was scaled up carries into the level by about its share of a week.
    recent = 0.0 if spread is None else np.nan_to_num(spread[:, -WEEK:])
    extra = np.sqrt(np.square(recent).sum(axis=-1, keepdims=True)) / WEEK
    total = np.cumsum(point, axis=1)
    parts = _character(history.filled[:, -WINDOW:], found.now.profile, last)
    return Batch(
        last,
        point,
        total,
        np.hypot(wide.day80 * np.maximum(future, 1.0), _NORMAL_80 * extra * point),
        np.hypot(wide.day95 * np.maximum(future, 1.0), _NORMAL_95 * extra * point),
        np.hypot(wide.total80, _NORMAL_80 * extra * total),
        np.hypot(wide.total95, _NORMAL_95 * extra * total),
        (NEAR * found.weights.near + (WEEK - NEAR) * found.weights.far) / WEEK,
        found.wape,
        found.total_error,
        found.mase,
        wide.coverage,
        days,
        refunded,
        *parts,
    )


def _character(
    window: Floats, ahead: Floats, last: date
) -> tuple[Floats, Floats, Floats, Floats, NDArray[np.intp]]:
    """Profile from Monday on, slope, strength of trend and of season, days since a shift."""
    monday = np.roll(ahead, (last.weekday() + 1) % WEEK, axis=1)
    tiled = np.tile(ahead, (1, WINDOW // WEEK))
    plain = (window / np.maximum(tiled, 0.2))[:, -28:]
    at = np.arange(28) - 13.5
    level = plain.mean(axis=1)
    slope = plain @ (at / (at**2).sum())
    rest = plain - level[:, None] - slope[:, None] * at
    trend = 1 - _share(rest.var(axis=1), plain.var(axis=1))
    recent = window[:, -28:]
    season = np.clip(
        1 - _share((recent - level[:, None] * tiled[:, -28:]).var(axis=1), recent.var(axis=1)),
        0.0,
        1.0,
    )
    relative = np.where(np.abs(level) > 0, slope / np.where(level != 0, np.abs(level), 1.0), 0.0)
    shifted = shift_days(window / np.maximum(tiled, 0.2))
    return monday, relative, trend, season, shifted


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.ones(len(part)), where=whole > 0)
