"""Deep models for the largest scopes, where the extra `forecast` is installed.

statsforecast's dynamic optimised Theta and AutoCES, each fitted to one series, mixed with the
light forecast by what all three would have said in each of the last eight weeks. The intervals
are the light ones', which a backtest of sums has calibrated. See docs/decisions/0012.
"""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmeter.analysis.forecast.core import Batch, forecast
from costmeter.analysis.forecast.history import month_factors, prepare
from costmeter.analysis.forecast.models import WEEK, WINDOW

Floats = NDArray[np.float64]

METHOD = "Theta, CES and light methods"
#: Fitted days at most, for the forecast and for its trials: older ones cost time and move nothing.
_FITTED, _TRIED = 180, 120
#: Fewer known days than this are no season to fit.
_LEAST = 28
#: A model that runs away counts as none.
_RUNAWAY = 5.0
_TRIALS = 8
#: A weight is loss to the power -SHARPNESS; the loss stands on this share of the average loss.
_SHARPNESS, _PRIOR = 4.0, 0.15
#: The light forecast is steadier, so it counts twice.
_FAVOUR = np.array([2.0, 1.0, 1.0])


def available() -> bool:
    """Whether the extra is installed; imports nothing."""
    return importlib.util.find_spec("statsforecast") is not None


def deepen(batch: Batch, amounts: Floats) -> tuple[Batch, str]:
    """A batch with the deep models' points mixed in, and the mixture's name.

    Short series, and those a model fails on or runs away with, keep the light forecast. The
    batch's own figures of quality stay those of the light forecast.
    """
    ahead = batch.point.shape[1]
    factors, future = month_factors(amounts, batch.last, ahead)
    history = prepare(amounts / factors)
    tried = _tried(batch, amounts)
    point = batch.point.copy()
    for at in range(len(point)):
        series = np.ascontiguousarray(history.filled[at, WINDOW + int(history.first[at]) :])
        if history.known[at].sum() < _LEAST or np.ptp(series[-_FITTED:]) == 0:
            continue
        came = np.where(history.known[at], amounts[at], np.nan)
        loss = _losses(series, came, factors[at], tried[:, at])
        said = np.stack([batch.point[at], *_models(series[-_FITTED:], future[at])])
        loss[np.isnan(said[:, 0])] = np.inf
        weights = _weights(loss)
        mixed = weights @ np.nan_to_num(said)
        point[at] = mixed if batch.credits[at] else np.maximum(mixed, 0.0)
    return replace(batch, point=point, total=np.cumsum(point, axis=1)), METHOD


def _tried(batch: Batch, amounts: Floats) -> Floats:
    """What the light methods would have said before each of the last weeks, newest first:
    (trials, series, 7), NaN where too little was known."""
    out = np.full((_TRIALS, len(amounts), WEEK), np.nan)
    for at in range(_TRIALS):
        back = WEEK * (at + 1)
        before = amounts[:, :-back]
        if before.shape[1] < _LEAST:
            break
        out[at] = forecast(before, batch.last - timedelta(days=back), WEEK).point
    return out


def _losses(series: Floats, came: Floats, factors: Floats, light: Floats) -> Floats:
    """Absolute errors of days and of weeks, light methods first: (methods,). `light` is
    (trials, 7); `series` is deseasonalised by the month, `came` is not."""
    loss = np.zeros(len(_FAVOUR))
    for at in range(_TRIALS):
        end = len(series) - WEEK * (at + 1)
        if end < _LEAST or np.isnan(light[at]).any():
            break
        stop = len(came) - WEEK * at
        week = slice(stop - WEEK, stop)
        said = np.stack([light[at], *_models(series[max(0, end - _TRIED) : end], factors[week])])
        gaps = np.where(np.isnan(came[week]), 0.0, said - np.nan_to_num(came[week]))
        loss += np.abs(gaps).sum(axis=1) + np.abs(gaps.sum(axis=1))
    return np.where(np.isnan(loss), np.inf, loss)


def _weights(loss: Floats) -> Floats:
    """Shares of the methods; equal losses, or no trial at all, leave what is favoured."""
    stood = np.isfinite(loss)
    held = np.where(stood, loss, 0.0)
    held = held + _PRIOR * held.sum() / stood.sum() + 1e-12
    weights = np.where(stood, _FAVOUR * (held[stood].min() / held) ** _SHARPNESS, 0.0)
    shares: Floats = weights / weights.sum()
    return shares


def _models(fitted: Floats, factors: Floats) -> list[Floats]:
    """What each model says of as many days as there are `factors`; NaN where it fails."""
    from statsforecast.models import AutoCES, DynamicOptimizedTheta

    kinds: tuple[Any, ...] = (DynamicOptimizedTheta, AutoCES)
    if np.ptp(fitted) == 0:
        return [fitted[-1] * factors for _kind in kinds]
    highest = _RUNAWAY * np.abs(fitted).max()
    said = []
    for kind in kinds:
        one = np.full(len(factors), np.nan)
        try:
            # Its warnings would be taken for the worker's own word.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = kind(season_length=WEEK).forecast(fitted, len(factors))["mean"]
            if np.isfinite(found).all() and np.abs(found).max() <= highest:
                one = np.asarray(found, dtype=float) * factors
        except (ValueError, ArithmeticError, np.linalg.LinAlgError, RuntimeError):
            pass  # No answer is one that counts for nothing.
        said.append(one)
    return said
