"""Calls to replay, and what they cost by the public price lists, worked out in Decimals."""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

#: USD per million tokens, written down from the providers' own lists in November 2026:
#: https://platform.openai.com/docs/pricing and https://cohere.com/pricing
USD_PER_MILLION = {
    "gpt-4o-mini": {
        "input": Decimal("0.15"), "cache_read": Decimal("0.075"), "output": Decimal("0.60"),
    },
    # Half a nano-USD a token: an odd number of input tokens has to be rounded.
    "command-r7b": {"input": Decimal("0.0375"), "output": Decimal("0.15")},
}  # fmt: skip
_NANO = Decimal("0.000000001")

#: A series' labels that the test names, sorted.
Labels = tuple[tuple[str, str], ...]


def cost_usd(event: Mapping[str, Any]) -> Decimal:
    """Each class rounded half-even to a nano-USD, then added up."""
    prices = USD_PER_MILLION[event["model"]]
    return sum(
        (
            (count * prices[name] / 1_000_000).quantize(_NANO, ROUND_HALF_EVEN)
            for name, count in event["tokens"].items()
        ),
        Decimal(0),
    )


def read_trace(path: Path) -> list[dict[str, str]]:
    """Rows with TIMESTAMP, ContextTokens and GeneratedTokens, in the order of the file."""
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def generate_trace(path: Path, calls: int = 500, seed: int = 7) -> Path:
    """A trace in the shape of the public one of code completions: long in, short out."""
    pick = random.Random(seed)
    at = datetime(2023, 11, 16, 18, 17, 3, 979960, tzinfo=UTC)
    with path.open("w", newline="", encoding="utf-8") as handle:
        write = csv.writer(handle)
        write.writerow(["TIMESTAMP", "ContextTokens", "GeneratedTokens"])
        for _ in range(calls):
            at += timedelta(seconds=pick.expovariate(0.4))
            stamp = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond:06d}0"
            write.writerow([stamp, int(pick.lognormvariate(7, 1)) + 1, pick.randrange(1, 200)])
    return path


def expected_series(events: Iterable[Mapping[str, Any]]) -> dict[str, dict[Labels, float]]:
    """What each family must show for these events, every one of which happened once."""
    cost: Counter[Labels] = Counter()
    requests: Counter[Labels] = Counter()
    tokens: Counter[Labels] = Counter()
    for event in events:
        call = {
            "provider": event["provider"],
            "model": event["model"],
            "tenant_id": event["tenant_id"],
        }
        if event.get("environment"):
            call["environment"] = event["environment"]
        cost[_labels(call, category="llm_api")] += cost_usd(event)  # type: ignore[assignment]
        requests[_labels(call, status=event.get("status", "ok"))] += 1
        for name, count in event["tokens"].items():
            if count:
                tokens[_labels(call, token_class=name)] += count
    return {
        "llm_cost_total": _floats(cost),
        "llm_cost_month_to_date": _floats(cost),
        "llm_cost_day_to_date": _floats(cost),
        "llm_requests_total": _floats(requests),
        "llm_tokens_total": _floats(tokens),
    }


def _labels(call: Mapping[str, str], **more: str) -> Labels:
    return tuple(sorted({**call, **more}.items()))


def _floats(sums: Mapping[Labels, Decimal | int]) -> dict[Labels, float]:
    return {labels: float(value) for labels, value in sums.items()}
