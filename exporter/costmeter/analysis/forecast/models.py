"""Candidates: what each light method would have said on a day, for many series at once.

Most methods are (level + slope x damping) x weekly profile, and nearly all of their levels and
slopes are linear filters of the last weeks: one matrix product serves them all. The others add
seasons of their own. Few methods that differ in kind make a better mixture than many alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from costmeter.analysis.forecast.additive import DAMPING, additive_filter

Floats = NDArray[np.float64]

WEEK = 7
#: Days ahead that have weights of their own.
NEAR = 2
#: Days that a filter sees, and that have to stand before the first origin.
WINDOW = 56
_WEEKS = WINDOW // WEEK
#: Nobody's profile is trusted to more than this multiple of an ordinary day.
_HIGHEST = 7.0
#: Below this share of an ordinary day a value says nothing about the level.
_FAINT = 0.2


def _mean(days: int) -> Floats:
    weights = np.zeros(WINDOW)
    weights[-days:] = 1.0 / days
    return weights


def _smooth(alpha: float) -> Floats:
    """Simple exponential smoothing over the window; what is older goes to its first day."""
    weights = alpha * (1 - alpha) ** np.arange(WINDOW - 1, -1, -1.0)
    weights[0] += 1 - weights.sum()
    return weights


def _returning(days: int, damping: float) -> tuple[Floats, Floats]:
    """Filters of a level that starts at the last day and goes back to the mean of `days`.

    After h days damping^h of the distance is left, which is a slope of
    (mean - last) x (1 - damping) / damping, damped each day.
    """
    last = _smooth(0.9)
    return last, (_mean(days) - last) * (1 - damping) / damping


def _line(days: int) -> tuple[Floats, Floats]:
    """Filters of the last fitted value and the slope of a straight line by least squares."""
    at = np.arange(days) - (days - 1) / 2
    slope, level = np.zeros(WINDOW), np.zeros(WINDOW)
    slope[-days:] = at / (at**2).sum()
    level[-days:] = 1.0 / days + slope[-days:] * at[-1]
    return level, slope


@dataclass(frozen=True, slots=True)
class Filter:
    """One method: weights of the deseasonalised days, and how its slope is damped a day."""

    name: str
    level: Floats
    slope: Floats
    damping: float = 0.0


FILTERS = (
    Filter("exponential smoothing", _smooth(0.6), np.zeros(WINDOW)),
    Filter("damped line, 28 days", *_line(28), 0.95),
    Filter("back to the mean of 28 days", *_returning(28, 0.93), 0.93),
    Filter("back to the mean of 56 days", *_returning(56, 0.93), 0.93),
)
SMOOTHING, SEASONAL_NAIVE = FILTERS[0].name, "seasonal naive"
#: Smoothing of level, slope and season of the methods with seasons of their own.
_ADDITIVE = {
    "weekday by weekday": (0.5, 0.1, 0.5),
    "weekday by weekday, slow": (0.2, 0.0, 0.3),
    "weekday by weekday, fast": (0.9, 0.0, 0.2),
}
NAMES = (
    *(one.name for one in FILTERS),
    "weekly profile, median of 7 days",
    *_ADDITIVE,
    SEASONAL_NAIVE,
)
#: Methods that are a level times the profile; the others have seasons of their own.
LEVELS = len(FILTERS) + 1
_LEVEL = np.stack([one.level for one in FILTERS], axis=1)
_SLOPE = np.stack([one.slope for one in FILTERS], axis=1)
_SLOPED = np.flatnonzero(_SLOPE.any(axis=0))
_LEVEL_BY_WEEKDAY = _LEVEL.reshape(_WEEKS, WEEK, -1).sum(axis=0)
_SLOPED_LEVEL = np.ascontiguousarray(_LEVEL[:, _SLOPED])
_SLOPED_SLOPE = np.ascontiguousarray(_SLOPE[:, _SLOPED])
_ADDED = np.concatenate([additive_filter(WINDOW, *one) for one in _ADDITIVE.values()], axis=1)


def _damping(days: int) -> Floats:
    """How many slopes a method has added by each day ahead: (sloped methods, days)."""
    phi = np.array([FILTERS[at].damping for at in _SLOPED])[:, None]
    total: Floats = np.cumsum(phi ** np.arange(1, days + 1), axis=1)
    return total


def weekly_profile(window: Floats, weeks: Floats) -> Floats:
    """The weekly profile around 1 of (series, WINDOW) days: (series, 7), last day last.

    `weeks` (series,) is how many whole weeks are observed. Each week is divided by its own mean;
    the profile is half mean, half median of them, and is shrunk to flat by the share of its
    variance that noise explains (positive-part James-Stein).
    """
    series = len(window)
    folded = window.reshape(series, _WEEKS, WEEK)
    means = folded.mean(axis=2, keepdims=True)
    good = means > 0
    ratios = folded / np.where(good, means, 1.0)
    if not good.all():
        ratios = np.where(good, ratios, 1.0)
    np.maximum(ratios, 0.0, out=ratios)
    np.minimum(ratios, _HIGHEST, out=ratios)
    age = np.arange(_WEEKS - 1, -1, -1.0)
    weights = np.where(age < np.maximum(weeks, 1.0)[:, None], 0.9**age, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    profile: Floats = (weights[:, None] @ ratios)[:, 0]
    squares = (weights[:, None] @ (ratios * ratios))[:, 0]
    spread = np.maximum(squares - profile * profile, 0.0).mean(axis=1)
    profile = 0.5 * profile + 0.5 * _middle(ratios)
    count = 1.0 / (weights**2).sum(axis=1)
    signal = ((profile - 1.0) ** 2).mean(axis=1)
    # One week tells nothing about noise: half of what it shows is believed.
    noise = np.where(weeks >= 2, spread / np.maximum(count - 1, 0.5), 0.5 * signal)
    kept = np.clip(1.0 - noise / np.maximum(signal, 1e-12), 0.0, 1.0)
    kept = np.where(weeks >= 1, kept, 0.0)
    return 1.0 + kept[:, None] * (profile - 1.0)


class Weights(NamedTuple):
    """Of the methods in the order of NAMES, (series, methods) that add up to 1: for the first
    NEAR days ahead, of which yesterday tells most, and for all later days."""

    near: Floats
    far: Floats


@dataclass(frozen=True, slots=True)
class Candidates:
    """What all methods say on one day, before it is spelt out day by day.

    `level` (series, LEVELS) and `slope` (series, sloped methods) in units of the amounts,
    `profile` (series, 7) around 1 from the first day ahead on; `last` (series, 7) the week before;
    `added` (series, additive methods, 9): level, slope and seven seasons, to be added.
    """

    level: Floats
    slope: Floats
    profile: Floats
    last: Floats
    added: Floats

    def days(self, count: int) -> Floats:
        """Each method's forecast: (series, methods, `count` days ahead, at most 7)."""
        out = np.empty((len(self.level), len(NAMES), count))
        out[:, :LEVELS] = self.level[:, :, None]
        out[:, _SLOPED] += self.slope[:, :, None] * _damping(count)
        out[:, :LEVELS] *= self.profile[:, None, :count]
        out[:, LEVELS:-1] = _weekdays(self.added, count)
        out[:, -1] = self.last[:, :count]
        return out

    def combined(self, weights: Weights, count: int) -> Floats:
        """The methods by their weights: (series, `count` days ahead)."""
        out = self._mixed(weights.far, count)
        out[:, :NEAR] = self._mixed(weights.near, min(count, NEAR))
        return out

    def _mixed(self, weights: Floats, count: int) -> Floats:
        at = np.arange(count) % WEEK
        base = (weights[:, :LEVELS] * self.level).sum(axis=1)
        level = base[:, None] + (weights[:, _SLOPED] * self.slope) @ _damping(count)
        out: Floats = level * self.profile[:, at]
        out += (weights[:, -1, None] * self.last)[:, at]
        # The same damping serves all that are added, so their parts are mixed first.
        out += _weekdays((weights[:, None, LEVELS:-1] @ self.added)[:, 0], count)
        return out


