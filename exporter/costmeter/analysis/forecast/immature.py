"""Days that are not final yet: scaled up by how their like grew, or left out, never a drop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Below this completeness, or above this spread of it, a day tells more noise than amount.
_LEAST, _WIDEST = 0.5, 0.25
#: From here on a day is final.
_FINAL = 0.999
_LESSONS = 3


@dataclass(frozen=True, slots=True)
class Maturity:
    """By age in days (0 = today): the share of the final amount that is known by then, the
    standard deviation of that share, and from how many days this was learnt."""

    share: Floats
    spread: Floats
    lessons: NDArray[np.intp]


def learn(known: Floats) -> Maturity:
    """From (days, ages): `known[d, k]` is how much of day d's final amount was known k days
    after it, as a ratio, NaN where unknown. Median, and the robust deviation from it."""
    lessons = (~np.isnan(known)).sum(axis=0)
    middle = np.array([_median(column) for column in known.T])
    apart = np.array([_median(column) for column in np.abs(known - middle).T])
    return Maturity(middle, 1.4826 * apart, lessons)


def immature(days: Floats, maturity: Maturity, age: int = 0) -> tuple[Floats, Floats]:
    """(series, days) whose last column is `age` days old → amounts to forecast from, and their
    relative deviation, both (series, days); the second is the `spread` of `forecast`.

    A day older than the pattern is final. One that is too little known, or whose age has fewer
    than three lessons, becomes NaN: left out.
    """
    out, spread = days.copy(), np.zeros_like(days)
    for at in range(days.shape[1]):
        old = age + days.shape[1] - 1 - at
        if old >= len(maturity.share):
            continue
        share, apart = maturity.share[old], maturity.spread[old]
        if maturity.lessons[old] < _LESSONS or not share >= _LEAST or apart > _WIDEST * share:
            out[:, at] = np.nan
        elif share < _FINAL or apart > 0:
            out[:, at] /= share
            spread[:, at] = apart / share
    return out, spread


def _median(column: Floats) -> float:
    seen = column[~np.isnan(column)]
    return float(np.median(seen)) if len(seen) else float("nan")
