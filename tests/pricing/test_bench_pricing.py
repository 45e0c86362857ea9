"""The benchmark's batches, once each: their 1,000 totals equal those of genai-prices."""

from __future__ import annotations

import pytest

from benchmarks import bench_pricing
from costmeter.pricing import load_price_book


@pytest.mark.parametrize("cached", [False, True])
def test_generated_calls_cost_the_same(cached: bool) -> None:
    batch = bench_pricing.calls(bench_pricing.generated_tokens(), cached)
    figures = bench_pricing.measure(load_price_book(), batch, "generated", rounds=1)
    assert len(batch) == bench_pricing.EVENTS
    assert figures.ratio > 1


@pytest.mark.real_data
@pytest.mark.parametrize("cached", [False, True])
def test_real_calls_cost_the_same(cached: bool) -> None:
    tokens = bench_pricing.real_tokens()
    if tokens is None:
        pytest.skip("COSTMETER_DATA has no llm/azure_2023_code.csv")
    batch = bench_pricing.calls(tokens, cached)
    assert bench_pricing.measure(load_price_book(), batch, "real", rounds=1).ratio > 1
