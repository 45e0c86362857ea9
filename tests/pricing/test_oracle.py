"""Our prices against genai-prices: every provider, model, date, context and class."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmeter.pricing import PriceBook, load_price_book
from pricing import oracle

ALL = [
    (provider, model, name)
    for provider, model in oracle.models()
    if (name := oracle.reference(provider, model)) is not None
]
CLASSES = tuple(oracle.COUNTED_IN)
COMMON = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning")


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return load_price_book()


def ours(
    book: PriceBook, provider: str, model: str, at_ms: int, processing: str, q: Mapping[str, int]
) -> int | None:
    rate = book.rate(oracle.labels(provider, model), at_ms, processing, q)
    return None if rate is None else rate.cost(q)


def drawn(chance: random.Random, thresholds: list[int], classes: tuple[str, ...]) -> dict[str, int]:
    """Random quantities; where the model has tiers, often at the edge of one."""
    q = {name: chance.choice((1, 7, 333, 12_345, 1_000_003)) for name in classes}
    if thresholds and "input" in q and chance.random() < 0.7:
        wanted = chance.choice(thresholds) + chance.choice((0, 1))
        rest = sum(n for name, n in q.items() if name != "input" and "input_tokens" in _keys(name))
        if wanted > rest:
            q["input"] = wanted - rest
    return q


def _keys(name: str) -> tuple[str, ...]:
    return oracle.COUNTED_IN[name]


def sweep(book: PriceBook, seed: int, share: float) -> Counter[str]:
    """Compares on a share of all (model, instant, processing); counts answers by reason."""
    chance = random.Random(seed)
    seen: Counter[str] = Counter()
    for provider, model, name in ALL:
        edges = oracle.thresholds(model)
        for at_ms in oracle.instants(model):
            for processing in oracle.CONTEXTS:
                if chance.random() > share:
                    continue
                extra = chance.sample(CLASSES, 2)
                few = chance.sample(COMMON, 2)
                classes = tuple(
                    dict.fromkeys(("input", "output", *few, *extra[: chance.choice((0, 0, 1, 2))]))
                )
                if provider.id == "groq" and "whisper" in model.id:
                    classes = (chance.choice(("audio_ms", "input_audio_ms")),)
                q = drawn(chance, edges, classes)
                want = oracle.expected(provider, model, at_ms, processing, q)
                got = ours(book, provider.id, name, at_ms, processing, q)
                assert got == want.nano, (provider.id, model.id, at_ms, processing, q, want)
                seen[want.reason or "equal"] += 1
    return seen


def test_a_share_of_everything_equals_the_oracle(book: PriceBook) -> None:
    seen = sweep(book, seed=1, share=0.08)
    assert set(seen) == {"equal", "UNPRICED_CLASS", "UNPRICED_PROCESSING"}
    assert seen["equal"] > 200


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_call_equals_the_oracle(book: PriceBook, data: st.DataObject) -> None:
    provider, model, name = data.draw(st.sampled_from(ALL))
    at_ms = data.draw(st.integers(1_600_000_000_000, 1_830_000_000_000))
    processing = data.draw(st.sampled_from(sorted(oracle.CONTEXTS)))
    classes = st.sampled_from((*COMMON, "web_searches", "input_audio", "output_image"))
    q = data.draw(st.dictionaries(classes, st.integers(0, 400_000), max_size=4))
    want = oracle.expected(provider, model, at_ms, processing, q)
    assert ours(book, provider.id, name, at_ms, processing, q) == want.nano


def test_models_borrowed_from_another_provider_equal_the_oracle(book: PriceBook) -> None:
    borrowed = 0
    for seller, lender in (("azure", "openai"), ("azure", "anthropic"), ("google", "anthropic")):
        for provider, model, name in ALL:
            if provider.id != lender:
                continue
            found = oracle.find(seller, name)
            if found is None or found[1] is not model:
                continue
            borrowed += 1
            q = {"input": 300_001, "output": 77}
            for processing in ("standard", "batch"):
                want = oracle.expected(*found, 1_795_348_800_000, processing, q)
                got = ours(book, seller, name, 1_795_348_800_000, processing, q)
                assert got == want.nano
    assert borrowed > 50


@pytest.mark.slow
def test_everything_equals_the_oracle(book: PriceBook) -> None:
    seen = sweep(book, seed=2, share=1)
    assert seen["equal"] > 2000
