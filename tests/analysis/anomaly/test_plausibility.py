"""One absurd amount is caught at once; dear but possible ones are not."""

from __future__ import annotations

import pytest

from costmeter.analysis.plausibility import Limits, check, usual_price
from costmeter.model import NANO_PER_USD, Labels, Usage
from costmeter.pricing.rates import Rate

USD = NANO_PER_USD


def usage(resource: str = "", **quantities: int) -> Usage:
    nothing = dict.fromkeys(Labels._fields, "")
    named = {"tenant_id": "acme", "provider": "openai", "model": "gpt-5"}
    labels = Labels(**{**nothing, **named})
    return Usage("f:sdk:1", 5, "sdk", labels, quantities, resource=resource)


def rate(usd_per_million: int, listed: int | None = None) -> Rate:
    at_list = None if listed is None else rate(listed)
    nano = usd_per_million * USD
    return Rate("line/start/standard/0#1", "test", {"input": nano, "output": nano}, {}, at_list)


def test_thousands_of_usd_for_ten_thousand_tokens_are_caught_without_any_price() -> None:
    found = check(usage(input=9_000, output=1_000), 3_000 * USD, None)
    assert found is not None
    assert (found.bound, found.nano, found.provider) == ("ceiling", 3_000 * USD, "openai")
    assert found.limit_nano < 25 * USD
    assert found.text.startswith("openai/gpt-5: 3,000.00 USD for one record (")
    assert "prices.files" in found.advice


def test_a_price_a_thousand_times_too_high_is_caught_by_its_own_rate() -> None:
    record, wrong = usage(input=10_000, output=1_000), rate(5_000)
    nano = wrong.cost(record.quantities)
    assert nano is not None
    found = check(record, nano, wrong)
    assert found is not None
    assert found.rate_id == wrong.rate_id


@pytest.mark.parametrize(("times", "bound"), [(19, None), (21, "list-price")])
def test_an_amount_is_compared_with_the_list_price(times: int, bound: str | None) -> None:
    record = usage(input=100_000)
    found = check(record, times * USD, rate(3, listed=10))
    assert (None if found is None else found.bound) == bound


@pytest.mark.parametrize(("times", "bound"), [(19, None), (21, "history")])
def test_an_amount_is_compared_with_what_the_model_used_to_cost(
    times: int, bound: str | None
) -> None:
    found = check(usage(output=100_000), times * USD, None, usual_nano_per_million=10 * USD)
    assert (None if found is None else found.bound) == bound


def test_a_call_has_a_ceiling_of_its_own_and_many_calls_have_many() -> None:
    found = check(usage(input=10**6), 600 * USD, None)
    assert found is not None
    assert found.bound == "call"
    assert check(usage(input=10**6, requests=2), 600 * USD, None) is None
    assert check(usage(input=10**6), 600 * USD, None, limits=Limits(call_usd=1000)) is None


def test_a_credit_is_judged_by_its_size() -> None:
    found = check(usage(input=10_000), -3_000 * USD, None)
    assert found is not None
    assert found.nano == -3_000 * USD


def test_what_is_dear_but_possible_passes() -> None:
    assert check(usage(input=200_000, output=30_000), 48 * USD, None) is None
    assert check(usage(input=10, web_searches=1), USD // 100, None) is None
    assert check(usage(input=1), USD // 100, rate(0), 1) is None
    assert check(usage("gpu-1", gpu_ms=3_600_000), 98 * USD, None) is None
    assert check(usage(of_a_new_class=5), 9_000 * USD, None) is None


def test_an_hour_of_one_gpu_has_a_ceiling() -> None:
    found = check(usage("gpu-1", gpu_ms=3_600_000), 9_800 * USD, None)
    assert found is not None
    assert found.bound == "ceiling"


def test_the_usual_price_is_a_median_of_enough_records() -> None:
    assert usual_price([(1000, 10)] * 19) is None
    assert usual_price([(1000, 10)] * 30 + [(1000, 10**9)] * 5 + [(0, 5), (5, -1)]) == 10_000
