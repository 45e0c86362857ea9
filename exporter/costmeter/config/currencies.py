"""Currencies: what amounts that are not in USD are worth, day by day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from msgspec import Struct

from costmeter.config.kinds import Amount, Exact, Kind, Pattern, ReadFile, Whole
from costmeter.config.problems import Reading, Wrong
from costmeter.config.records import Records
from costmeter.config.spec import Setting

USD = "USD"


class Day(Pattern):
    """A day of the calendar, as its text."""

    def __init__(self, *, empty: bool = False) -> None:
        super().__init__(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "a date", "it as 2026-01-31", empty=empty)

    def parse(self, text: str, folder: Path) -> str:
        day = super().parse(text, folder)
        if day:
            try:
                year = dt.date.fromisoformat(day).year
            except ValueError:
                raise Wrong("is no day of the calendar; write one such as 2026-01-31") from None
            if not 1971 <= year <= 2199:
                raise Wrong("is out of range; write a year from 1971 to 2199")
        return day


class Money(Amount):
    """An amount of whatever currency, in billionths of its unit."""

    def __init__(self, *, optional: bool = False, zero: bool = False) -> None:
        super().__init__(optional=optional, zero=zero)
        self.write = "a number such as 500 or 499.99"


class OptionalExact(Exact):
    """An exact number, or nothing."""

    takes_null = True

    def read_text(self, text: str, folder: Path, reading: Reading) -> Decimal:
        # Nothing is None to whoever reads the setting.
        return super().read_text(text, folder, reading) if text else None  # type: ignore[return-value]

    def show(self, value: Decimal | None) -> str:
        return "" if value is None else super().show(value)


CURRENCY: Kind[str] = Pattern(r"[A-Z]{3}", "a currency", "its three capital letters, such as EUR")
DAY: Kind[str] = Day()
OPTIONAL_DAY: Kind[str] = Day(empty=True)
MONEY: Kind[int] = Money()  # type: ignore[assignment]
OPTIONAL_MONEY: Kind[int | None] = Money(optional=True)


class DayRate(Struct, frozen=True):
    """What one unit of a currency is worth on a day."""

    date: Annotated[
        str, Setting(DAY, "The day (UTC) from which the rate holds.", required=True)
    ] = ""
    currency: Annotated[str, Setting(CURRENCY, "The currency, such as EUR.", required=True)] = ""
    rate: Annotated[
        Decimal,
        Setting(
            Exact("a rate", "the USD for one unit, such as 1.0843", 10**9),
            "What one unit of it is worth in USD.",
            required=True,
        ),
    ] = Decimal(1)


class Currencies(Struct, frozen=True):
    rates: Annotated[
        tuple[DayRate, ...],
        Setting(
            Records(DayRate),
            "Rates of exchange. They count beside those of the file, and before them.",
        ),
    ] = ()
    rates_file: Annotated[
        Path | None,
        Setting(
            ReadFile(optional=True),
            "A CSV or YAML file with date, currency and rate; it is read at the start and at "
            "each reload.",
        ),
    ] = None
    max_age_days: Annotated[
        int,
        Setting(
            Whole(0, 3_660),
            "How many days a rate holds after its own: banks close for weekends and holidays. "
            "0: only that day.",
            unit="days",
        ),
    ] = 7

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Settings that do not go together: (key, what to write instead)."""
        seen: set[tuple[str, str]] = set()
        for number, rate in enumerate(self.rates):
            if rate.currency == USD:
                yield f"rates[{number}].currency", "'USD' needs no rate; remove the entry"
            elif (rate.date, rate.currency) in seen:
                text = f"{rate.currency} has a rate for {rate.date} already; keep one of them"
                yield f"rates[{number}]", text
            seen.add((rate.date, rate.currency))

    def unknown(self, currency: str) -> str:
        """What to write about a currency that surely has no rate; "" for all others."""
        if currency == USD or self.rates_file is not None:
            return ""
        if any(rate.currency == currency for rate in self.rates):
            return ""
        return (
            f"there is no rate for {currency}; add one to currencies.rates, or name a file with "
            "rates in currencies.rates_file"
        )
