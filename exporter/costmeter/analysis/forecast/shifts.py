"""Level shifts: the day from which a series stands on another level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: A shift is looked for among these last days, and seen from its third day on.
_LONGEST, _SHORTEST = 35, 3
_BEFORE = 14
#: Of the noise of the means, and of the level itself.
_SIGMAS, _RELATIVE = 5.0, 0.2
#: Mean absolute difference of two normal days over their standard deviation.
_TO_SIGMA = 1.128


def shift_days(plain: Floats) -> NDArray[np.intp]:
    """Days since the last level shift of deseasonalised (series, days); 0 where there is none.

    Of each split into the 14 days before and all days after, the one that explains most.
    The noise is the median absolute day-to-day difference: a shift is one of many.
    """
    series, days = plain.shape
    after = np.arange(_SHORTEST, min(_LONGEST, days - _BEFORE) + 1)
    if not len(after):
        return np.zeros(series, dtype=np.intp)
    sums = np.zeros((series, days + 1))
    np.cumsum(plain, axis=1, out=sums[:, 1:])
    split = days - after
    middle_sum = sums[:, split]
    new = (sums[:, -1:] - middle_sum) / after
    old = (middle_sum - sums[:, split - _BEFORE]) / _BEFORE
    steps = np.abs(np.diff(plain[:, -(_LONGEST + _BEFORE) :], axis=1))
    middle = np.partition(steps, steps.shape[1] // 2, axis=1)[:, steps.shape[1] // 2]
    # Half by the median, half by the mean: an intermittent series has a median step of 0.
    sigma = (0.5 * middle / 0.6745 / np.sqrt(2) + 0.5 * steps.mean(axis=1) / _TO_SIGMA)[:, None]
    gap = np.abs(new - old)
    score = gap / np.maximum(sigma * np.sqrt(1 / after + 1 / _BEFORE), 1e-12)
    score *= gap > _RELATIVE * np.maximum(np.abs(new), np.abs(old))
    best = score.argmax(axis=1)
    found = score[np.arange(series), best] > _SIGMAS
    return np.where(found, after[best], 0)
