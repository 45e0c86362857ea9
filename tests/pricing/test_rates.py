"""Integer arithmetic of a rate against Decimal, and the identity of its figures."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from hypothesis import given
from hypothesis import strategies as st

from costmeter.model import PIECES_PER_PRICED_UNIT, QUANTITIES, TOKEN_CLASSES
from costmeter.pricing.rates import (
    CHAINS,
    FOLLOWING,
    PRICE_KEYS,
    Rate,
    build_tariff,
    fingerprint,
    resolve_chains,
)

CLASSES = sorted(QUANTITIES - {"requests"})
PRICES = st.dictionaries(st.sampled_from(CLASSES), st.integers(0, 10**13), min_size=1)
COUNTS = st.dictionaries(st.sampled_from(CLASSES), st.integers(0, 10**10))


@given(PRICES, COUNTS, st.integers(0, 10**13) | st.none())
def test_costs_equal_decimal_arithmetic(
    prices: dict[str, int], counts: dict[str, int], fee: int | None
) -> None:
    if fee is not None:
        prices = {**prices, "requests": fee}
    rate = Rate("r", "s", prices)
    used = {name: count for name, count in counts.items() if count}
    if "gpu_ms" in prices:
        # A GPU's hour has one price, whatever it is spent on, and its energy is in it.
        if "gpu_energy_mj" not in prices:
            used.pop("gpu_energy_mj", None)
        prices = dict.fromkeys(FOLLOWING, prices["gpu_ms"]) | prices
    if used.keys() - prices.keys():
        assert rate.costs(counts) is None
        return
    want = {}
    for name, count in {**used, **({} if fee is None else {"requests": 1})}.items():
        pieces = 1_000_000 * PIECES_PER_PRICED_UNIT.get(name, 1)
        exact = Decimal(count) * prices[name] / pieces
        want[name] = int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))
    assert rate.costs(counts) == want
    assert rate.cost(counts) == sum(want.values())


def test_halves_go_to_the_even_neighbour() -> None:
    rate = Rate("r", "s", {"input": 500_000})
    assert [rate.cost({"input": n}) for n in (1, 2, 3, 5)] == [0, 1, 2, 2]


@given(PRICES, PRICES)
def test_a_fingerprint_is_of_the_figures_alone(one: dict[str, int], two: dict[str, int]) -> None:
    turned = dict(reversed(one.items()))
    assert fingerprint(one, {}) == fingerprint(turned, {})
    assert (fingerprint(one, {}) == fingerprint(two, {})) == (one == two)


def test_every_class_of_a_call_has_a_chain_or_is_an_origin() -> None:
    origins = {"input", "output"}
    assert set(TOKEN_CLASSES) - CHAINS.keys() == origins
    assert {key for chain in CHAINS.values() for key in chain} <= PRICE_KEYS
    prices = resolve_chains({"input": 3, "output": 5})
    assert prices.keys() == set(TOKEN_CLASSES)
    assert {prices[name] for name in TOKEN_CLASSES if "output" in name} == {5}
    assert prices["reasoning"] == 5
    assert prices["cache_read"] == 3


def test_a_chain_takes_the_nearest_price() -> None:
    prices = resolve_chains({"input": 8, "cache_write": 10, "cache_read": 1, "input_audio": 32})
    assert prices["cache_write_5m"] == prices["cache_write_1h"] == 10
    assert prices["cache_read_audio"] == 1
    assert prices["input_audio"] == 32
    assert "output" not in prices
    assert "cache_write" not in prices


def test_tiers_of_different_figures_are_joined() -> None:
    tariff = build_tariff(
        "x", "s", {"input": (1, ((100, 2),)), "output": (10, ((100, 20), (300, 30)))}, {}
    )
    got = [
        (tariff.rate({"input": n}).prices["input"], tariff.rate({"input": n}).prices["output"])
        for n in (0, 100, 101, 300, 301)
    ]
    assert got == [(1, 10), (1, 10), (2, 20), (2, 20), (2, 30)]
    ids = [rate.rate_id.partition("#")[0] for rate in tariff.rates]
    assert ids == ["x/0", "x/1", "x/2"]
