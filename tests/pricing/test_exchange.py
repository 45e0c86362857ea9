"""Rates of exchange by day, and the files that they come from."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.model import BillLine, Labels
from costmeter.pricing.errors import PriceFileError
from costmeter.pricing.exchange import DayRate, Exchange, converted, day_number, read_rates

DAY = day_number("2026-11-22")
LABELS = Labels(*[""] * 13)


def line(amount: str, currency: str, usd_nano: int | None = None, day: int = DAY) -> BillLine:
    return BillLine("", day, "a", 1, amount, currency, usd_nano, LABELS)


def exchange(*rates: tuple[int, str], max_age_days: int = 7) -> Exchange:
    return Exchange(
        [DayRate(DAY + offset, "EUR", Decimal(rate)) for offset, rate in rates], max_age_days
    )


def test_the_newest_rate_at_or_before_the_day_counts() -> None:
    table = exchange((1, "9"), (0, "1.1"), (-2, "1.2"), (-1, "1.3"))
    assert table.rate("EUR", DAY) == (Decimal("1.1"), DAY)
    assert table.rate("EUR", DAY - 1) == (Decimal("1.3"), DAY - 1)
    assert exchange((1, "9")).rate("EUR", DAY) is None


def test_a_rate_holds_for_so_many_days() -> None:
    table = exchange((-3, "1.1"), max_age_days=3)
    assert table.rate("EUR", DAY) == (Decimal("1.1"), DAY - 3)
    assert table.rate("EUR", DAY + 1) is None
    assert exchange((0, "1.1"), max_age_days=0).rate("EUR", DAY + 1) is None


def test_a_line_keeps_its_rate_and_the_day_of_it() -> None:
    found = converted(line("12.34", "EUR"), exchange((-2, "1.0843")))
    assert (found.usd_nano, found.fx_rate, found.fx_day) == (13_380_262_000, "1.0843", DAY - 2)
    assert (found.amount, found.currency) == ("12.34", "EUR")


def test_without_a_rate_a_line_is_neither_nothing_nor_dollars() -> None:
    for one in (line("5", "GBP"), line("not a number", "EUR"), line("1" + "0" * 29, "EUR")):
        assert converted(one, exchange((0, "1.1"))) is one
        assert one.usd_nano is None


def test_what_has_an_amount_in_usd_keeps_it() -> None:
    one = line("5", "EUR", usd_nano=7)
    assert converted(one, exchange((0, "1.1"))) is one
    assert converted(line("5.5", "USD"), Exchange()).usd_nano == 5_500_000_000


@given(
    st.decimals(-(10**6), 10**6, places=12, allow_nan=False),
    st.decimals("0.000001", "1000", places=9, allow_nan=False),
)
def test_conversion_is_exact_to_half_a_nano(amount: Decimal, rate: Decimal) -> None:
    found = converted(line(f"{amount:f}", "EUR"), exchange((0, f"{rate:f}")))
    assert found.usd_nano is not None
    exact = Fraction(amount) * Fraction(rate) * 10**9
    assert abs(found.usd_nano - exact) <= Fraction(1, 2)
    assert found.usd_nano == round(exact)


CSV = """\
date,currency,rate
2026-11-20,EUR,1.0843
# a remark

2026-11-21,JPY,0.0064
"""
OTHER_CSV = """\
\ufeffCurrency, Rate, Date, Source
EUR,1.0843,2026-11-20,x
JPY,0.0064,2026-11-21,
"""
YAML = """\
rates:
- {date: 2026-11-20, currency: EUR, rate: 1.0843}
- {date: 2026-11-21, currency: JPY, rate: '0.0064'}
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("r.csv", CSV),
        ("r.txt", OTHER_CSV),
        ("r.yml", YAML),
        ("r.YAML", YAML.removeprefix("rates:\n")),
    ],
)
def test_files_in_csv_and_yaml(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert read_rates(path) == [
        DayRate(DAY - 2, "EUR", Decimal("1.0843")),
        DayRate(DAY - 1, "JPY", Decimal("0.0064")),
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("r.csv", "day,currency,rate\n", ":1: header: has no column date; begin with the line"),
        ("r.csv", "date,currency,rate\n2026-11-20,EUR\n", ":2: row: has 2 values; write 3"),
        ("r.csv", "date,currency,rate\n20.11.2026,EUR,1\n", ":2: date: '20.11.2026' is not a date"),
        ("r.csv", "date,currency,rate\n2026-02-30,EUR,1\n", ":2: date: '2026-02-30' is not a date"),
        ("r.csv", "date,currency,rate\n2026-11-20,eur,1\n", ":2: currency: 'eur' is not a"),
        ("r.csv", "date,currency,rate\n2026-11-20,USD,1\n", ":2: currency: 'USD' needs no rate"),
        ("r.csv", "date,currency,rate\n2026-11-20,EUR,0\n", ":2: rate: '0' is not a rate"),
        ("r.csv", 'date,currency,rate\n2026-11-20,EUR,"1,08"\n', ":2: rate: '1,08' is not a rate"),
        ("r.yml", "rates:\n- {date: 2026-11-20, rate: 1}\n", ":2: rates[0]: has no currency"),
        ("r.yml", "rats: []\n", ":1: rats: is not known here; write rates instead"),
        ("r.yml", "rates: [\n", "file: is not YAML"),
    ],
)  # fmt: skip
def test_mistakes_name_the_line_and_what_to_write(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(PriceFileError) as raised:
        read_rates(path)
    assert f"{path}" in str(raised.value)
    assert said in str(raised.value)
