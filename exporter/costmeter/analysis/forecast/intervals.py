"""Intervals from the backtest's errors: of days, and, apart, of sums of days.

Each width lies between the quantile of a t distribution with the errors' mean square, held by a
broad prior which fades as origins come, and the empirical quantile of absolute errors with the
conformal correction, which gets up to 80 % where many origins stand apart. Sums have quantiles of
their own, since errors of neighbouring days correlate: adding bounds of days would be far too
wide or too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmeter.analysis.forecast.backtest import STEP

Floats = NDArray[np.float64]

#: Days ahead at which errors of sums are looked at; what lies between is interpolated.
_SUMS = (1, 2, 4, 7, 14, 21, 28)
_BUCKETS = ((0, 1), (1, 3), (3, 7), (7, 14), (14, 28))
#: Relative standard deviation that a series without a history has, and the origins it weighs.
_BLIND, _BLIND_ORIGINS = 0.5, 1.0
#: Growth of errors with the horizon: of a day's amount, and of sums, as powers.
_DAY_GROWTH, _SUM_GROWTH = 0.25, 0.85
#: Origins overlap, and the weights were chosen on them: sums come out this much wider.
_OVERLAP = 1.25
#: Shares, and normal quantiles; the t distribution's are theirs with Fisher's first-order term.
_LEVELS = ((0.80, 1.2816), (0.95, 1.96))


@dataclass(frozen=True, slots=True)
class Widths:
    """Half-widths (series, ahead) in units of the amounts, and the share of the backtest's
    weeks' days that lie within the 95 % width, (series,)."""

    day80: Floats
    day95: Floats
    total80: Floats
    total95: Floats
    coverage: Floats


def widths(
    errors: Floats, size: Floats, days_known: Floats, lag: NDArray[np.intp], ahead: int
) -> Widths:
    """Widths from relative `errors` (series, origins, days); `lag` unknown days at the end."""
    series = len(errors)
    known = ~np.isnan(errors)
    clean = np.where(known, errors, 0.0)
    # A week at least, for the coverage.
    reach = np.arange(1, max(ahead, 7) + int(lag.max(initial=0)) + 1).astype(float)
    blind = _BLIND * np.sqrt(1 + 7 / np.maximum(days_known, 1.0))
    day = [np.empty((series, len(_BUCKETS))) for _ in _LEVELS]
    before: Floats = blind
    for at, (start, stop) in enumerate(_BUCKETS):
        part, here = np.abs(clean[:, :, start:stop]), known[:, :, start:stop]
        count = here.any(axis=2).sum(axis=1)
        free = np.minimum(count, count * STEP / (stop - start) + 1)
        sigma = _sigma((part**2).sum(axis=(1, 2)), here.sum(axis=(1, 2)), free, before)
        flat, told = part.reshape(series, -1), here.reshape(series, -1)
        for into, width in zip(day, _both(flat, told, sigma, free), strict=True):
            into[:, at] = width
        before = sigma * 1.1
    sums = np.cumsum(clean, axis=2)
    total = [np.empty((series, len(_SUMS))) for _ in _LEVELS]
    before = blind
    for at, days in enumerate(_SUMS):
        part = np.abs(sums[:, :, days - 1])
        # A gap's error is unknown: the sum is counted where its last day has come.
        here = known[:, :, days - 1]
        count = here.sum(axis=1)
        free = np.minimum(count, count * STEP / days + 1)
        if at:
            before = before * (days / _SUMS[at - 1]) ** _SUM_GROWTH
        sigma = _sigma((part**2 * here).sum(axis=1), count, free, before)
        for into, width in zip(total, _both(part, here, sigma, free), strict=True):
            into[:, at] = _OVERLAP * width
        before = sigma
    middles = [(start + 1 + stop) / 2 for start, stop in _BUCKETS]
    days_out = [_spread(one, middles, reach, _DAY_GROWTH) for one in day]
    sums_out = [_spread(one, _SUMS, reach, _SUM_GROWTH) for one in total]
    inside = np.abs(clean[:, :, :7]) <= days_out[1][:, None, :7]
    count = known[:, :, :7].sum(axis=(1, 2))
    inside_count = (inside & known[:, :, :7]).sum(axis=(1, 2))
    coverage = np.where(count > 0, inside_count / np.maximum(count, 1), np.nan)
    day80, day95 = (_later(one, lag, ahead) * size[:, None] for one in days_out)
    early = np.maximum(days_out[1][:, :ahead], 1e-12)
    stretch = np.maximum(_later(days_out[1], lag, ahead) / early, 1.0)
    total80, total95 = (one[:, :ahead] * stretch * size[:, None] for one in sums_out)
    return Widths(day80, day95, total80, total95, coverage)


def _sigma(squares: Floats, count: NDArray[np.intp], free: Floats, prior: Floats) -> Floats:
    mean = squares / np.maximum(count, 1)
    sigma: Floats = np.sqrt(
        (free * mean + _BLIND_ORIGINS * prior**2 * (free < 8))
        / (np.maximum(free + _BLIND_ORIGINS * (free < 8), 1e-9))
    )
    return sigma


def _both(absolute: Floats, here: NDArray[np.bool_], sigma: Floats, free: Floats) -> list[Floats]:
    ordered = np.sort(np.where(here, absolute, np.inf), axis=1)
    count = here.sum(axis=1)
    rows = np.arange(len(ordered))
    found = []
    for share, normal in _LEVELS:
        rank = np.ceil(share * (count + count / np.maximum(free, 1.0))) - 1
        rank = np.clip(rank, 0, np.maximum(count - 1, 0)).astype(int)
        by_rank = ordered[rows, rank]
        by_t = sigma * normal * (1 + (normal**2 + 1) / (4 * np.maximum(free, 1.5)))
        # Ranks of a few origins end at the largest error seen, which is no 95 % quantile.
        enough = np.clip(free / 40, 0.0, 0.8)
        both = (1 - enough) * by_t + enough * np.where(np.isfinite(by_rank), by_rank, by_t)
        found.append(both)
    return found


def _spread(
    values: Floats, at: list[float] | tuple[int, ...], reach: Floats, growth: float
) -> Floats:
    """Knots (series, knots) at days `at` → one a day of `reach`, never falling, growing on."""
    rising = np.maximum.accumulate(values, axis=1)
    knots = np.asarray(at, dtype=float)
    right = np.clip(np.searchsorted(knots, reach), 1, len(knots) - 1)
    share = np.clip((reach - knots[right - 1]) / (knots[right] - knots[right - 1]), 0.0, 1.0)
    out: Floats = rising[:, right - 1] * (1 - share) + rising[:, right] * share
    out *= np.maximum(reach / knots[-1], 1.0) ** growth
    return out


def _later(values: Floats, lag: NDArray[np.intp], ahead: int) -> Floats:
    """Each row from `lag` days further on."""
    return np.take_along_axis(values, lag[:, None] + np.arange(ahead), axis=1)
