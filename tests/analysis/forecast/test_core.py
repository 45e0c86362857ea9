"""The light forecast on generated series: what it follows, and what it must never say."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from costmeter.analysis.forecast.backtest import backtest
from costmeter.analysis.forecast.core import forecast
from costmeter.analysis.forecast.history import prepare
from costmeter.analysis.forecast.immature import immature, learn
from costmeter.analysis.forecast.models import NAMES

LAST = date(2026, 3, 31)
WEEK = np.array([1.2, 1.2, 1.1, 1.1, 1.0, 0.7, 0.7])


def weekly(series: int, days: int, noise: float = 0.1) -> np.ndarray:
    at = np.arange(days) % 7
    rng = np.random.default_rng(7)
    return 100 * WEEK[at] * np.exp(noise * rng.standard_normal((series, days)))


def test_a_weekly_pattern_is_found_and_beats_seasonal_naive():
    series = weekly(200, 118)
    said = forecast(series[:, :90], LAST, 28)
    naive = np.abs(series[:, 83:90] - series[:, 90:97]).sum()
    assert np.abs(said.point[:, :7] - series[:, 90:97]).sum() < 0.85 * naive
    assert np.median(said.mase) < 0.85


def test_intervals_hold_what_they_promise_for_days_and_for_sums():
    series = weekly(400, 118, 0.2)
    said = forecast(series[:, :90], LAST, 28)
    came = series[:, 90:]
    days = (np.abs(said.point - came) <= said.day95).mean()
    sums = (np.abs(said.total - came.cumsum(axis=1)) <= said.total95)[:, (6, 13, 27)].mean()
    assert 0.92 <= days <= 0.99
    assert 0.90 <= sums <= 1.0
    # Sums are calibrated by themselves: adding the days' widths would be far too wide.
    assert (said.total95[:, 27] < 0.8 * said.day95.sum(axis=1)).mean() > 0.9


def test_nothing_is_negative_and_sums_only_grow():
    rng = np.random.default_rng(3)
    series = np.where(rng.random((300, 80)) < 0.2, rng.gamma(1, 50, (300, 80)), 0.0)
    series[0] = np.linspace(100, 0, 80)
    said = forecast(series, LAST)
    assert said.point.min() >= 0
    assert (np.diff(said.total, axis=1) >= 0).all()
    assert said.lower(said.total, said.total95).min() >= 0
    assert (said.day95 >= said.day80).all()


@pytest.mark.parametrize("days", [1, 2, 6, 7, 8, 13, 20])
def test_a_short_history_is_answered_with_a_wide_interval(days: int):
    said = forecast(np.full((1, days), 10.0), LAST)
    assert said.total[0, 6] == pytest.approx(70)
    assert np.isfinite(said.total95).all()
    if days == 1:
        assert np.isnan(said.wape[0])
        assert said.total95[0, 6] > 70


def test_zeros_stay_zero_and_a_series_without_a_day_is_zero():
    said = forecast(np.array([[0.0] * 60, [np.nan] * 60]), LAST)
    assert said.point.max() == 0
    assert np.isfinite(said.day95).all()


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_widths_are_in_units_of_the_series_after_silence(unit: float):
    """Spend that began after months of zeros was a surprise, but no larger one than itself."""
    series = np.concatenate([np.zeros((1, 80)), weekly(1, 40)], axis=1) * unit
    said = forecast(series, LAST)
    assert said.total[0, 6] == pytest.approx(700 * unit, rel=0.15)
    assert said.total95[0, 6] < 3 * said.total[0, 6]
    ended = np.concatenate([weekly(1, 60), np.zeros((1, 60))], axis=1) * unit
    assert forecast(ended, LAST).total95[0, 6] < 700 * unit


def test_a_gap_is_no_drop():
    series = weekly(1, 90, 0.02)
    whole = forecast(series, LAST).total[0, 6]
    series[0, [40, 60, 61, 89]] = np.nan
    assert forecast(series, LAST).total[0, 6] == pytest.approx(whole, rel=0.05)


def test_a_level_shift_is_followed_and_told():
    series = weekly(1, 90, 0.03)
    series[:, 80:] *= 3
    said = forecast(series, LAST)
    assert said.total[0, 6] == pytest.approx(3 * 700, rel=0.15)
    assert said.shifted_days[0] == 10


def test_the_first_of_the_month_is_expected_after_three_of_them():
    days = 100
    dates = [LAST + timedelta(days=at - days + 1) for at in range(days + 30)]
    rng = np.random.default_rng(5)
    series = 100 + rng.normal(0, 3, (1, days))
    series[:, [one.day == 1 for one in dates[:days]]] *= 4
    said = forecast(series, LAST, 30).point[0]
    assert said[0] == pytest.approx(400, rel=0.2)
    assert said[9] == pytest.approx(100, rel=0.1)


def test_one_more_ordinary_day_moves_the_month_by_less_than_its_interval():
    series = weekly(100, 91, 0.15)
    before = forecast(series[:, :90], LAST, 30)
    after = forecast(series[:, 1:], LAST + timedelta(days=1), 29)
    moved = np.abs(series[:, 90] + after.total[:, 28] - before.total[:, 29])
    assert (moved <= before.total95[:, 29]).all()


@pytest.mark.parametrize("shape", ["steps", "intermittent", "short", "trend"])
def test_it_stays_steady_where_the_series_is_not(shape: str):
    """A day as the model expects it is the most ordinary one there is."""
    rng = np.random.default_rng(9)
    series = {
        "steps": np.repeat(rng.integers(1, 9, (60, 10)), 9, axis=1) * 10.0,
        "intermittent": np.where(rng.random((60, 90)) < 0.3, rng.gamma(2, 20, (60, 90)), 0.0),
        "short": weekly(60, 12),
        "trend": weekly(60, 90) * np.linspace(1, 3, 90),
    }[shape]
    before = forecast(series, LAST, 30)
    more = np.concatenate([series, before.point[:, :1]], axis=1)
    after = forecast(more, LAST + timedelta(days=1), 29)
    moved = np.abs(before.point[:, 0] + after.total[:, 28] - before.total[:, 29])
    assert (moved <= before.total95[:, 29] + 1e-9).all()
    assert (moved <= 0.5 * before.total95[:, 29] + 1e-9).mean() >= 0.95


@given(
    arrays(
        float,
        st.tuples(st.integers(1, 3), st.integers(1, 120)),
        elements=st.one_of(st.just(0.0), st.just(np.nan), st.floats(0, 1e6)),
    ),
    st.integers(1, 90),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_whatever_was_spent_the_answer_is_a_forecast(amounts: np.ndarray, ahead: int):
    said = forecast(amounts, LAST, ahead)
    assert said.point.shape == said.total95.shape == (len(amounts), ahead)
    for one in (said.point, said.total, said.day80, said.day95, said.total80, said.total95):
        assert np.isfinite(one).all()
        assert one.min() >= 0
    assert (np.diff(said.total, axis=1) >= 0).all()
    assert (said.day80 <= said.day95).all()
    assert (said.total80 <= said.total95).all()
    assert np.allclose(said.weights.sum(axis=1), 1)


def test_the_first_days_have_weights_of_their_own():
    """Where the level wanders, yesterday's is right for tomorrow, and its way back never comes."""
    rng = np.random.default_rng(2)
    series = 100 * np.exp(np.cumsum(0.1 * rng.standard_normal((50, 200)), axis=1))
    found = backtest(prepare(series))
    back = NAMES.index("back to the mean of 56 days")
    assert found.weights.near[:, back].mean() > 1.3 * found.weights.far[:, back].mean()


