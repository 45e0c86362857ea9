"""Weekday by weekday: a level with a damped trend, and seven seasons that are added to it.

Where weekdays change by themselves (a timetable, a team that stops working on Fridays), a profile
that averages eight weeks is late. These seasons follow within two or three weeks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_WEEK = 7
#: What is left of a slope a day later.
DAMPING = 0.9


def additive_filter(days: int, alpha: float, beta: float, gamma: float) -> Floats:
    """Weights of the last `days` days, whole weeks: (days, 9) for level, slope, and the seven
    seasons from the first day ahead on. `alpha`, `beta`, `gamma` smooth them, in that order.

    Additive Holt-Winters with a damped trend in error-correction form (Hyndman et al., 2008),
    begun from the window's first week. With fixed constants it is linear: run on unit vectors.
    """
    unit = np.eye(days)
    level, slope = unit[:_WEEK].mean(axis=0), np.zeros(days)
    season = [unit[day] - level for day in range(_WEEK)]
    for day in range(_WEEK, days):
        weekday = day % _WEEK
        error = unit[day] - (level + DAMPING * slope + season[weekday])
        level = level + DAMPING * slope + alpha * error
        slope = DAMPING * slope + alpha * beta * error
        season[weekday] = season[weekday] + gamma * (1 - alpha) * error
    return np.stack([level, slope, *season], axis=1)
