"""The compiled catalogue through the price book: dates, tiers, processing, names."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from costmeter.pricing import PriceBook, Rate, load_price_book
from pricing.oracle import labels


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return load_price_book()


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


NOW = ms("2026-11-22T10:00:00")


def rate(
    book: PriceBook,
    provider: str,
    model: str,
    at_ms: int = NOW,
    processing: str = "standard",
    input_tokens: int = 1,
) -> Rate | None:
    return book.rate(labels(provider, model), at_ms, processing, {"input": input_tokens})


def usd(found: Rate | None, name: str = "input") -> float:
    """A price in USD per million, for figures that a person can read."""
    assert found is not None
    return found.prices[name] / 1e9


def test_a_price_is_the_price_of_its_own_day(book: PriceBook) -> None:
    assert usd(rate(book, "openai", "o3", ms("2025-06-01"))) == 10
    assert usd(rate(book, "openai", "o3")) == 2
    assert usd(rate(book, "openai", "o3", ms("2025-06-01")), "output") == 40


def test_a_new_price_starts_at_midnight_utc(book: PriceBook) -> None:
    start = ms("2025-06-10")
    before, after = rate(book, "openai", "o3", start - 1), rate(book, "openai", "o3", start)
    assert (usd(before), usd(after)) == (10, 2)
    assert before is not None
    assert after is not None
    assert before.rate_id.startswith("genai:openai/o3/start/standard/0#")
    assert after.rate_id.startswith("genai:openai/o3/2025-06-10/standard/0#")
    assert "2025-06-10" in after.source


def test_a_tier_is_a_cliff_for_the_whole_call(book: PriceBook) -> None:
    at = rate(book, "anthropic", "claude-sonnet-4-5", input_tokens=200_000)
    over = rate(book, "anthropic", "claude-sonnet-4-5", input_tokens=200_001)
    assert (usd(at), usd(over)) == (3, 6)
    assert over is not None
    assert over.cost({"input": 300_000}) == 1_800_000_000
    assert over.rate_id.partition("#")[0].endswith("/1")


def test_cached_tokens_count_towards_the_tier(book: PriceBook) -> None:
    asked = labels("anthropic", "claude-sonnet-4-5")
    big = {"input": 1, "cache_read": 150_000, "cache_write_1h": 50_000, "output": 500_000}
    found = book.rate(asked, NOW, "standard", big)
    assert usd(found) == 6
    small = {"input": 1, "cache_read": 149_999, "cache_write_1h": 50_000, "output": 500_000}
    assert usd(book.rate(asked, NOW, "standard", small)) == 3


def test_cache_writes_of_five_minutes_and_an_hour_differ(book: PriceBook) -> None:
    found = rate(book, "anthropic", "claude-sonnet-4-5")
    assert [usd(found, name) for name in ("cache_write_5m", "cache_write_1h", "cache_read")] == [
        3.75,
        6,
        0.3,
    ]


def test_reasoning_costs_what_output_costs_where_it_has_no_price(book: PriceBook) -> None:
    found = rate(book, "openai", "o3")
    assert usd(found, "reasoning") == usd(found, "output") == 8
    own = rate(book, "perplexity", "sonar-deep-research")
    assert (usd(own, "reasoning"), usd(own, "output")) == (3, 8)


def test_batch_flex_and_fast_have_prices_of_their_own(book: PriceBook) -> None:
    assert usd(rate(book, "openai", "gpt-5", processing="standard")) == 1.25
    assert usd(rate(book, "openai", "gpt-5", processing="batch")) == 0.625
    assert usd(rate(book, "openai", "gpt-5", processing="flex")) == 0.625
    assert usd(rate(book, "openai", "gpt-5", processing="fast")) == 2.5
    assert usd(rate(book, "anthropic", "claude-opus-5", processing="fast")) == 10


def test_a_processing_without_a_price_is_unpriced_not_standard(book: PriceBook) -> None:
    assert rate(book, "anthropic", "claude-2", processing="batch") is None
    assert rate(book, "openai", "gpt-5", processing="no-such-thing") is None
    # The batch price of the catalogue starts in October 2026.
    assert rate(book, "openai", "gpt-5", ms("2025-11-01"), processing="batch") is None


def test_hours_of_the_day_decide_where_the_catalogue_says_so(book: PriceBook) -> None:
    day = "2026-11-22T"
    peak = [
        usd(rate(book, "deepseek", "deepseek-chat", ms(f"{day}{at}")))
        for at in ("00:30:00", "16:29:59")
    ]
    off = [
        usd(rate(book, "deepseek", "deepseek-chat", ms(f"{day}{at}")))
        for at in ("00:29:59", "16:30:00")
    ]
    assert set(peak) != set(off)
    assert len(set(peak)) == len(set(off)) == 1


def test_an_hourly_price_keeps_its_identity_from_day_to_day(book: PriceBook) -> None:
    ids = {
        found.rate_id
        for day in ("2026-11-20", "2026-11-21")
        if (found := rate(book, "deepseek", "deepseek-chat", ms(f"{day}T03:00:00")))
    }
    assert len(ids) == 1


def test_an_unknown_model_or_provider_is_unpriced(book: PriceBook) -> None:
    assert rate(book, "openai", "gpt-99-nonesuch") is None
    assert rate(book, "nobody", "gpt-4o") is None
    assert rate(book, "", "gpt-4o") is None
    assert rate(book, "openai", "") is None


def test_a_used_class_without_a_price_is_unpriced(book: PriceBook) -> None:
    found = rate(book, "openai", "text-embedding-3-small")
    assert found is not None
    assert found.cost({"input": 1_000_000}) == 20_000_000
    assert found.cost({"input": 1_000_000, "web_searches": 1}) is None
    assert found.costs({"input": 1_000_000, "web_searches": 0}) == {"input": 20_000_000}


def test_the_fee_of_a_call_is_charged_once(book: PriceBook) -> None:
    found = rate(book, "perplexity", "sonar")
    assert found is not None
    assert found.costs({"input": 1000, "output": 1000}) == {
        "input": 1_000_000,
        "output": 1_000_000,
        "requests": 12_000_000,
    }
    assert found.costs({"input": 1000, "requests": 3}) == {
        "input": 1_000_000,
        "requests": 36_000_000,
    }


def test_audio_is_billed_by_the_hour_and_groq_bills_ten_seconds(book: PriceBook) -> None:
    whisper = rate(book, "openai", "whisper-1")
    assert whisper is not None
    assert whisper.cost({"input_audio_ms": 60_000}) == 6_000_000
    groq = rate(book, "groq", "whisper-large-v3")
    assert groq is not None
    assert groq.cost({"input_audio_ms": 1}) == groq.cost({"input_audio_ms": 10_000}) == 308_333
    assert groq.cost({"input_audio_ms": 0}) == 0


@pytest.mark.parametrize(
    ("name", "model", "same"),
    [
        ("OpenAI", "GPT-4o", "openai"),
        ("azure.ai.openai", "gpt-4o", "azure"),
        ("Azure_OpenAI", "gpt-4o", "azure"),
        ("gcp.vertex_ai", "gemini-2.5-pro", "google"),
        ("gcp.gemini", "gemini-2.5-pro", "google"),
        ("vertex_ai", "claude-sonnet-4-5", "google"),
        ("aws.bedrock", "anthropic.claude-3-haiku-20240307-v1:0", "aws"),
        ("bedrock", "anthropic.claude-3-haiku-20240307-v1:0", "aws"),
        ("xai", "grok-3", "x-ai"),
        ("mistral_ai", "mistral-large-latest", "mistral"),
    ],
)
def test_a_provider_is_known_by_its_other_names(
    book: PriceBook, name: str, model: str, same: str
) -> None:
    found = rate(book, name, model)
    assert found is not None
    assert found == rate(book, same, model.lower())


def test_a_gateway_writes_the_provider_into_the_name(book: PriceBook) -> None:
    assert rate(book, "litellm", "anthropic/claude-sonnet-4-5") == rate(
        book, "anthropic", "claude-sonnet-4-5"
    )
    assert rate(book, "litellm", "gpt-4o") == rate(book, "openai", "gpt-4o")
    assert rate(book, "litellm", "nobody/none") is None


def test_a_compact_date_in_a_name_is_understood(book: PriceBook) -> None:
    assert rate(book, "openai", "gpt-5.2-20251211") == rate(book, "openai", "gpt-5.2-2025-12-11")
    assert rate(book, "openai", "gpt-5.2-20251211") is not None


def test_what_is_known_of_a_model(book: PriceBook) -> None:
    info = book.model_info("azure", "gpt-4o-mini")
    assert info is not None
    assert info.catalogue_id == "openai/gpt-4o-mini"
    assert info.context_window == 128_000
    assert book.model_info("openai", "gpt-99-nonesuch") is None


def test_the_book_tells_its_age(book: PriceBook) -> None:
    assert ms("2026-01-01") < book.as_of_ms < NOW
    assert book.as_of_ms % 86_400_000 == 0