def _weekdays(added: Floats, count: int) -> Floats:
    """Level, slope and seasons (..., 9), spelt out for `count` days ahead: (..., count)."""
    slopes = np.cumsum(DAMPING ** np.arange(1, count + 1))
    seasons = added[..., 2 + np.arange(count) % WEEK]
    out: Floats = added[..., :1] + added[..., 1:2] * slopes + seasons
    return out


def _middle(ratios: Floats) -> Floats:
    ordered = np.sort(ratios, axis=1)
    half = ordered.shape[1] // 2
    middle: Floats = (ordered[:, half - 1] + ordered[:, half]) / 2
    return middle


def candidates(window: Floats, weeks: Floats) -> Candidates:
    """All methods on (series, WINDOW) days without an unknown one; see `weekly_profile`.

    Amounts in any unit. Results below zero are left to the caller.
    """
    profile = weekly_profile(window, weeks)
    tiled = np.tile(profile, (1, _WEEKS))
    plain = window / np.maximum(tiled, _FAINT)
    level = np.empty((len(window), LEVELS))
    few = len(FILTERS)
    # A level is amounts over profile, so that a weekday near zero weighs nothing.
    level[:, :few] = (window @ _LEVEL) / _nonzero(profile @ _LEVEL_BY_WEEKDAY)
    level[:, _SLOPED] = plain @ _SLOPED_LEVEL
    slope = plain @ _SLOPED_SLOPE
    level[:, few] = np.sort(plain[:, -WEEK:], axis=1)[:, WEEK // 2]
    added = (window @ _ADDED).reshape(len(window), len(_ADDITIVE), -1)
    return Candidates(level, slope, profile, window[:, -WEEK:], added)


def _nonzero(values: Floats) -> Floats:
    return np.where(np.abs(values) > 1e-9, values, 1.0)