@pytest.mark.parametrize("ahead", [1, 2, 3, 6, 90])
def test_a_shorter_horizon_is_the_beginning_of_a_longer_one(ahead: int):
    series = weekly(3, 90)
    short, long = forecast(series, LAST, ahead), forecast(series, LAST, 90)
    assert short.point == pytest.approx(long.point[:, :ahead])
    assert short.total95 == pytest.approx(long.total95[:, :ahead])
    assert short.coverage == pytest.approx(long.coverage)


def test_series_do_not_change_with_their_company():
    series = weekly(300, 90)
    alone = forecast(series[270:271], LAST)
    assert forecast(series, LAST).point[270] == pytest.approx(alone.point[0])


def test_immature_days_are_scaled_up_or_left_out():
    known = np.tile([0.2, 0.8, 0.95, 1.0], (10, 1)) + np.linspace(-0.02, 0.02, 10)[:, None]
    maturity = learn(known)
    series = np.full((1, 60), 100.0)
    series[0, -3:] = [95, 80, 20]
    amounts, spread = immature(series, maturity)
    assert np.isnan(amounts[0, -1])
    assert amounts[0, -2] == pytest.approx(100)
    assert spread[0, -2] > 0
    sure = forecast(np.full((1, 60), 100.0), LAST)
    said = forecast(amounts, LAST, spread=spread)
    assert said.total[0, 6] == pytest.approx(sure.total[0, 6], rel=0.02)
    assert said.total95[0, 6] > sure.total95[0, 6]


def test_a_horizon_or_an_amount_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="horizon of 91"):
        forecast(np.ones((1, 9)), LAST, 91)
    with pytest.raises(ValueError, match="infinite"):
        forecast(np.full((1, 9), np.inf), LAST)
