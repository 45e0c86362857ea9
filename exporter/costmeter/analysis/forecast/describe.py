"""From a batch's arrays to one result a series."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date

import numpy as np
from numpy.typing import NDArray

from costmeter.analysis.forecast.core import Batch
from costmeter.analysis.forecast.models import NAMES
from costmeter.analysis.forecast.money import to_nano
from costmeter.analysis.forecast.results import Character, Forecast, Intervals, Quality

Floats = NDArray[np.float64]

_EPOCH = date(1970, 1, 1).toordinal()
#: A trend is one where a line explains this much, and moves the level by 5 % in four weeks.
_STRONG, _MOVES = 0.3, 0.05 / 28


def describe(batch: Batch, method: str | None = None) -> Iterator[Forecast]:
    """One `Forecast` a series, in order. `batch` is in USD; `method` names a deep model."""
    days = _intervals(batch, batch.point, batch.day80, batch.day95)
    totals = _intervals(batch, batch.total, batch.total80, batch.total95)
    best = batch.weights.argmax(axis=1)
    for at in range(len(batch.point)):
        yield Forecast(
            batch.last.toordinal() - _EPOCH,
            Intervals(days[at].tobytes()),
            Intervals(totals[at].tobytes()),
            NAMES[best[at]] if method is None else method,
            round(float(batch.weights[at, best[at]]), 4) if method is None else 1.0,
            Quality(
                _known(batch.wape[at]),
                _known(batch.total_error_7d[at]),
                _known(batch.mase[at]),
                _known(batch.coverage[at]),
            ),
            _character(batch, at),
            int(batch.history_days[at]),
        )


def _intervals(batch: Batch, point: Floats, at80: Floats, at95: Floats) -> NDArray[np.int64]:
    parts = (
        point,
        batch.lower(point, at80),
        point + at80,
        batch.lower(point, at95),
        point + at95,
    )
    return np.stack([to_nano(one) for one in parts], axis=-1).astype("<i8")


def _character(batch: Batch, at: int) -> Character:
    slope, strength = float(batch.slope[at]), float(batch.trend_strength[at])
    moves = strength >= _STRONG and abs(slope) >= _MOVES
    profile = batch.profile[at]
    strongest = int(np.abs(profile - 1).argmax())
    shifted = int(batch.shifted_days[at])
    return Character(
        round(float(batch.seasonal_strength[at]), 4),
        strongest,
        round(float(profile[strongest]), 4),
        ("rising" if slope > 0 else "falling") if moves else "steady",
        round(slope, 6),
        round(strength, 4),
        shifted or None,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)
