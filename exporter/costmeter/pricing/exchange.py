"""Rates of exchange: what an amount of another currency is in USD on a day.

A rate is what one unit of a currency is worth in USD. A day has the newest rate at or
before it that is not too old; without one an amount stays in its own currency.
"""

from __future__ import annotations

import csv
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import yaml

from costmeter.model import MS_PER_DAY, NANO_PER_USD, BillLine, half_even
from costmeter.pricing.errors import PriceFileError
from costmeter.pricing.nodes import document

USD = "USD"
#: How old a rate may be: banks close for weekends and holidays.
MAX_AGE_DAYS = 7
_COLUMNS = ("date", "currency", "rate")
_CURRENCY = re.compile(r"[A-Z]{3}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_RATE = re.compile(r"[0-9]{1,12}(\.[0-9]{1,18})?")
_AMOUNT = re.compile(r"[+-]?([0-9]{1,30}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,2})?")
#: No amount of a bill is larger, so that it stays within 64 bits.
_MOST_NANO = 1 << 60


class DayRate(NamedTuple):
    """What one unit of `currency` is worth in USD; `day` counts from 1970."""

    day: int
    currency: str
    rate: Decimal


class Converted(NamedTuple):
    """An amount in USD with the rate that made it, and the day of that rate."""

    nano: int
    rate: str
    day: int


class Exchange:
    """Rates by currency and day. Never changes."""

    def __init__(self, rates: Iterable[DayRate] = (), max_age_days: int = MAX_AGE_DAYS) -> None:
        """Of two rates for one day and currency the later in `rates` counts."""
        by_currency: dict[str, dict[int, Decimal]] = {}
        for day, currency, rate in rates:
            by_currency.setdefault(currency, {})[day] = rate
        self._rates: Mapping[str, tuple[Sequence[int], Sequence[Decimal]]] = MappingProxyType(
            {
                currency: (sorted(found), [found[day] for day in sorted(found)])
                for currency, found in by_currency.items()
            }
        )
        self._max_age_days = max_age_days

    @property
    def currencies(self) -> tuple[str, ...]:
        """Those with a rate of any day, and USD."""
        return (USD, *sorted(self._rates.keys() - {USD}))

    def rate(self, currency: str, day: int) -> tuple[Decimal, int] | None:
        """USD for one unit on a day, and the day of that rate; None where none is known."""
        if currency == USD:
            return Decimal(1), day
        days, rates = self._rates.get(currency, ((), ()))
        place = bisect_right(days, day) - 1
        if place < 0 or day - days[place] > self._max_age_days:
            return None
        return rates[place], days[place]

    def usd(self, amount: str, currency: str, day: int) -> Converted | None:
        """An amount of decimal text in nano-USD, rounded half to even once.

        None without a rate, and for a text that is no amount.
        """
        found = self.rate(currency, day)
        if found is None or not _AMOUNT.fullmatch(amount):
            return None
        rate, of_day = found
        exact = Fraction(amount) * Fraction(rate) * NANO_PER_USD
        nano = half_even(exact.numerator, exact.denominator)
        return Converted(nano, f"{rate:f}", of_day) if abs(nano) <= _MOST_NANO else None

    def nano(self, nano: int, currency: str, day: int) -> int | None:
        """Billionths of a unit of a currency in nano-USD; None without a rate."""
        found = self.rate(currency, day)
        if found is None:
            return None
        exact = Fraction(found[0]) * nano
        return half_even(exact.numerator, exact.denominator)


def converted(line: BillLine, exchange: Exchange) -> BillLine:
    """A line of a bill with its amount in USD; the same line where that is known or cannot be."""
    if line.usd_nano is not None:
        return line
    found = exchange.usd(line.amount, line.currency, line.day)
    if found is None:
        # Nothing of any currency is nothing in USD.
        return line if line.amount.strip("+-0.") else replace(line, usd_nano=0)
    return replace(line, usd_nano=found.nano, fx_rate=found.rate, fx_day=found.day)


def read_rates(path: Path) -> list[DayRate]:
    """The rates of a CSV or YAML file with date, currency and rate.

    YAML is a list, or a mapping with the list under `rates`. PriceFileError with file,
    line and what to write instead.
    """
    file = str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise PriceFileError(
            file, 1, "file", f"cannot be read ({reason}); name a readable CSV or YAML file"
        ) from None
    rows = _yaml(file, text) if path.suffix.lower() in (".yml", ".yaml") else _csv(file, text)
    return [_rate(file, line, row) for line, row in rows]


def day_number(text: str) -> int:
    """Days since 1970 of 2026-01-31; raises ValueError."""
    if not _DAY.fullmatch(text):
        raise ValueError
    since = datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since.days


def day_of(at_ms: int) -> int:
    """The UTC day of an instant, from 1970."""
    return at_ms // MS_PER_DAY


def _csv(file: str, text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    reader = csv.reader(StringIO(text))
    head: list[str] = []
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if not head:
            head = [cell.lower() for cell in cells]
            missing = [name for name in _COLUMNS if name not in head]
            if missing:
                raise PriceFileError(
                    file, reader.line_num, "header",
                    f"has no column {missing[0]}; begin with the line {','.join(_COLUMNS)}",
                )  # fmt: skip
            continue
        if len(cells) != len(head):
            raise PriceFileError(
                file, reader.line_num, "row", f"has {len(cells)} values; write {len(head)}"
            )
        yield reader.line_num, dict(zip(head, cells, strict=True))


def _yaml(file: str, text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    root = document(file, text)
    if root is None:
        return
    listed = root
    if isinstance(root.node, yaml.MappingNode):
        fields = root.fields(("rates",))
        if "rates" not in fields:
            root.refuse("has no rates; write them as a list below rates:")
        listed = fields["rates"]
    for entry in listed.items():
        found = entry.fields(_COLUMNS)
        missing = [name for name in _COLUMNS if name not in found]
        if missing:
            entry.refuse(f"has no {missing[0]}; write date, currency and rate")
        yield entry.line, {name: value.text() for name, value in found.items()}


def _rate(file: str, line: int, row: Mapping[str, str]) -> DayRate:
    def refuse(key: str, problem: str) -> PriceFileError:
        shown = row[key] if len(row[key]) <= 60 else row[key][:57] + "..."
        return PriceFileError(file, line, key, f"{shown!r} {problem}")

    try:
        day = day_number(row["date"])
    except ValueError:
        raise refuse("date", "is not a date; write it as 2026-01-31") from None
    if not _CURRENCY.fullmatch(row["currency"]):
        raise refuse("currency", "is not a currency; write its three capital letters, such as EUR")
    if row["currency"] == USD:
        raise refuse("currency", "needs no rate; remove the line")
    if not _RATE.fullmatch(row["rate"]) or not Decimal(row["rate"]):
        raise refuse("rate", "is not a rate; write the USD for one unit, such as 1.0843")
    return DayRate(day, row["currency"], Decimal(row["rate"]))
