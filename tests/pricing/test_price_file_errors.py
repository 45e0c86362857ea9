"""A mistake in a price file: file, line, key, what is wrong, what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.pricing import PriceFileError, load_price_book
from costmeter.pricing.overrides import read_price_file

GOOD = """prices:
  - provider: openai
    model: gpt-4o
    source: contract
    from: 2026-01-01
    usd_per_million:
      input: 2
"""

MISTAKES = [
    ("    source: contract\n", "", 2, "prices[0]", "write source: where the price comes from"),
    ("provider: openai", "provder: openai", 2, "prices[0].provder", "write provider instead"),
    ("model: gpt-4o", "model:", 3, "prices[0].model", "write a text"),
    ("input: 2", "input: two", 7, "prices[0].usd_per_million.input", "write a decimal such as"),
    ("input: 2", "input: -2", 7, "prices[0].usd_per_million.input", "write a number of 0 or more"),
    ("input: 2", "input: .nan", 7, "prices[0].usd_per_million.input", "write a decimal such as"),
    ("input: 2", "input: NaN", 7, "prices[0].usd_per_million.input", "0 or more"),
    ("input: 2", "input: 1e40", 7, "prices[0].usd_per_million.input", "out of range"),
    ("input: 2", "input: 0.0000000001", 7, "prices[0].usd_per_million.input", "at most 9"),
    ("input: 2", "imput: 2", 7, "prices[0].usd_per_million.imput", "write input instead"),
    ("input: 2", "input: [2]", 7, "prices[0].usd_per_million.input", "write a text"),
    ("input: 2", "input: 2\n      input: 3", 8, "prices[0].usd_per_million.input", "twice"),
    ("2026-01-01", "01.01.2026", 5, "prices[0].from", "write 2026-01-31"),
    ("2026-01-01", "2026-13-01", 5, "prices[0].from", "is not a date"),
    ("2026-01-01", "2026-01-01T10:00:00", 5, "prices[0].from", "2026-01-01T10:00:00Z for UTC"),
    ("2026-01-01", "2026-01-01\n    to: 2026-01-01", 6, "prices[0].to", "write a later date"),
    ("source: contract", "source: c\n    processing: bulk", 5, "prices[0].processing", "one of"),
    ("source: contract", "source: c\n    free: true", 5, "prices[0].free", "free: true alone"),
    ("source: contract", "source: c\n    of: standard", 5, "prices[0].of", "discount_percent"),
    (
        "source: contract",
        "source: c\n    discount_percent: 100",
        5,
        "prices[0].discount_percent",
        "write free: true",
    ),
    (
        "    usd_per_million:\n      input: 2\n",
        "    usd_per_million: {}\n",
        6,
        "prices[0].usd_per_million",
        "names no class",
    ),
    ("    usd_per_million:\n      input: 2\n", "", 2, "prices[0]", "has no price; write"),
    (
        "      input: 2\n",
        "      input: 2\n    tiers: [{above_input_tokens: 5, usd_per_million: {output: 1}}]\n",
        8,
        "prices[0].tiers[0]",
        "add it in usd_per_million",
    ),
    (
        "      input: 2\n",
        "      input: 2\n    usd_per_hour: {machine: 3}\n",
        8,
        "prices[0].usd_per_hour.machine",
        "write gpus: 8",
    ),
    ("prices:", "price:", 1, "price", "write prices instead"),
    ("  - provider", "    provider", 1, "prices", 'begin each entry with "- "'),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "advice"), MISTAKES)
def test_a_mistake_is_named_with_its_place(
    old: str, new: str, line: int, key: str, advice: str
) -> None:
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    with pytest.raises(PriceFileError) as caught:
        read_price_file("prices.yml", text, str.lower)
    assert str(caught.value).startswith(f"prices.yml:{line}: {key}: ")
    assert advice in str(caught.value)


def test_the_good_file_is_good() -> None:
    (line,) = read_price_file("prices.yml", GOOD, str.lower).llm
    assert line.figures == {"input": 2_000_000_000}
    assert line.origin == "prices.yml:2"


def test_an_empty_file_says_nothing() -> None:
    for text in ("", "# nothing yet\n", "prices:\nmodels: []\n"):
        assert read_price_file("prices.yml", text, str.lower).llm == ()


def test_what_is_not_yaml_names_the_line() -> None:
    with pytest.raises(PriceFileError, match=r"prices\.yml:3: file: is not YAML"):
        read_price_file("prices.yml", 'prices:\n  - {provider: "a\n', str.lower)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PriceFileError, match=r"none\.yml:1: file: cannot be read"):
        load_price_book([tmp_path / "none.yml"])
    strange = tmp_path / "strange.yml"
    strange.write_bytes(b"prices: \xff\xfe")
    with pytest.raises(PriceFileError, match="it is not UTF-8 text"):
        load_price_book([strange])


def test_a_list_that_is_shipped_needs_the_day_it_was_read() -> None:
    with pytest.raises(PriceFileError, match="write as_of: the day it was read"):
        read_price_file("gpu.yml", GOOD, str.lower, dated=True)


_PIECES = st.sampled_from(
    [
        *GOOD.splitlines(keepends=True),
        *("  - ", "tiers:", "{", "}", "[", ": ", "- x\n", "&a ", "*a\n", "    free: true\n"),
        *("models:\n", "'", "\t", "!!binary ", "<<: 1\n", "    gpus: 0\n", "\x00"),
    ]
)


@given(st.lists(_PIECES, max_size=12).map("".join))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        read_price_file("prices.yml", text, str.lower)
    except PriceFileError as error:
        refusal = str(error)
    else:
        refusal = "prices.yml:"
    assert refusal.startswith("prices.yml:")
