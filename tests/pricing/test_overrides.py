"""What a price file changes: which line wins, from when, for whom."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.model import Usage
from costmeter.pricing import PriceBook, PriceFileError, Rate, load_price_book
from costmeter.pricing.overrides import read_price_file
from pricing.oracle import labels


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


NOW = ms("2026-11-22T10:00:00")
ONE = {"input": 1}
Load = Callable[..., PriceBook]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_text(*texts: str) -> PriceBook:
        paths = []
        for number, text in enumerate(texts):
            path = tmp_path / f"prices{number}.yml"
            path.write_text(text, encoding="utf-8")
            paths.append(path)
        return load_price_book(paths)

    return load_text


def ask(
    book: PriceBook, model: str, at: str = "2026-11-22", processing: str = "standard", **more: str
) -> Rate | None:
    provider = more.pop("provider", "openai")
    return book.rate(labels(provider, model, **more), ms(at), processing, ONE)


def usd(rate: Rate | None, name: str = "input") -> float:
    assert rate is not None
    return rate.prices[name] / 1e9


CONTRACT = """
prices:
  - provider: openai
    model: gpt-4o
    from: 2026-07-01
    to: 2027-01-01
    source: contract 4711
    usd_per_million: {input: 2.00, output: 8.00}
"""


def test_an_override_holds_between_its_dates(load: Load) -> None:
    book = load(CONTRACT)
    days = ("2026-06-30T23:59:59", "2026-07-01", "2026-12-31T23:59:59", "2027-01-01")
    assert [usd(ask(book, "gpt-4o", day)) for day in days] == [2.5, 2, 2, 2.5]


def test_figures_that_an_override_does_not_name_stay(load: Load) -> None:
    rate = ask(load(CONTRACT), "gpt-4o")
    assert (usd(rate, "output"), usd(rate, "reasoning"), usd(rate, "cache_read")) == (8, 8, 1.25)
    assert rate is not None
    assert rate.rate_id.startswith("override:openai/gpt-4o/2026-07-01/standard/0#")
    assert rate.source == "contract 4711 (prices0.yml)"


def test_other_processing_keeps_the_catalogue(load: Load) -> None:
    book, plain = load(CONTRACT), load()
    assert ask(book, "gpt-4o", processing="batch") == ask(plain, "gpt-4o", processing="batch")
    everywhere = load(CONTRACT.replace("source:", "processing: any\n    source:"))
    assert usd(ask(everywhere, "gpt-4o", processing="batch")) == 2


def test_a_discount_is_taken_off_the_catalogue(load: Load) -> None:
    line = "{provider: openai, model: 'gpt-4o*', source: contract, discount_percent: 12.5}"
    book = load(f"prices:\n  - {line}\n")
    rate = ask(book, "gpt-4o-mini")
    assert (usd(rate), usd(rate, "output")) == (0.13125, 0.525)
    assert rate is not None
    assert "12.5 % off genai-prices" in rate.source
    assert usd(ask(book, "gpt-4o", "2020-01-01")) == 2.1875
    assert ask(book, "gpt-4o", provider="nobody") is None
    assert ask(book, "o3") == ask(load(), "o3")


def test_a_discount_of_the_standard_price_gives_a_batch_price(load: Load) -> None:
    more = "discount_percent: 50, processing: batch"
    without = load(f"prices:\n  - {{provider: anthropic, model: claude-2, source: s, {more}}}\n")
    assert ask(without, "claude-2", processing="batch", provider="anthropic") is None
    book = load(
        f"prices:\n  - {{provider: anthropic, model: claude-2, source: s, {more}, of: standard}}\n"
    )
    assert usd(ask(book, "claude-2", processing="batch", provider="anthropic")) == 4
    assert usd(ask(book, "claude-2", provider="anthropic")) == 8


def test_the_line_that_names_more_wins_then_the_later_one(load: Load) -> None:
    def line(usd: str, **more: str) -> str:
        fields = {"provider": "openai", "model": "gpt-4o", "source": "s", **more}
        text = ", ".join(f"{key}: {value}" for key, value in fields.items())
        return f"  - {{{text}, usd_per_million: {{input: {usd}}}}}\n"

    book = load(
        "prices:\n"
        + line("1", account="acme")
        + line("2")
        + line("3", model="'gpt-*'")
        + line("4", region="eu-west")
        + line("5", **{"from": "2026-01-01"})
        + line("6", **{"from": "2025-01-01"}),
        "prices:\n" + line("7", **{"from": "2026-01-01"}),
    )
    assert usd(ask(book, "gpt-4o", account="acme")) == 1
    assert usd(ask(book, "gpt-4o", region="EU-West")) == 4
    assert usd(ask(book, "gpt-4o", "2024-06-01")) == 2
    assert usd(ask(book, "gpt-4o", "2025-06-01")) == 6
    assert usd(ask(book, "gpt-4o")) == 7
    assert usd(ask(book, "gpt-9-nonesuch")) == 3


def test_a_model_of_ones_own_with_tiers_units_and_cache(load: Load) -> None:
    book = load(
        """
prices:
  - provider: selfhosted
    model: llama-x
    source: capacity plan 2026
    usd_per_million: {input: "0.20", output: 0.4}
    usd_per_unit: {web_searches: 0.01, requests: 0.0005}
    tiers:
      - above_input_tokens: 128_000
        usd_per_million: {input: 0.4}
