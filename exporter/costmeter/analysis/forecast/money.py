"""Nano-USD ↔ arrays: integers outside, floats of USD within, and text never."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NANO = 1e9
#: Kept clear of the largest int64, so that a bound can be added to.
_MOST = 4.0e18


def to_usd(nano: Sequence[Sequence[int | None]]) -> NDArray[np.float64]:
    """Rows of nano-USD, None = unknown → (series, days) in USD, right-aligned: the last column
    is the last day of all rows."""
    width = max(map(len, nano), default=0)
    out = np.full((len(nano), max(width, 1)), np.nan)
    for at, row in enumerate(nano):
        if row:
            out[at, -len(row) :] = [np.nan if one is None else one / NANO for one in row]
    return out


def to_nano(usd: NDArray[np.float64]) -> NDArray[np.int64]:
    """USD → nano-USD, half to even; what no int64 holds becomes the largest that fits."""
    return np.clip(np.rint(usd * NANO), -_MOST, _MOST).astype(np.int64)
