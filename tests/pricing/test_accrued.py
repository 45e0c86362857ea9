"""Amounts that accrue: pieces add up to the whole, wherever they are cut."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.pricing.accrued import Recurring, accrued, day_start, month_start

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati")
amounts = st.integers(1, 10**16)
instants = st.integers(
    int(datetime(2019, 1, 1, tzinfo=UTC).timestamp()) * 1_000,
    int(datetime(2033, 1, 1, tzinfo=UTC).timestamp()) * 1_000,
)


@given(
    amounts, st.sampled_from((1, 12, 36)), st.sampled_from(ZONES), st.lists(instants, min_size=2)
)
def test_pieces_add_up_to_the_whole(nano: int, months: int, zone: str, cuts: list[int]) -> None:
    terms = Recurring(nano, months, zone=zone)
    cuts.sort()
    pieces = [accrued(terms, a, b) for a, b in pairwise(cuts)]
    assert sum(pieces) == accrued(terms, cuts[0], cuts[-1])
    assert all(piece >= 0 for piece in pieces)


@given(amounts, st.sampled_from(ZONES), st.integers(2019, 2032), st.integers(1, 12))
def test_each_month_of_any_length_costs_the_amount(
    nano: int, zone: str, year: int, month: int
) -> None:
    begins = day_start(date(year, month, 1), zone)
    ends = day_start(date(year + month // 12, month % 12 + 1, 1), zone)
    assert accrued(Recurring(nano, zone=zone), begins, ends) == nano
    parts = [accrued(Recurring(nano, zone=zone), at, min(at + 3_600_000, ends))
             for at in range(begins, ends, 3_600_000)]  # fmt: skip
    assert sum(parts) == nano
    assert max(parts) >= min(parts) >= 0


@given(amounts, st.sampled_from(ZONES), st.integers(2019, 2032))
def test_a_year_is_twelve_equal_months(nano: int, zone: str, year: int) -> None:
    terms = Recurring(nano, 12, zone=zone)
    starts = [day_start(date(year, month, 1), zone) for month in range(1, 13)]
    starts.append(day_start(date(year + 1, 1, 1), zone))
    parts = [accrued(terms, a, b) for a, b in pairwise(starts)]
    assert sum(parts) == nano
    assert max(parts) - min(parts) <= 1


@given(
    amounts,
    st.integers(1, 120),
    st.sampled_from(ZONES),
    st.dates(date(2019, 1, 1), date(2024, 12, 31)),
)
def test_what_is_paid_once_ends_at_its_amount(
    nano: int, months: int, zone: str, start: date
) -> None:
    anchor = start.isoformat()
    terms = Recurring(nano, months, anchor, zone)
    begins, ends = month_start(anchor, zone, 0), month_start(anchor, zone, months)
    assert begins == day_start(start, zone)
    assert accrued(terms, begins, ends) == nano
    assert all(
        abs(accrued(terms, begins, month_start(anchor, zone, k)) - Fraction(nano * k, months))
        <= Fraction(1, 2)
        for k in range(months)
    )


@pytest.mark.parametrize(
    ("anchor", "number", "begins"),
    [
        ("2024-01-31", 1, "2024-02-29"),
        ("2025-01-31", 1, "2025-02-28"),
        ("2025-01-31", 2, "2025-03-31"),
        ("2024-02-29", 12, "2025-02-28"),
        ("2025-11-15", 2, "2026-01-15"),
        ("2025-11-15", -11, "2024-12-15"),
    ],
)
def test_months_begin_on_the_day_of_the_anchor(anchor: str, number: int, begins: str) -> None:
    assert month_start(anchor, "UTC", number) == day_start(date.fromisoformat(begins), "UTC")


def test_a_second_of_february_costs_more_than_one_of_march() -> None:
    def second_of(day: date) -> int:
        at = day_start(day, "UTC")
        return accrued(Recurring(10**15), at, at + 1_000)

    assert second_of(date(2026, 2, 1)) == round(Fraction(10**15, 28 * 86_400))
    assert second_of(date(2024, 2, 1)) == round(Fraction(10**15, 29 * 86_400))
    assert second_of(date(2026, 3, 1)) == round(Fraction(10**15, 31 * 86_400))


def test_the_day_with_25_hours_costs_as_much_as_its_length() -> None:
    zone, terms = "Europe/Berlin", Recurring(10**15, zone="Europe/Berlin")
    long, usual = date(2026, 10, 25), date(2026, 10, 26)
    assert day_start(usual, zone) - day_start(long, zone) == 25 * 3_600_000
    long_day = accrued(terms, day_start(long, zone), day_start(usual, zone))
    usual_day = accrued(terms, day_start(usual, zone), day_start(usual + timedelta(1), zone))
    assert abs(long_day * 24 - usual_day * 25) <= 50
