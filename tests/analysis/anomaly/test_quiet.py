"""What is ordinary raises nothing."""

from __future__ import annotations

import pytest

from analysis.anomaly.spend import (
    HOURS,
    SHAPES,
    Shape,
    business,
    by_day,
    diurnal,
    flat,
    found,
    growth,
    run,
    series,
    usd,
)
from costmeter.analysis.anomaly.shapes import DAILY_MS

ROWS = 6


@pytest.mark.parametrize("name", SHAPES)
def test_ordinary_spend_has_well_under_one_false_event_a_month(name: str) -> None:
    # 6 series of 53 days after the first week: 10 months. The first of March cannot be
    # known on a series that begins with the first of February at one o'clock; its job can.
    events = run(*(series(usd(SHAPES[name], seed), f"s{seed}") for seed in range(ROWS))).findings
    months = ROWS * (HOURS - 168) / 720
    assert len(events) / months < 0.5, [(one.kind, one.text) for one in events]


@pytest.mark.parametrize("shape", [flat, business, diurnal, growth])
def test_ordinary_days_have_well_under_one_false_event_a_month(shape: Shape) -> None:
    given = [series(by_day(usd(shape, seed)), f"s{seed}", DAILY_MS) for seed in range(ROWS)]
    events = run(*given).findings
    assert len(events) / (ROWS * 53 / 30) < 0.5, [(one.kind, one.text) for one in events]


def test_a_series_is_silent_for_its_first_week() -> None:
    amounts = usd(flat, 1, 200)
    amounts[150] = 500.0
    assert found(amounts[:168]) == ()


def test_a_tenant_born_at_18_00_with_900_usd_is_no_anomaly() -> None:
    assert found([0.0] * 714 + [900.0] + usd(flat, 1, 40)) == ()


def test_nothing_that_is_not_final_is_looked_at() -> None:
    amounts = usd(flat, 1)
    amounts[-24:] = [0.5] * 24
    assert found(amounts, final=HOURS - 24) == ()
    assert [one.direction for one in found(amounts)] == ["down"]


def test_a_week_of_bills_that_land_at_once_alarms_in_no_way() -> None:
    amounts: list[float | None] = list(usd(flat, 1))
    late = range(700, 868)
    for hour in late:
        amounts[hour] = 0.0 if hour % 24 else 240.0
    assert found(amounts, late=late) == ()
    assert found(amounts) != ()


def test_declared_spend_is_no_anomaly_and_is_not_learned() -> None:
    amounts = usd(flat, 1)
    amounts[800:806] = [400.0] * 6
    assert found(amounts, planned=range(800, 806)) == ()
    assert found(amounts) != ()


def test_gaps_are_not_taken_for_nothing() -> None:
    amounts: list[float | None] = list(usd(diurnal, 1))
    for hour in (*range(400, 405), *range(600, 660), *range(900, 1068)):
        amounts[hour] = None
    assert found(amounts) == ()


def test_nothing_under_the_floor_is_told() -> None:
    amounts = [one / 1000 for one in usd(flat, 1)]
    amounts[800] = 0.5
    assert found(amounts) == ()


def test_an_empty_series_and_one_of_zeros_have_nothing_to_say() -> None:
    nothing = run(series([]), series([0.0] * 900, "zeros"), series([None] * 900, "unknown"))
    assert nothing.findings == nothing.readings == ()
