"""Prices one body and says by which exceptions its price differs from the expected one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from costmeter.model import MS_PER_DAY, NANO_PER_USD, Labels
from costmeter.normalise import normalise_response
from costmeter.pricing import PriceBook
from normalise.conformance import Case
from normalise.exceptions import EXCEPTIONS, Blind, without
from realdata.august import Priced, PriceList
from realdata.price_exceptions import FIGURES, Figures


@dataclass
class Outcome:
    """What came of many bodies. `unexplained` must stay empty."""

    compared: int = 0
    equal: int = 0
    reading: dict[str, int] = field(default_factory=dict)
    figures: dict[Figures, int] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)


def ms_of(day: str) -> int:
    """Noon UTC."""
    return int(datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC).timestamp()) * 1_000


def nano_of(case: Case) -> Decimal:
    """The expected price, exact."""
    return (Decimal(case.input_price or 0) + Decimal(case.output_price or 0)) * NANO_PER_USD


def our_price(book: PriceBook, case: Case, quantities: Mapping[str, int], at_ms: int) -> int | None:
    labels = Labels._make([""] * len(Labels._fields))._replace(
        tenant_id="default", category="llm_api", provider=case.provider, model=case.model
    )
    rate = book.rate(labels, at_ms, "standard", quantities)
    return None if rate is None else rate.cost(quantities)


def same(ours: int | None, expected: Decimal, quantities: Mapping[str, int]) -> bool:
    """Equal where the expected price is whole; else each class may be rounded by a half."""
    if ours is None:
        return False
    room = Decimal(0) if expected == expected.to_integral_value() else Decimal(len(quantities)) / 2
    return abs(ours - expected) <= room


def compare(cases: Iterable[Case], book: PriceBook, august: PriceList | None, day: str) -> Outcome:
    """Every case that has an expected price, at noon of `day`."""
    outcome, at_ms = Outcome(), ms_of(day)
    for case in cases:
        if case.input_price is None:
            continue
        outcome.compared += 1
        expected = nano_of(case)
        read = normalise_response(case.provider, case.body).quantities
        ours = our_price(book, case, read, at_ms)
        if same(ours, expected, read):
            outcome.equal += 1
            continue
        rows = [row for row in EXCEPTIONS if _changes_price(row, case, book, at_ms)]
        figures = None
        hidden = tuple(name for row in rows for name in row.fields)
        stripped = normalise_response(case.provider, without(case.body, hidden)).quantities
        theirs = our_price(book, case, case.quantities, at_ms)
        explained = our_price(book, case, stripped, at_ms) == theirs
        if not same(theirs, expected, case.quantities):
            figures = next((row for row in FIGURES if _is(row, case)), None)
            explained &= figures is not None and proved(figures, case, book, august, at_ms)
        if not explained:
            outcome.unexplained.append(f"{case.case_id} {case.model}: {ours} for {expected}")
            continue
        for row in rows:
            outcome.reading[row.name] = outcome.reading.get(row.name, 0) + 1
        if figures is not None:
            outcome.figures[figures] = outcome.figures.get(figures, 0) + 1
    return outcome


def proved(row: Figures, case: Case, book: PriceBook, august: PriceList | None, at_ms: int) -> bool:
    """Whether the row's kind of difference is what happened to this case."""
    expected, quantities = nano_of(case), case.quantities
    ours = our_price(book, case, quantities, at_ms)
    listed = Priced(expected, frozenset())
    if row.listed:
        found = None if august is None else august.price(case.provider, case.model, quantities)
        if found is None or found.nano != expected:
            return False
        listed = found
    if row.kind == "dated":
        before = our_price(book, case, quantities, ms_of(row.since) - MS_PER_DAY)
        return same(before, expected, quantities)
    if row.kind == "corrected":
        years = range(2024, 2027)
        ever = {our_price(book, case, quantities, ms_of(f"{year}-01-15")) for year in years}
        return ours is not None and expected not in ever
    if row.kind == "added":
        bare = {name: n for name, n in quantities.items() if name not in row.classes}
        return listed.without == row.classes and our_price(book, case, bare, at_ms) == expected
    return row.kind == "nameless" and ours is None and listed.without == set(quantities)


def _is(row: Figures, case: Case) -> bool:
    return case.provider in row.sellers and case.model in row.models


def _changes_price(row: Blind, case: Case, book: PriceBook, at_ms: int) -> bool:
    """Whether the extractor is blind to a field that our price of this body goes by."""
    if case.extractor not in row.extractors:
        return False
    whole = normalise_response(case.provider, case.body).quantities
    blind = normalise_response(case.provider, without(case.body, row.fields)).quantities
    return our_price(book, case, blind, at_ms) != our_price(book, case, whole, at_ms)
