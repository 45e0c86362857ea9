"""Estimates against naive recomputation: exact, and never 0 where no price is known."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmeter.analysis.estimate import (
    T_QUANTILES,
    Conversation,
    estimate_call,
    estimate_conversation,
    priced_part,
    project_days,
    project_requests,
    rank_models,
    usage_labels,
)
from costmeter.pricing import PriceBook, load_price_book

AT = 1_763_805_600_000
PRICES = """
prices:
  - provider: test
    model: plain
    source: test
    usd_per_million: {input: 3, cache_read: 0.3, cache_write_5m: 3.75, output: 15}
  - provider: test
    model: stepped
    source: test
    usd_per_million: {input: 1, output: 2}
    tiers:
      - {above_input_tokens: 1000, usd_per_million: {input: 2}}
  - {provider: test, model: small, source: test, usd_per_million: {input: 1, output: 1}}
  - {provider: test, model: odd, source: test, usd_per_million: {input: 0.0000015, output: 1}}
  - {provider: test, model: deaf, source: test, usd_per_million: {output: 1}}
models:
  - {provider: test, model: small, context_window: 1000}
  - {provider: test, model: plain, context_window: 200000}
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> PriceBook:
    path = tmp_path_factory.mktemp("prices") / "prices.yml"
    path.write_text(PRICES)
    return load_price_book([path])


def test_a_call_by_class_and_what_the_cache_saves(book: PriceBook) -> None:
    used = {"input": 500, "cache_read": 9_000, "output": 300}
    found = estimate_call(book, usage_labels("test", "plain"), AT, used)
    assert found.costs == {"input": 1_500_000, "cache_read": 2_700_000, "output": 4_500_000}
    assert found.total == 8_700_000
    # 9,000 tokens at 3.00 instead of 0.30 a million.
    assert found.cache_saving == 9_000 * 2_700


def test_a_call_that_only_fills_the_cache_saves_less_than_nothing(book: PriceBook) -> None:
    found = estimate_call(book, usage_labels("test", "plain"), AT, {"cache_write_5m": 1_000})
    assert found.cache_saving == -1_000 * 750


def test_no_price_is_no_zero(book: PriceBook) -> None:
    unknown = estimate_call(book, usage_labels("test", "nobody"), AT, {"input": 5})
    assert (unknown.rate, unknown.total, unknown.cache_saving) == (None, None, None)
    half = estimate_call(book, usage_labels("test", "deaf"), AT, {"input": 5, "output": 5})
    assert (half.missing, half.total, half.costs) == (("input",), None, {})


