"""What is out of the ordinary is found: what kind, how large, since when, how soon."""

from __future__ import annotations

import pytest

from analysis.anomaly.spend import (
    SHAPES,
    START_MS,
    Shape,
    by_day,
    diurnal,
    flat,
    found,
    hour_of,
    run,
    series,
    usd,
)
from costmeter.analysis.anomaly.shapes import DAILY_MS, HOURLY_MS, Acknowledgement, Settings

SPIKE = 1000  # a Saturday, 16:00 UTC


@pytest.mark.parametrize("name", ["flat", "business", "growth", "diurnal"])
def test_a_threefold_spike_of_six_hours_is_one_event_found_at_once(name: str) -> None:
    amounts = usd(SHAPES[name], 3)
    usual = sum(amounts[SPIKE : SPIKE + 6])
    amounts[SPIKE : SPIKE + 6] = [3 * one for one in amounts[SPIKE : SPIKE + 6]]
    events = [one for one in found(amounts) if one.last_seen_ms >= START_MS + SPIKE * HOURLY_MS]
    (one,) = [event for event in events if hour_of(event.first_seen_ms) < SPIKE + 6]
    assert (one.direction, one.status, one.ended) == ("up", "closed", "back")
    assert SPIKE <= hour_of(one.detected_ms) <= SPIKE + 1
    assert hour_of(one.last_seen_ms) == SPIKE + 5
    assert one.size == one.actual - one.expected == pytest.approx(2e9 * usual, rel=0.25)
    assert one.baseline.steps > 650
    assert 0 < one.baseline.mean < one.baseline.p95 <= one.baseline.p99


def test_a_series_that_never_moved_alarms_on_a_jump() -> None:
    amounts = [5.0] * 900
    amounts[800] = 15.0
    (one,) = found(amounts)
    assert (one.kind, one.actual, one.expected) == ("point", 15 * 10**9, 5 * 10**9)
    assert one.baseline.deviation == 0


def test_a_shift_too_small_for_one_hour_is_found_within_two_days() -> None:
    amounts = usd(flat, 2, noise=0.25)
    amounts[800:] = [1.4 * one for one in amounts[800:]]
    one = next(event for event in found(amounts) if event.kind == "level-shift")
    assert 800 <= hour_of(one.detected_ms) <= 848
    assert 788 <= hour_of(one.first_seen_ms) <= hour_of(one.detected_ms)
    assert one.ended == "learned"


def test_a_new_level_that_lasts_is_learned_and_raised_once() -> None:
    amounts = usd(diurnal, 2)
    amounts[800:] = [2 * one for one in amounts[800:]]
    one, *more = found(amounts)
    assert all(event.kind == "point" for event in more)
    assert (one.kind, one.status, one.ended) == ("level-shift", "closed", "learned")
    assert hour_of(one.detected_ms) <= 806


@pytest.mark.parametrize("shape", [flat, diurnal])
def test_an_overspend_that_creeps_to_20_percent_in_a_week_is_found(shape: Shape) -> None:
    hours = usd(shape, 5, 52 * 24)
    for hour in range(35 * 24, len(hours)):
        hours[hour] *= 1 + 0.20 * min(1.0, (hour / 24 - 34) / 7)
    by_hour, by_days = found(hours), found(by_day(hours), step_ms=DAILY_MS)
    for events in (by_hour, by_days):
        (one,) = [event for event in events if event.kind != "point"]
        assert one.direction == "up"
        assert START_MS + 35 * DAILY_MS <= one.detected_ms <= START_MS + 44 * DAILY_MS


def test_a_drop_to_nothing_is_found_and_is_no_warning() -> None:
    amounts = usd(flat, 1)
    amounts[900:920] = [0.0] * 20
    (one,) = found(amounts)
    assert (one.direction, one.severity) == ("down", "info")
    assert one.size < 0


def test_credits_may_be_negative() -> None:
    amounts = usd(flat, 1)
    amounts[900] = -400.0
    (one,) = found(amounts)
    assert (one.direction, one.actual) == ("down", -400 * 10**9)
    owed = [-one for one in usd(flat, 1)]
    owed[900] = 100.0
    (up,) = found(owed)
    assert (up.direction, up.actual) == ("up", 100 * 10**9)


def test_hours_that_come_and_go_are_one_incident() -> None:
    amounts = usd(flat, 1)
    for hour in (900, 903, 907, 914):
        amounts[hour] = 60.0
    (one,) = found(amounts)
    assert (hour_of(one.first_seen_ms), hour_of(one.last_seen_ms)) == (900, 914)


def test_an_incident_does_not_hide_the_same_hour_of_next_week() -> None:
    amounts = usd(flat, 1)
    amounts[500] = amounts[668] = 80.0
    assert [hour_of(one.first_seen_ms) for one in found(amounts)] == [500, 668]


def test_an_acknowledged_change_is_the_new_level_at_once() -> None:
    amounts = usd(flat, 1)
    amounts[800:] = [2 * one for one in amounts[800:]]
    amounts[900] *= 3
    scope = (("provider", "openai"),)
    said = Acknowledgement(scope, START_MS + 800 * HOURLY_MS, START_MS + 803 * HOURLY_MS)
    first, second = run(series(amounts), said=[said]).findings
    assert (first.status, first.ended) == ("acknowledged", "acknowledged")
    assert hour_of(first.last_seen_ms) <= 803
    assert hour_of(second.first_seen_ms) == 900
    assert hour_of(second.last_seen_ms) <= 906
    assert second.expected >= 18 * 10**9


def test_a_change_that_was_announced_raises_nothing() -> None:
    amounts = usd(flat, 1)
    amounts[800:] = [2 * one for one in amounts[800:]]
    said = Acknowledgement(
        (("provider", "openai"),), START_MS + 800 * HOURLY_MS, START_MS + 700 * HOURLY_MS
    )
    assert run(series(amounts), said=[said]).findings == ()
    other = Acknowledgement((("provider", "azure"),), said.at_ms, said.known_ms)
    assert len(run(series(amounts), said=[other]).findings) == 1


def test_more_sensitivity_finds_more() -> None:
    amounts = usd(flat, 1, noise=0.3)
    given = series(amounts)
    counts = [
        len(run(given, settings=Settings(sensitivity_sigma=sigma)).findings)
        for sigma in (1.0, 2.0, 4.0)
    ]
    assert counts == sorted(counts, reverse=True)
    amounts[1000] = 55.0
    assert len(run(series(amounts), settings=Settings(sensitivity_sigma=1.0)).findings) >= 1


def test_what_doubles_and_is_large_is_critical() -> None:
    amounts = usd(flat, 1)
    amounts[900:903] = [90.0] * 3
    (one,) = found(amounts)
    assert one.severity == "critical"
    assert one.text.startswith("provider openai: ")
    assert "USD above the" in one.text


def test_readings_say_where_a_series_stands() -> None:
    amounts = usd(flat, 1, 900)
    (one,) = run(series(amounts)).readings
    assert hour_of(one.at_ms) == 899
    assert one.actual == round(amounts[-1] * 1e9)
    assert one.expected == pytest.approx(10e9, rel=0.2)
    assert abs(one.score) < 2
    assert one.baseline.steps > 700
