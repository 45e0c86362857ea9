"""Periods lie side by side, in every zone and over every change of its clocks."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.ledger.budget_periods import due_between, periods_of
from costmeter.model import Cut, Planned

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe",
         "Africa/Cairo", "America/Havana")  # fmt: skip
HOUR = 3_600_000


def at(zone: str, *when: int) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000


def hours(cut: Cut, *when: int) -> float:
    found = periods_of(cut).of(at(cut.timezone, *when))
    assert found is not None
    return (found[1] - found[0]) / HOUR


@given(
    st.sampled_from(("hour", "day", "week", "month", "quarter", "year")),
    st.sampled_from(ZONES),
    st.integers(0, 6),
    st.integers(1_600_000_000, 2_200_000_000),
)
def test_every_instant_is_in_one_period_and_the_next_begins_where_it_ends(
    period: str, zone: str, week: int, second: int
) -> None:
    periods = periods_of(Cut(period, zone, week if period == "week" else 0))
    found = periods.of(second * 1_000)
    assert found is not None
    start, end = found
    assert start <= second * 1_000 < end
    assert periods.of(end) is not None
    assert periods.of(end)[0] == end  # type: ignore[index]
    assert periods.of(start - 1)[1] == start  # type: ignore[index]
    assert periods.of(end - 1) == found


@pytest.mark.parametrize(
    ("zone", "day", "length"),
    [
        ("Europe/Berlin", (2025, 10, 26), 25), ("Europe/Berlin", (2026, 3, 29), 23),
        ("America/New_York", (2025, 11, 2), 25), ("Asia/Kolkata", (2025, 11, 2), 24),
        ("Australia/Lord_Howe", (2025, 4, 6), 24.5), ("Australia/Lord_Howe", (2025, 10, 5), 23.5),
    ],
)  # fmt: skip
def test_days_of_other_lengths(zone: str, day: tuple[int, ...], length: float) -> None:
    assert hours(Cut("day", zone), *day, 12) == length


def test_lengths_of_the_longer_periods() -> None:
    assert hours(Cut("month", "UTC"), 2024, 2, 10) == 29 * 24
    assert hours(Cut("quarter", "UTC"), 2025, 2, 10) == 90 * 24
    assert hours(Cut("quarter", "Europe/Berlin"), 2025, 2, 10) == 90 * 24 - 1
    assert hours(Cut("year", "UTC"), 2024, 12, 31) == 366 * 24
    assert hours(Cut("week", "America/New_York"), 2025, 11, 2) == 7 * 24 + 1


def test_a_week_begins_on_its_day() -> None:
    monday, sunday = (periods_of(Cut("week", "UTC", day)).of(at("UTC", 2026, 11, 22))
                      for day in (0, 6))  # fmt: skip
    assert monday == (at("UTC", 2026, 11, 16), at("UTC", 2026, 11, 23))
    assert sunday == (at("UTC", 2026, 11, 22), at("UTC", 2026, 11, 29))


def test_a_custom_period_ends_and_says_when_it_begins() -> None:
    periods = periods_of(Cut("custom", "Europe/Berlin", 0, "2026-11-05", "2026-11-12"))
    start, end = at("Europe/Berlin", 2026, 11, 5), at("Europe/Berlin", 2026, 11, 12)
    assert periods.of(start - 1) is None
    assert periods.next_start(start - 1) == start
    assert periods.of(start) == (start, end)
    assert periods.of(end) is None
    assert periods.latest(end + HOUR) == (start, end)
    assert periods.next_start(end) is None


def test_a_custom_period_repeats_by_its_length_or_every_year() -> None:
    length = periods_of(Cut("custom", "UTC", 0, "2026-11-05", "2026-11-12", "length"))
    assert length.of(at("UTC", 2026, 11, 12)) == (at("UTC", 2026, 11, 12), at("UTC", 2026, 11, 19))
    yearly = periods_of(Cut("custom", "UTC", 0, "2026-12-20", "2027-01-03", "year"))
    assert yearly.of(at("UTC", 2028, 1, 2)) == (at("UTC", 2027, 12, 20), at("UTC", 2028, 1, 3))
    assert yearly.of(at("UTC", 2027, 6, 1)) is None
    assert yearly.next_start(at("UTC", 2027, 6, 1)) == at("UTC", 2027, 12, 20)
    assert yearly.of(at("UTC", 2025, 12, 24)) is None


def test_a_period_that_does_not_renew() -> None:
    periods = periods_of(Cut("month", "UTC", 0, "2026-11-05", "", "never"))
    assert periods.of(at("UTC", 2026, 11, 1)) == (at("UTC", 2026, 11, 1), at("UTC", 2026, 12, 1))
    assert periods.of(at("UTC", 2026, 12, 1)) is None
    assert periods.next_start(at("UTC", 2026, 11, 20)) is None


@pytest.mark.parametrize(
    "cut",
    [Cut("custom"), Cut("custom", "UTC", 0, "2026-01-02", "2026-01-02"),
     Cut("month", repeats="never"), Cut("custom", "UTC", 0, "x", "y")],
)  # fmt: skip
def test_a_cut_that_is_none_is_refused(cut: Cut) -> None:
    with pytest.raises(ValueError, match=r"needs|Invalid isoformat"):
        periods_of(cut)


def test_planned_spend_comes_when_it_was_declared() -> None:
    since, until = at("UTC", 2026, 1, 1), at("UTC", 2026, 5, 1)
    last = Planned("close", 5, "2025-12-31T22:00", 6, "month")
    assert [begin for begin, _, _ in due_between(last, "UTC", since, until)] == [
        at("UTC", 2026, month, day, 22) for month, day in ((1, 31), (2, 28), (3, 31), (4, 30))
    ]
    once = Planned("once", 5, "2026-03-01", 6)
    assert due_between(once, "UTC", since, until) == [
        (at("UTC", 2026, 3, 1), at("UTC", 2026, 3, 1, 6), 5)
    ]
    nightly = Planned("nightly", 5, "2025-01-01T02:30", 2, "day")
    found = due_between(
        nightly, "Europe/Berlin", *(at("Europe/Berlin", 2026, 3, d) for d in (28, 31))
    )
    assert len(found) == 3, "also on the day without a half past two"
