"""Pricing a batch of 1,000 calls: the price book against genai-prices, call by call.

    PYTHONPATH=exporter python tests/benchmarks/bench_pricing.py

Both price the same calls in the same run, in alternating rounds, and every one of the 1,000 totals
must be equal after the rounding of each class. The peer's `Usage` objects are built
before its clock starts; ours get ordinary `Usage` records. The tokens are those of
azure_2023_code.csv in the folder COSTMETER_DATA where that exists, else generated.
"""

from __future__ import annotations

import csv
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

from costmeter.model import Labels, Usage
from costmeter.pricing import PriceBook, load_price_book

EVENTS = 1_000
ROUNDS = 25
#: Ours is over in half a millisecond: a round times it often enough to see past jitter.
REPEATS = 20
START_MS = 1_795_000_000_000  # 2026-11-18T11:06:40Z

MODELS = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-5"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-haiku-4-5"),
    ("google", "gemini-2.5-pro"),
    ("google", "gemini-2.5-flash"),
    ("mistral", "mistral-large-latest"),
)


@dataclass(frozen=True)
class Figures:
    tokens_from: str
    ours_us: float
    peer_us: float

    @property
    def ratio(self) -> float:
        return self.peer_us / self.ours_us


def real_tokens() -> list[tuple[int, int]] | None:
    """(input, output) tokens of the first real calls, None where the file is absent."""
    here = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("COSTMETER_DATA", here / "../shared/data"))
    path = folder / "llm" / "azure_2023_code.csv"
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        found = [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in rows]
    return found[:EVENTS]


def generated_tokens() -> list[tuple[int, int]]:
    """Tokens of the same order: about 2,000 in and 30 out, both with a long tail."""
    chance = random.Random(1)
    return [
        (int(chance.lognormvariate(7.3, 0.8)) + 1, int(chance.lognormvariate(2.8, 1.0)) + 1)
        for _ in range(EVENTS)
    ]


def calls(tokens: list[tuple[int, int]], cached: bool) -> list[Usage]:
    """Records as ingest makes them: every one with labels and quantities of its own."""
    chance = random.Random(2)
    found = []
    for number, (sent, received) in enumerate(tokens):
        provider, model = chance.choice(MODELS)
        tenant = f"tenant-{chance.randrange(50)}"
        labels = Labels(tenant, "llm_api", "", provider, "", "", model, "prod", *[""] * 5)
        quantities = {"input": sent, "output": received}
        if cached and number % 2:
            read = sent // 2
            quantities = {"input": sent - read, "cache_read": read, "output": received}
        at_ms = START_MS + 400 * number
        found.append(Usage(f"f:bench:{number}", at_ms, "bench", labels, quantities))
    return found


def peer(batch: list[Usage]) -> Callable[[], list[Any]]:
    """genai-prices on the same calls, its arguments prepared."""
    import genai_prices

    prepared = []
    for usage in batch:
        q = usage.quantities
        read = q.get("cache_read", 0)
        counts = {"input_tokens": q["input"] + read, "output_tokens": q["output"]}
        if read:
            counts["cache_read_tokens"] = read
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=usage.at_ms)
        prepared.append((genai_prices.Usage(**counts), usage.labels, at))

    def run() -> list[Any]:
        calc_price = genai_prices.calc_price
        return [
            calc_price(usage, labels.model, provider_id=labels.provider, genai_request_timestamp=at)
            for usage, labels, at in prepared
        ]

    return run


def expected(batch: list[Usage], answers: list[Any]) -> list[int]:
    """The peer's Decimals per class, each rounded half-even to a nano-USD, summed."""
    totals = []
    for usage, answer in zip(batch, answers, strict=True):
        price = answer.model_price
        sent = usage.quantities["input"] + usage.quantities.get("cache_read", 0)
        keys = {"input": "input_mtok", "cache_read": "cache_read_mtok", "output": "output_mtok"}
        exact, total = Decimal(0), 0
        for name, count in usage.quantities.items():
            figure = getattr(price, keys[name])
            if figure is None:  # cached tokens without a price of their own
                figure = price.input_mtok
            usd = _for_size(figure, sent) * count / 1_000_000
            exact += usd
            total += int((usd * 10**9).to_integral_value(ROUND_HALF_EVEN))
        assert exact == answer.total_price, (usage, exact, answer.total_price)
        totals.append(total)
    return totals


def _for_size(figure: Any, sent: int) -> Decimal:
    """The figure of a call that sent so many tokens."""
    if isinstance(figure, Decimal):
        return figure
    fitting = [tier.price for tier in figure.tiers if sent > tier.start]
    found: Decimal = fitting[-1] if fitting else figure.base
    return found


def measure(book: PriceBook, batch: list[Usage], tokens_from: str, rounds: int) -> Figures:
    """Medians in µs per event; asserts that all totals are equal."""
    run_peer = peer(batch)
    priced = book.price_batch(batch)
    totals = [one[1] if one is not None else None for one in priced]
    assert totals == expected(batch, run_peer())
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(_timed(lambda: book.price_batch(batch), REPEATS))
        theirs.append(_timed(run_peer, 1))
    scale = 1e6 / len(batch)
    return Figures(tokens_from, statistics.median(ours) * scale, statistics.median(theirs) * scale)


def _timed(run: Callable[[], object], repeats: int) -> float:
    """CPU seconds of one run: neither side waits for anything, neighbours do not count."""
    start = time.process_time()
    for _ in range(repeats):
        run()
    return (time.process_time() - start) / repeats


def resident_mib() -> float:
    """Memory of this process now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(rounds: int = ROUNDS) -> list[Figures]:
    before = resident_mib()
    start = time.perf_counter()
    book = load_price_book()
    load_ms = (time.perf_counter() - start) * 1000
    load_mib = resident_mib() - before
    real = real_tokens()
    tokens = real if real is not None else generated_tokens()
    name = "azure_2023_code.csv" if real is not None else "generated tokens"
    found = []
    for cached in (False, True):
        batch = calls(tokens, cached)
        found.append(measure(book, batch, name + (", half with cache" * cached), rounds))
    out = sys.stdout
    out.write(f"$ python {' '.join(sys.argv)}\n")
    out.write(f"pricing {EVENTS} calls of {len(MODELS)} models, median of {rounds} rounds\n")
    out.write(f"  load_price_book: {load_ms:.0f} ms, {load_mib:.1f} MiB\n")
    for one in found:
        out.write(
            f"  {one.tokens_from}: price_batch {one.ours_us:.3f} us/event, "
            f"genai-prices {one.peer_us:.1f} us/event, {one.ratio:.0f}x; all totals equal\n"
        )
    return found


if __name__ == "__main__":
    main()
