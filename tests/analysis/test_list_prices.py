"""List prices of the models in use, beside the prices that calls were booked at."""

from __future__ import annotations

from pathlib import Path

from costmeter.analysis.list_prices import price_chunks
from costmeter.model import Chunk
from costmeter.pricing import load_price_book

NOW = 1_790_000_000_000
PRICES = """
prices:
  - {provider: test, model: cheap, source: test,
     usd_per_million: {input: 2.5, cache_read: "0.25", output: 10, input_audio: 40}}
"""


def tokens(*used: tuple[str, str, str]) -> dict[str, tuple[Chunk, ...]]:
    labels = tuple((provider, model, "acme", "", name) for provider, model, name in used)
    return {"llm_tokens_total": (Chunk(labels, tuple(range(len(labels)))),)}


def test_each_model_in_use_has_the_prices_of_its_classes(tmp_path: Path) -> None:
    (tmp_path / "prices.yml").write_text(PRICES)
    book = load_price_book([tmp_path / "prices.yml"])
    used = tokens(
        ("test", "cheap", "input"), ("test", "cheap", "input_audio"), ("x", "new", "input")
    )
    chunks = price_chunks(book, used, NOW)
    assert dict(zip(chunks[0].labels, chunks[0].values, strict=True)) == {
        ("test", "cheap", "input"): 2_500_000_000,
        ("test", "cheap", "cache_read"): 250_000_000,
        ("test", "cheap", "output"): 10_000_000_000,
        ("test", "cheap", "input_audio"): 40_000_000_000,
    }


def test_the_price_of_the_moment_counts(tmp_path: Path) -> None:
    (tmp_path / "prices.yml").write_text(
        "prices:\n"
        "  - {provider: t, model: m, source: s, usd_per_million: {input: 1, output: 1}}\n"
        "  - {provider: t, model: m, source: s, from: 2026-10-01,\n"
        "     usd_per_million: {input: 2, output: 2}}\n"
    )
    book = load_price_book([tmp_path / "prices.yml"])
    used = tokens(("t", "m", "input"))
    before, after = 1_790_000_000_000, 1_795_000_000_000  # September and November 2026
    assert price_chunks(book, used, before)[0].values[-2] == 1_000_000_000
    assert price_chunks(book, used, after)[0].values[-2] == 2_000_000_000


def test_without_calls_there_are_no_prices() -> None:
    assert price_chunks(load_price_book(), {}, NOW) == ()
