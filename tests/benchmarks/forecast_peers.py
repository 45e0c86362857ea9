"""What forecasts are compared with: plain methods, seven days ahead from a history without gaps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

WEEK = 7
Floats = np.ndarray
NAIVE = "seasonal naive"


def filled(history: Floats) -> Floats:
    """Without gaps: a missing day is as a week before."""
    out = history.copy()
    for day in np.flatnonzero(np.isnan(out)):
        out[day] = out[day - WEEK] if day >= WEEK else np.nanmean(history)
    return out


def naive(history: Floats) -> Floats:
    return history[-WEEK:]


def scaled_profile(history: Floats) -> Floats:
    """The mean weekly profile of the last eight weeks, scaled to the mean of the last week."""
    weeks = history[-(min(len(history) // WEEK, 8) * WEEK) :].reshape(-1, WEEK)
    mean = weeks.mean(axis=1, keepdims=True)
    shares = np.divide(weeks, mean, out=np.ones_like(weeks), where=mean != 0)
    return shares.mean(axis=0) * history[-WEEK:].mean()


def linear(history: Floats) -> Floats:
    """A straight line through the last 28 days."""
    recent = history[-28:]
    slope, level = np.polyfit(np.arange(len(recent)), recent, 1)
    return level + slope * np.arange(len(recent), len(recent) + WEEK)


def holt_winters(history: Floats) -> Floats:
    """Additive, damped; smoothing chosen by the one-day errors of the history."""
    if len(history) < 2 * WEEK:
        return history[-WEEK:]
    grid = np.array(list(product((0.1, 0.3, 0.6), (0.0, 0.05, 0.2), (0.05, 0.2, 0.4))))
    alpha, beta, gamma = grid.T
    level = np.full(len(grid), history[:WEEK].mean())
    slope = np.zeros(len(grid))
    season = np.tile(history[:WEEK] - history[:WEEK].mean(), (len(grid), 1))
    loss = np.zeros(len(grid))
    for day, value in enumerate(history[WEEK:], WEEK):
        told = season[:, day % WEEK]
        error = value - (level + 0.98 * slope + told)
        loss += error**2
        before = level
        level = before + 0.98 * slope + alpha * error
        slope = 0.98 * slope + alpha * beta * error
        season[:, day % WEEK] = told + gamma * (1 - alpha) * error
    best = int(loss.argmin())
    ahead = np.arange(1, WEEK + 1)
    slopes = slope[best] * np.cumsum(0.98**ahead)
    return level[best] + slopes + season[best, (len(history) + ahead - 1) % WEEK]


def auto_theta(history: Floats) -> Floats:
    from statsforecast.models import AutoTheta

    if len(history) < 2 * WEEK:
        return history[-WEEK:]
    fitted = np.ascontiguousarray(history[-180:])
    return np.asarray(AutoTheta(season_length=WEEK).forecast(fitted, WEEK)["mean"])


BASELINES: dict[str, Callable[[Floats], Floats]] = {
    NAIVE: naive,
    "profile x 7 days": scaled_profile,
    "linear": linear,
    "Holt-Winters": holt_winters,
}