"""
    )
    asked = labels("SelfHosted", "Llama-X")
    small = {"input": 100_000, "cache_read": 28_000, "output": 1000, "web_searches": 2}
    rate = book.rate(asked, NOW, "standard", small)
    assert rate is not None
    assert rate.costs(small) == {
        "input": 20_000_000,
        "cache_read": 5_600_000,
        "output": 400_000,
        "web_searches": 20_000_000,
        "requests": 500_000,
    }
    large = {**small, "input": 100_001}
    found = book.rate(asked, NOW, "standard", large)
    assert found is not None
    assert found.prices["input"] == 400_000_000
    assert found.prices["output"] == 400_000_000


def test_units_of_a_cluster_are_priced_as_they_are_sold(load: Load) -> None:
    book = load(
        """
prices:
  - {provider: onprem, model: node, source: test,
     usd_per_hour: {cpu_core: 0.031611, memory_gib: 0.004237},
     usd_per_unit: {storage_gib_month: 0.04, network_gb: 0.12}}
"""
    )
    hour = 3_600_000
    month = {
        "cpu_core_ms": 8 * hour,
        "memory_mib_ms": 32 * 1024 * hour,
        "storage_mib_ms": 100 * 1024 * 730 * hour,
        "network_bytes": 5 * 10**9,
    }
    rate = book.rate(labels("onprem", "node"), NOW, "standard", month)
    assert rate is not None
    assert rate.costs(month) == {
        "cpu_core_ms": 252_888_000,
        "memory_mib_ms": 135_584_000,
        "storage_mib_ms": 4_000_000_000,
        "network_bytes": 600_000_000,
    }
    with pytest.raises(PriceFileError, match="network_bytes"):
        load("prices: [{provider: x, model: y, source: z, usd_per_unit: {network_bytes: 1}}]")


def test_zero_is_free_only_when_it_is_said(load: Load) -> None:
    book = load(
        "prices:\n"
        "  - {provider: lab, model: a, source: own machines, free: true}\n"
        "  - {provider: lab, model: b, source: promised, usd_per_million: {input: 0}}\n"
    )
    used = {"input": 10, "output": 10, "web_searches": 1}
    free = book.rate(labels("lab", "a"), NOW, "standard", used)
    assert free is not None
    assert free.cost(used) == 0
    partly = book.rate(labels("lab", "b"), NOW, "standard", used)
    assert partly is not None
    assert partly.cost({"input": 10}) == 0
    assert partly.cost(used) is None


def test_models_are_described_and_retired(load: Load) -> None:
    book = load(
        "models:\n"
        "  - {provider: openai, model: 'gpt-4o*', deprecated: 2026-12-31, replacement: gpt-5}\n"
        "  - {provider: openai, model: gpt-4o-mini, replacement: gpt-5-mini}\n"
        "  - {provider: lab, model: own, name: Own model, context_window: 8192}\n"
    )
    info = book.model_info("openai", "gpt-4o-mini")
    assert info is not None
    assert (info.deprecated, info.deprecated_ms) == (True, ms("2026-12-31"))
    assert info.replacement == "gpt-5-mini"
    own = book.model_info("lab", "own")
    assert own is not None
    assert (own.name, own.context_window, own.catalogue_id) == ("Own model", 8192, "")
    assert book.revision == load().revision


def test_a_revision_changes_with_a_figure_and_with_nothing_else(load: Load) -> None:
    book = load(CONTRACT)
    assert book.revision == load("# a remark\n" + CONTRACT.replace("4711", "4712")).revision
    assert book.revision == load(CONTRACT.replace("2.00", "2")).revision
    assert book.revision != load(CONTRACT.replace("2.00", "2.01")).revision
    assert book.revision != load(CONTRACT.replace("2026-07-01", "2026-07-02")).revision
    assert book.revision != load().revision


def test_rate_ids_follow_the_figures(load: Load) -> None:
    one, same = ask(load(CONTRACT), "gpt-4o"), ask(load("# x\n" + CONTRACT), "gpt-4o")
    other = ask(load(CONTRACT.replace("2.00", "2.01")), "gpt-4o")
    assert one is not None
    assert same is not None
    assert other is not None
    assert one.rate_id == same.rate_id
    assert one.rate_id != other.rate_id


def test_batch_and_single_calls_agree_with_overrides_by_account(load: Load) -> None:
    text = CONTRACT.replace("model: gpt-4o", "model: gpt-4o\n    account: acme")
    book = load(text)
    records = [
        Usage(str(n), ms(day), "f", labels("openai", "gpt-4o", account=account), {"input": 1000})
        for n, (day, account) in enumerate(
            [
                ("2026-06-01", "acme"),
                ("2026-08-01", "acme"),
                ("2026-08-01", "other"),
                ("2026-06-02", "acme"),
            ]
        )
    ]
    for _ in range(2):
        got = [one[1] if one else None for one in book.price_batch(records)]
        assert got == [2_500_000, 2_000_000, 2_500_000, 2_500_000]


@given(st.decimals(0, 10_000, places=9), st.integers(0, 10**9))
def test_a_price_is_read_exactly_from_its_text(price: Decimal, tokens: int) -> None:
    text = (
        "prices:\n  - {provider: p, model: m, source: s, "
        f"usd_per_million: {{input: {price:f}}}}}\n"
    )
    (line,) = read_price_file("x.yml", text, str.lower).llm
    nano = line.figures["input"]
    assert isinstance(nano, int)
    assert nano == int(price * 10**9)
    cost = Rate("r", "s", {"input": nano}).cost({"input": tokens})
    exact = price * tokens * 1000
    assert cost == int(exact.to_integral_value(ROUND_HALF_EVEN))
