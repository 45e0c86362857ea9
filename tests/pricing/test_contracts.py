"""Contracts over list prices: which one holds, what it changes, and what is left at list."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmeter.model import Labels, Usage
from costmeter.pricing import Contract, PriceBook, load_price_book
from costmeter.pricing.catalogue import day_ms

PRICES = """
prices:
  - {provider: test, model: m, source: list, usd_per_million: {input: 3, cache_read: 0.3, output: 15}}
  - {provider: test, model: m, processing: batch, source: list, usd_per_million: {input: 1.5, output: 7.5}}
  - provider: test
    model: tiered
    source: list
    usd_per_million: {input: 2, output: 10}
    tiers:
      - {above_input_tokens: 200000, usd_per_million: {input: 4, output: 15}}
  - {provider: test, model: fee, source: list, usd_per_million: {input: 1}, usd_per_unit: {requests: 0.005}}
"""  # noqa: E501
NOW = day_ms("2026-07-10")
OFF = Fraction(9, 10)


def labels(model: str = "m", **changes: str) -> Labels:
    nothing = dict.fromkeys(Labels._fields, "")
    whole = {**nothing, "provider": "test", "model": model, "category": "llm_api", **changes}
    return Labels(**whole)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prices")
    (path / "prices.yml").write_text(PRICES)
    return path


def book(folder: Path, *contracts: Contract) -> PriceBook:
    return load_price_book([folder / "prices.yml"], contracts=contracts)


def price(found: PriceBook, quantities: dict[str, int], model: str = "m", *, at_ms: int = NOW,
          processing: str = "standard", **changes: str) -> tuple[int, int, str] | None:  # fmt: skip
    """(contracted nano, list nano, identity); None for unpriced."""
    usage = Usage("f:x:1", at_ms, "x", labels(model, **changes), quantities, processing=processing)
    (priced,) = found.price_batch([usage])
    if priced is None:
        return None
    rate, nano = priced
    at_list = nano if rate.listed is None else rate.listed.cost(quantities)
    assert at_list is not None
    return nano, at_list, rate.rate_id


def test_a_discount_is_off_every_class_and_list_stays_known(folder: Path) -> None:
    found = book(folder, Contract("ten", "test", discount=OFF))
    calls = {"input": 1_000_000, "cache_read": 1_000_000, "output": 1_000_000}
    nano, at_list, rate_id = price(found, calls) or (0, 0, "")
    assert (nano, at_list) == (16_470_000_000, 18_300_000_000)
    assert rate_id.startswith("contract:ten+override:test/m/start/standard/0#")
    assert price(found, {"input": 1_000_000}, processing="batch")[:2] == (  # type: ignore[index]
        1_350_000_000, 1_500_000_000,
    )  # fmt: skip


def test_negotiated_prices_leave_what_they_do_not_name(folder: Path) -> None:
    figures = {"input": 2_000_000_000}
    found = book(folder, Contract("deal", "test", "m", figures=figures, discount=OFF))
    assert price(found, {"input": 1_000_000, "output": 1_000_000})[:2] == (  # type: ignore[index]
        15_500_000_000, 18_000_000_000,
    )  # fmt: skip
    # Negotiated for standard calls; the discount is for batch too.
    assert price(found, {"input": 1_000_000}, processing="batch")[0] == 1_350_000_000  # type: ignore[index]
    narrow = book(folder, Contract("deal", "test", "m", figures=figures))
    assert price(narrow, {"input": 1_000_000}, processing="batch")[0] == 1_500_000_000  # type: ignore[index]
    everything = book(folder, Contract("deal", "test", "m", processing="*", figures=figures))
    assert price(everything, {"input": 1_000_000}, processing="batch")[0] == 2_000_000_000  # type: ignore[index]


def test_the_first_contract_in_force_wins(folder: Path) -> None:
    july, august = day_ms("2026-07-01"), day_ms("2026-08-01")
    found = book(
        folder,
        Contract("july", "test", "m*", from_ms=july, until_ms=august, discount=Fraction(1, 2)),
        Contract("ours", "te*", account="org-1", discount=Fraction(3, 4)),
        Contract("rest", "test", region="eu-*", discount=OFF),
    )
    million = {"input": 1_000_000}
    for at_ms, changes, nano in (
        (july - 1, {}, 3_000_000_000),
        (july, {}, 1_500_000_000),
        (july, {"account": "org-1"}, 1_500_000_000),
        (august - 1, {}, 1_500_000_000),
        (august, {}, 3_000_000_000),
        (august, {"account": "org-1"}, 2_250_000_000),
        (august, {"region": "EU-west"}, 2_700_000_000),
        (august, {"region": "us-1"}, 3_000_000_000),
    ):
        # The second question is answered from memory.
        for _ in range(2):
            priced = price(found, million, at_ms=at_ms, **changes)
            assert priced is not None
            assert priced[:2] == (nano, 3_000_000_000), (at_ms, changes)


def test_what_has_no_list_price(folder: Path) -> None:
    found = book(
        folder,
        Contract("own", "test", "unlisted", figures={"input": 500_000_000}),
        Contract("ten", "test", discount=OFF),
    )
    assert price(found, {"input": 1_000_000}, "unlisted")[:2] == (500_000_000, 500_000_000)  # type: ignore[index]
    assert price(found, {"input": 1, "output": 1}, "unlisted") is None
    assert price(found, {"input": 1}, "unknown") is None
    # A class that only the contract prices stands in the list at that price.
    more = book(folder, Contract("web", "test", figures={"web_searches": 10**13}))
    assert price(more, {"input": 1_000_000, "web_searches": 1})[:2] == (  # type: ignore[index]
        3_010_000_000, 3_010_000_000,
    )  # fmt: skip


def test_a_card_has_a_contract_by_its_own_name_and_no_token_price() -> None:
    gpu = labels(
        "NVIDIA H100 80GB HBM3", provider="aws", category="gpu_compute", region="us-east-1",
        operation="on_demand",
    )  # fmt: skip
    hour = {"gpu_ms": 3_600_000}
    for contract, nano in (
        (Contract("gpus", "aws", "H100", figures={"gpu_ms": 5_500_000_000_000_000}), 5_500_000_000),
        (Contract("all", "aws", discount=Fraction(1, 2)), 3_440_000_000),
        (Contract("tokens", "aws", figures={"input": 1}), 6_880_000_000),
    ):
        found = load_price_book(contracts=[contract]).rate(gpu, NOW, "standard", hour)
        assert found is not None
        assert found.cost(hour) == nano
        assert ((found.listed or found).cost(hour)) == 6_880_000_000


def test_a_book_with_another_contract_is_another_book(folder: Path) -> None:
    plain = book(folder)
    one = book(folder, Contract("a", "test", discount=OFF))
    other = book(folder, Contract("a", "test", discount=OFF, until_ms=NOW))
    told = book(folder, Contract("a", "test", discount=OFF, reference="order 7"))
    assert len({plain.revision, one.revision, other.revision}) == 3
    assert told.revision == one.revision


# --- Records that sum up many calls -----------------------------------------------------


@pytest.mark.parametrize(
    ("quantities", "nano"),
    [
        ({"input": 200_000}, 400_000_000),
        ({"input": 200_001}, 800_004_000),
        # Ten thousand calls of a thousand tokens are no large call.
        ({"input": 10_000_000, "output": 1_000, "requests": 10_000}, 20_010_000_000),
        ({"input": 400_000, "requests": 2}, 800_000_000),
        ({"input": 400_002, "requests": 2}, 1_600_008_000),
        # Nobody knows how many calls: none of them is taken for a large one.
        ({"input": 10_000_000, "requests": 0}, 20_000_000_000),
    ],
)
def test_the_tier_of_many_calls_is_that_of_one_on_average(
    folder: Path, quantities: dict[str, int], nano: int
) -> None:
    assert price(book(folder), quantities, "tiered")[0] == nano  # type: ignore[index]


def test_a_fee_is_paid_for_each_call_of_a_record(folder: Path) -> None:
    found = book(folder, Contract("half", "test", discount=Fraction(1, 2)))
    assert price(found, {"input": 1_000_000, "requests": 40}, "fee")[:2] == (  # type: ignore[index]
        600_000_000, 1_200_000_000,
    )  # fmt: skip
    assert price(found, {"input": 1_000_000}, "fee")[0] == 502_500_000  # type: ignore[index]
    assert price(found, {"input": 1_000_000, "requests": 0}, "fee")[0] == 500_000_000  # type: ignore[index]


# --- Against an independent recomputation -----------------------------------------------

LIST = {"input": Decimal(3), "cache_read": Decimal("0.3"), "output": Decimal(15)}
cents = st.integers(1, 50_000).map(lambda n: Decimal(n) / 1000)


@settings(max_examples=60, deadline=None)
@given(
    percent=st.none() | st.integers(0, 9_999).map(lambda n: Decimal(n) / 100),
    negotiated=st.dictionaries(st.sampled_from(sorted(LIST)), cents, max_size=3),
    calls=st.lists(
        st.dictionaries(st.sampled_from(sorted(LIST)), st.integers(1, 10**7), min_size=1),
        min_size=1,
        max_size=8,
    ),
)
def test_contracted_and_list_totals_are_what_decimals_give(
    folder: Path,
    percent: Decimal | None,
    negotiated: dict[str, Decimal],
    calls: list[dict[str, int]],
) -> None:
    contract = Contract(
        "any",
        "test",
        "m",
        figures={name: int(usd * 10**9) for name, usd in negotiated.items()},
        discount=None if percent is None else 1 - Fraction(percent) / 100,
    )
    rows = [Usage(f"f:x:{n}", NOW, "x", labels(), one) for n, one in enumerate(calls)]
    priced = book(folder, contract).price_batch(rows)
    with localcontext(prec=60):
        for one, found in zip(calls, priced, strict=True):
            assert found is not None
            rate, nano = found
            wanted = at_list = 0
            for name, count in one.items():
                usd = LIST[name]
                at_list += _nano(_per_million(usd), count)
                if percent is not None:
                    usd = usd * (100 - percent) / 100
                usd = negotiated.get(name, usd)
                wanted += _nano(_per_million(usd), count)
            assert nano == wanted
            assert (nano if rate.listed is None else rate.listed.cost(one)) == at_list


def _per_million(usd: Decimal) -> Decimal:
    """Whole nano-USD a million, as a price is kept."""
    return (usd * 10**9).quantize(Decimal(1), ROUND_HALF_EVEN)


def _nano(per_million: Decimal, count: int) -> int:
    return int((per_million * count / 10**6).quantize(Decimal(1), ROUND_HALF_EVEN))