@given(
    turns=st.integers(1, 30),
    tokens_in=st.integers(0, 500),
    tokens_out=st.integers(0, 500),
    growth=st.fractions(0, 1, max_denominator=20),
    cached=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_a_conversation_is_what_a_naive_count_gives(
    book: PriceBook, turns: int, tokens_in: int, tokens_out: int, growth: Fraction, cached: bool
) -> None:
    talk = Conversation(turns, tokens_in, tokens_out, growth, cached)
    said, sent_before = 0, 0
    for turn in estimate_conversation(book, usage_labels("test", "plain"), AT, talk):
        context = round(Fraction(said) * growth)  # Python rounds half to even, too
        read = min(context, sent_before) if cached else 0
        naive = {"input": tokens_in + context - read, "cache_read": read, "output": tokens_out}
        assert turn.quantities == {name: count for name, count in naive.items() if count}
        assert turn.nano == naive["input"] * 3_000 + read * 300 + tokens_out * 15_000
        said += tokens_in + tokens_out
        sent_before = tokens_in + context


def test_the_defaults_of_a_conversation(book: PriceBook) -> None:
    turns = estimate_conversation(book, usage_labels("test", "plain"), AT, Conversation(3))
    assert [turn.quantities["input"] for turn in turns] == [50, 50 + 75, 50 + 150]


def test_a_long_conversation_reaches_the_dearer_tier(book: PriceBook) -> None:
    talk = Conversation(6, 200, 100, Fraction(1))
    turns = estimate_conversation(book, usage_labels("test", "stepped"), AT, talk)
    sent = [200 + 300 * number for number in range(6)]
    expected = [tokens * (2_000 if tokens > 1_000 else 1_000) + 100 * 2_000 for tokens in sent]
    assert [turn.nano for turn in turns] == expected


def test_models_are_ranked_and_what_cannot_do_it_says_why(book: PriceBook) -> None:
    names = ["plain", "stepped", "small", "deaf", "nobody"]
    ranked = rank_models(
        book, [("test", name) for name in names], AT, {"input": 900, "output": 200}, 10
    )
    assert [(one.model, one.daily, one.why) for one in ranked if not one.why] == [
        ("stepped", 10 * (900 * 1_000 + 200 * 2_000), ""),
        ("plain", 10 * (900 * 3_000 + 200 * 15_000), ""),
    ]
    why = {one.model: (one.daily, one.why) for one in ranked if one.why}
    assert why["small"] == (10 * 1_100 * 1_000, "context window 1000 < 1100")
    assert why["deaf"] == (None, "no price for input")
    assert why["nobody"] == (None, "no standard price")


def test_an_unknown_window_is_trusted_unless_a_window_is_asked_for(book: PriceBook) -> None:
    models, used = [("test", "stepped")], {"input": 10}
    (trusted,) = rank_models(book, models, AT, used, 1)
    (asked,) = rank_models(book, models, AT, used, 1, context=5_000)
    assert (trusted.why, asked.why) == ("", "context window not known")


def _t_beyond(t: float, df: int) -> float:
    """The two tails of Student's t beyond t, by Simpson's rule on the density."""
    scale = math.gamma((df + 1) / 2) / (math.sqrt(df * math.pi) * math.gamma(df / 2))
    steps = 4_000
    width = t / steps
    total = sum(
        (1 if n in (0, steps) else 4 if n % 2 else 2)
        * (1 + (n * width) ** 2 / df) ** (-(df + 1) / 2)
        for n in range(steps + 1)
    )
    return 1 - 2 * scale * total * width / 3


@pytest.mark.parametrize("confidence", sorted(T_QUANTILES))
def test_the_quantiles_are_those_of_the_density(confidence: int) -> None:
    for df, text in enumerate(T_QUANTILES[confidence], 1):
        assert _t_beyond(float(text), df) == pytest.approx(1 - confidence / 100, abs=2e-6)


def test_a_projection_by_hand() -> None:
    # m = 200, s = 100, n = 3; 30 days: 6,000 +- 4.302653 * 100 * sqrt(30 + 900 / 3).
    found = project_days([100, 200, 300], 30)
    half = 4.302653 * 100 * math.sqrt(330)
    assert (found.daily_mean, found.total) == (200, 6_000)
    assert found.high is not None
    assert found.low is not None
    assert found.high - 6_000 == 6_000 - found.low == round(half)


def test_days_that_never_vary_leave_no_doubt() -> None:
    big = 9_000_000_000_000_000
    found = project_days([big] * 7, 31, 99)
    assert (found.low, found.total, found.high) == (31 * big, 31 * big, 31 * big)


@pytest.mark.parametrize(("sample", "confidence"), [([5], 95), ([1] * 8, 95), ([1, 2], 96)])
def test_what_gives_no_interval_is_refused(sample: list[int], confidence: int) -> None:
    with pytest.raises(ValueError, match=r"7 do|tabulated"):
        project_days(sample, 30, confidence)


def test_the_interval_covers_as_often_as_it_says() -> None:
    import random

    chance = random.Random(7)
    inside = 0
    for _ in range(2_000):
        sample = [round(chance.gauss(1_000_000, 200_000)) for _ in range(7)]
        future = sum(round(chance.gauss(1_000_000, 200_000)) for _ in range(30))
        found = project_days(sample, 30, 90)
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= future <= found.high
    # 90 % of 2,000 with a deviation of 13.4: five of them on either side.
    assert 1_733 <= inside <= 1_867


def test_a_steady_load_has_no_interval() -> None:
    found = project_requests(8_700_000, 5_000, 30)
    assert (found.total, found.low, found.high) == (8_700_000 * 150_000, None, None)


def test_a_part_of_a_plan_is_rounded_once() -> None:
    part = priced_part("storage", Decimal("1000.5"), "GB-month", 23_000_001, "me")
    assert part.nano == 23_011_501_000  # ...,500.5 half to even
    assert priced_part("egress", Decimal(500), "GB", None, "").nano is None
