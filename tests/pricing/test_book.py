"""The book as a whole: batches, memory, loading, the generated file, the benchmark."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from costmeter.model import PROCESSING, Usage
from costmeter.pricing import PriceBook, load_price_book
from costmeter.pricing import compile as price_compiler
from costmeter.pricing.catalogue import embedded_catalogue
from costmeter.pricing.overrides import read_price_file
from pricing import oracle

MODELS = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-5"),
    ("openai", "o3"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-pro"),
    ("perplexity", "sonar"),
    ("deepseek", "deepseek-chat"),
    ("openai", "text-embedding-3-small"),
    ("openai", "gpt-99-nonesuch"),
    ("nobody", "x"),
)
CLASSES = (
    "input",
    "output",
    "cache_read",
    "cache_write_5m",
    "reasoning",
    "web_searches",
    "requests",
)


def random_usages(seed: int, count: int) -> list[Usage]:
    chance = random.Random(seed)
    found = []
    for number in range(count):
        labels = oracle.labels(*chance.choice(MODELS), tenant_id=f"t{number % 3}")
        classes = chance.sample(CLASSES, chance.choice((0, 1, 2, 2, 3, 3, 4)))
        if chance.random() < 0.5:
            classes = ["input", "output", "cache_read"][: chance.choice((2, 3))]
        quantities = {name: chance.choice((0, 1, 999, 200_000, 272_001)) for name in classes}
        at_ms = chance.randrange(1_700_000_000_000, 1_796_000_000_000)
        processing = chance.choice((*PROCESSING, *["standard"] * 6, "unheard"))
        record = Usage(str(number), at_ms, "f", labels, quantities, processing=processing)
        found.append(record)
    return found


def test_a_batch_is_its_calls_one_by_one() -> None:
    book = load_price_book()
    usages = random_usages(7, 4_000)
    got = book.price_batch(usages)
    priced = 0
    for usage, answer in zip(usages, got, strict=True):
        fresh = book.rate(usage.labels, usage.at_ms, usage.processing, usage.quantities)
        cost = None if fresh is None else fresh.cost(usage.quantities)
        assert answer == (None if cost is None else (fresh, cost)), usage
        priced += answer is not None
    assert 1_000 < priced < 3_500
    assert book.price_batch([]) == []


def test_what_a_book_remembers_does_not_change_its_answers() -> None:
    usages = random_usages(8, 1_000)
    warm, cold = load_price_book(), load_price_book()
    warm.price_batch(list(reversed(usages)))
    assert warm.price_batch(usages) == cold.price_batch(usages)
    assert warm.revision == cold.revision


def test_hostile_names_do_not_grow_a_book_without_end() -> None:
    anything = (
        "prices:\n  - {provider: openai, model: '*', source: s, usd_per_million: {input: 1}}\n"
    )
    override = read_price_file("x.yml", anything, str.lower)
    book = PriceBook(embedded_catalogue(), files=[override], remembered=50)
    for number in range(500):
        for model in (f"gpt-4o-{number}x", f"nonesuch-{number}"):
            book.rate(oracle.labels("openai", model), 1_795_000_000_000, "standard", {"input": 1})
    assert len(book._others) <= 50
    assert all(len(slots) <= 50 for slots in book._slots.values())
    assert len(book._tariffs._tariffs) == 1


def test_the_exporter_prices_without_genai_prices() -> None:
    code = (
        "import sys; from costmeter.pricing import load_price_book; load_price_book(); "
        "print(sorted({'genai_prices', 'pydantic', 'numpy', 'httpx2'} & sys.modules.keys()))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment()
    )
    assert ran.stdout.strip() == "[]"


def test_the_generated_file_is_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert price_compiler.main(["--check"]) == 0
    stale = tmp_path / "prices.json"
    assert price_compiler.main(["--target", str(stale)]) == 0
    assert stale.read_bytes() == price_compiler.TARGET.read_bytes()
    stale.write_text(stale.read_text(encoding="utf-8").replace("2500000000", "2600000000", 1))
    assert price_compiler.main(["--check", "--target", str(stale)]) == 1
    assert "run python -m costmeter.pricing.compile" in capsys.readouterr().err


def test_the_generated_file_says_what_it_left_out() -> None:
    data = json.loads(price_compiler.TARGET.read_text(encoding="utf-8"))
    kinds = {text.split(" of ")[0].split(":")[0] for text in data["omitted"]}
    assert kinds == {
        "context route=mistral/eu",
        "context search_type=fast",
        "context search_type=web",
        "context service_tier=default",
        "output_citation_mtok",
    }
    noisy = {
        f"{provider.id}/{model.id}"
        for provider, model in oracle.models()
        if oracle.has_noisy_price(model)
    }
    # "provider/model key price": a model's own name may hold spaces and slashes.
    assert {text.rsplit(" ", 2)[0] for text in data["rounded"]} == noisy


def _environment() -> dict[str, str]:
    import os

    source = Path(__file__).resolve().parents[2] / "exporter"
    return {**os.environ, "PYTHONPATH": str(source)}
