"""Medians, quantiles and thresholds over arrays with holes (NaN), row by row."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from costmeter.analysis.anomaly.slots import Ints

Floats = NDArray[np.float64]

#: Median absolute deviation of a normal distribution to its standard deviation.
MAD = 1.4826


def quantile(rows: Floats, share: float) -> Floats:
    """The quantile along the last axis, without the NaN; NaN where nothing is known."""
    ordered = np.sort(rows, axis=-1)
    known = np.sum(~np.isnan(ordered), axis=-1)
    at = share * np.maximum(known - 1, 0)
    low = np.floor(at).astype(np.intp)
    high = np.minimum(low + 1, np.maximum(known - 1, 0))
    below = np.take_along_axis(ordered, low[..., None], -1)[..., 0]
    above = np.take_along_axis(ordered, high[..., None], -1)[..., 0]
    found: Floats = below + (above - below) * (at - low)
    return found


def median(rows: Floats) -> Floats:
    return quantile(rows, 0.5)


def mean(rows: Floats) -> Floats:
    """The mean along the last axis without the NaN; NaN where nothing is known."""
    known = np.sum(~np.isnan(rows), axis=-1)
    total = np.nansum(rows, axis=-1)
    found: Floats = np.where(known > 0, total / np.maximum(known, 1), np.nan)
    return found


def medians(rows: Floats, slots: Ints, size: int) -> Floats:
    """The median of each slot, rows x size; NaN where a slot is empty."""
    padded = np.concatenate([rows, np.full((rows.shape[0], 1), np.nan)], axis=1)
    return median(padded[:, _members(slots, size)])


def profile(rows: Floats, slots: Ints, size: int) -> tuple[Floats, Floats]:
    """Medians by slot (rows x size), and each value minus the median of the slot's others.

    A value is compared with a median that it is no part of, so that the residuals of three
    or four weeks are as large as those of a week that has not been seen.
    """
    steps = rows.shape[1]
    members = _members(slots, size)
    padded = np.concatenate([rows, np.full((rows.shape[0], 1), np.nan)], axis=1)
    values = padded[:, members]
    ordered = np.sort(values, axis=-1)
    known = np.sum(~np.isnan(values), axis=-1)[..., None]
    last = values.shape[-1] - 1

    def pick(at: Ints) -> Floats:
        return np.take_along_axis(ordered, np.clip(at, 0, last), -1)

    middle = (pick((known - 1) // 2) + pick(known // 2)) / 2
    # Without one value, those above it move down by one place. Equal values are equal, so
    # comparing with the value at the place says as much as its rank.
    low, high = (known - 2) // 2, (known - 1) // 2
    others = (
        np.where(values <= pick(low), pick(low + 1), pick(low))
        + np.where(values <= pick(high), pick(high + 1), pick(high))
    ) / 2
    others = np.where(known > 1, others, np.nan)
    left = np.full((rows.shape[0], steps + 1), np.nan)
    left[:, members.ravel()] = (values - others).reshape(rows.shape[0], -1)
    return middle[..., 0], left[:, :steps]


def _members(slots: Ints, size: int) -> Ints:
    """The columns of each slot, filled up with a column that does not exist."""
    steps = len(slots)
    order = np.argsort(slots, kind="stable")
    counts = np.bincount(slots, minlength=size)
    offsets = np.concatenate(([0], np.cumsum(counts)[:-1]))
    members = np.full((size, max(int(counts.max(initial=0)), 1)), steps, np.intp)
    members[slots[order], np.arange(steps) - offsets[slots[order]]] = order
    return members


def threshold(sensitivity_sigma: float, tests: int) -> float:
    """The normal quantile at which `tests` tests together err as often as one does.

    Sidak's correction, two-sided: 2 sigma and the 720 hours of a month give 4.0.
    """
    alone = 2 * (1 - NormalDist().cdf(sensitivity_sigma))
    each = -math.expm1(math.log1p(-alone) / tests)
    return NormalDist().inv_cdf(1 - each / 2)


def widen(z: float, freedom: Floats) -> Floats:
    """A normal quantile as Student's t with so many degrees of freedom.

    The expansion of Cornish and Fisher to its second term (Abramowitz and Stegun 26.7.5).
    """
    nu = np.maximum(freedom, 2.0)
    found: Floats = z + (z**3 + z) / (4 * nu) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
    return found
