"""Rolling origins: what each method would have said on past days, and how wrong it was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmeter.analysis.forecast.history import History
from costmeter.analysis.forecast.models import (
    NAMES,
    NEAR,
    SEASONAL_NAIVE,
    SMOOTHING,
    WEEK,
    WINDOW,
    Candidates,
    Weights,
    candidates,
)

Floats = NDArray[np.float64]

#: Origins lie this far apart: prime to a week, so that every weekday is one.
STEP, ORIGINS = 3, 40
AHEAD = 28
#: Known days before the first origin.
FIRST = 10
#: A weight is loss to the power -SHARPNESS; an origin counts half as much after 60 days.
SHARPNESS, HALF_LIFE = 10.0, 60.0
#: An origin in a silent time is measured in this share of today's size, at least.
_LEAST_SIZE = 1 / 3
#: Errors beyond this multiple of the size are as bad as this.
_WILD = 1e4
#: Losses stand on this share of the average loss of all methods, so that luck is not skill.
_PRIOR = 0.15
#: Without an origin nothing is tested: by the steadiest method, and a quarter as last week.
_UNTESTED = tuple(0.25 * (name == SEASONAL_NAIVE) + 0.75 * (name == SMOOTHING) for name in NAMES)
#: Sums of a week's first days and of its later ones: small sums are faster as a product.
_PARTS = np.stack([np.arange(WEEK) < NEAR, np.arange(WEEK) >= NEAR], axis=1).astype(float)


@dataclass(frozen=True, slots=True)
class Backtest:
    """`errors` (series, origins, AHEAD) = forecast minus amount
    over the size of the series on that origin, NaN where unknown; `size` (series,) now.

    `wape`, `total_error` (of seven days) and `mase` (against seasonal naive) are of the
    combined forecast seven days ahead, (series,), NaN without an origin.
    """

    now: Candidates
    weights: Weights
    errors: Floats
    size: Floats
    wape: Floats
    total_error: Floats
    mase: Floats


def backtest(history: History) -> Backtest:
    """Run all methods at up to ORIGINS origins, weigh them, and run what the weights make."""
    filled, known = history.filled, history.known
    series, days = known.shape
    origins = list(range(days - 2, FIRST - 2, -STEP))[:ORIGINS][::-1]
    values = np.where(known, filled[:, WINDOW:], np.nan)
    values = np.concatenate([values, np.full((series, AHEAD), np.nan)], axis=1)
    runs: list[Candidates] = []
    wrong = np.zeros((series, len(NAMES), 2))
    amount, counted = np.zeros(series), np.zeros((series, len(origins)), dtype=bool)
    for at, origin in enumerate(origins):
        run = candidates(_window(filled, origin), weeks_known(history, origin))
        runs.append(run)
        came = values[:, origin + 1 : origin + 1 + WEEK]
        counted[:, at] = (history.first <= origin + 1 - FIRST) & ~np.isnan(came).all(axis=1)
        recency = 0.5 ** ((days - 1 - origin) / HALF_LIFE) * counted[:, at]
        here = ~np.isnan(came)
        came = np.where(here, came, 0.0)
        gaps = run.days(WEEK)
        gaps -= came[:, None]
        if not here.all():
            gaps *= here[:, None]
        # Of days and of their sum, near and far.
        loss = np.abs(gaps @ _PARTS)
        loss += np.abs(gaps, out=gaps) @ _PARTS
        wrong += recency[:, None, None] * loss
        amount += recency * np.abs(came).sum(axis=1)
    weights = Weights(*(_weights(wrong[:, :, part], amount) for part in range(2)))
    errors = np.full((series, max(len(origins), 1), AHEAD), np.nan)
    size = _size(filled, days - 1)
    # A series that ended is as large as it was.
    size = np.where(size > 0, size, np.abs(filled).mean(axis=1))
    size = np.where(size > 0, size, 1.0)
    sums = np.zeros((4, series))
    for at, (origin, run) in enumerate(zip(origins, runs, strict=True)):
        came = values[:, origin + 1 : origin + 1 + AHEAD]
        raw = run.combined(weights, AHEAD) - came
        raw[~counted[:, at]] = np.nan
        week, seen = raw[:, :WEEK], ~np.isnan(raw[:, :WEEK])
        sums[0] += np.nansum(np.abs(week), axis=1)
        sums[1] += np.abs(np.nansum(week, axis=1))
        sums[2] += np.where(seen, np.abs(np.nan_to_num(came[:, :WEEK])), 0.0).sum(axis=1)
        naive = run.last - came[:, :WEEK]
        sums[3] += np.where(seen, np.abs(np.nan_to_num(naive)), 0.0).sum(axis=1)
        errors[:, at] = raw / np.maximum(_size(filled, origin), _LEAST_SIZE * size)[:, None]
    now = candidates(filled[:, -WINDOW:], weeks_known(history, days - 1))
    return Backtest(
        now,
        weights,
        np.clip(errors, -_WILD, _WILD),
        size,
        over(sums[0], sums[2]),
        over(sums[1], sums[2]),
        over(sums[0], sums[3]),
    )


def weeks_known(history: History, origin: int) -> Floats:
    """Whole weeks from the first known day to `origin`, as many as the window holds."""
    weeks: Floats = np.clip((origin + 1 - history.first) // WEEK, 0, WINDOW // WEEK).astype(float)
    return weeks


def over(part: Floats, whole: Floats) -> Floats:
    """`part` / `whole`, NaN where there is no whole."""
    ratio: Floats = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return ratio


def _window(filled: Floats, origin: int) -> Floats:
    return filled[:, origin + 1 : origin + 1 + WINDOW]


def _size(filled: Floats, origin: int) -> Floats:
    """What errors are measured in: the mean of the last two weeks, held by that of eight."""
    window = np.abs(_window(filled, origin))
    size: Floats = 0.7 * window[:, -14:].mean(axis=1) + 0.3 * window.mean(axis=1)
    return size


def _weights(wrong: Floats, amount: Floats) -> Floats:
    seen = (amount > 0) | (wrong.max(axis=1) > 0)
    mean = wrong.mean(axis=1, keepdims=True)
    loss = wrong + _PRIOR * mean + 1e-12 * np.maximum(amount, 1e-12)[:, None]
    sharp = (loss.min(axis=1, keepdims=True) / loss) ** SHARPNESS
    weights: Floats = sharp / sharp.sum(axis=1, keepdims=True)
    weights[~seen] = _UNTESTED
    return weights
