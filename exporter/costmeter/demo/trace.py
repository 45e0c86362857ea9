"""A made-up platform: who calls which model how often, from a seed.

The same seed and the same hours give the same calls, on every machine and every Python.
A workload's calls follow the rhythm of a day; its token counts are spread log-normally,
as those of real traces are.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

SEED = 2026
MS_PER_HOUR = 3_600_000

#: Share of an average hour's calls, from 00:00 to 23:00 UTC; each adds up to 24.
OFFICE = (
    0.2, 0.1, 0.1, 0.1, 0.2, 0.3, 0.6, 1.1, 1.7, 2.0, 2.1, 1.9,
    1.5, 1.7, 2.0, 2.0, 1.8, 1.4, 1.0, 0.7, 0.5, 0.4, 0.3, 0.3,
)  # fmt: skip
EVENING = (
    0.9, 0.6, 0.4, 0.3, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1,
    1.2, 1.1, 1.0, 1.0, 1.1, 1.3, 1.6, 1.8, 1.9, 1.7, 1.4, 1.0,
)  # fmt: skip
NIGHT = (3.4, 4.1, 4.3, 4.0, 3.1, 1.5) + (0.2,) * 18
STEADY = (1.0,) * 24


class Workload(NamedTuple):
    """One feature of one tenant on one model. Tokens are medians of a call."""

    tenant_id: str
    environment: str
    team: str
    feature: str
    provider: str
    model: str
    calls_per_hour: int
    rhythm: tuple[float, ...]
    tokens: dict[str, int]
    errors: float = 0.01
    latency_ms: int = 900


#: Ten workloads of four tenants; some 7 USD and 640 calls an hour on average.
WORKLOADS: Sequence[Workload] = (
    Workload("acme", "prod", "search", "answers", "openai", "gpt-4o", 110, OFFICE,
             {"input": 990, "cache_read": 810, "output": 330}, 0.012),
    Workload("acme", "prod", "support", "chat", "anthropic", "claude-sonnet-4-5", 80, EVENING,
             {"input": 900, "cache_read": 5_200, "cache_write_5m": 400, "output": 420},
             0.008, 2_400),
    Workload("acme", "dev", "research", "agent", "openai", "gpt-5-mini", 30, OFFICE,
             {"input": 2_600, "cache_read": 7_000, "output": 700, "reasoning": 900}, 0.05, 4_100),
    Workload("bolt", "prod", "catalog", "classify", "openai", "gpt-4o-mini", 120, STEADY,
             {"input": 720, "output": 60}, 0.004, 450),
    Workload("bolt", "prod", "marketing", "copy", "google", "gemini-2.5-flash", 70, OFFICE,
             {"input": 1_500, "output": 520, "reasoning": 300}, 0.01, 1_300),
    Workload("bolt", "prod", "finance", "reports", "openai", "gpt-4.1", 60, NIGHT,
             {"input": 11_000, "cache_read": 4_000, "output": 900}, 0.02, 6_500),
    Workload("cobalt", "prod", "legal", "review", "google", "gemini-2.5-pro", 50, OFFICE,
             {"input": 8_500, "output": 1_150, "reasoning": 800}, 0.015, 9_000),
    Workload("cobalt", "prod", "platform", "embed", "openai", "text-embedding-3-small", 50, STEADY,
             {"input": 2_900}, 0.002, 120),
    Workload("cobalt", "staging", "platform", "evals", "deepseek", "deepseek-chat", 30, NIGHT,
             {"input": 2_400, "cache_read": 1_900, "output": 320}, 0.03, 3_000),
    # The company's own fine-tuned model: nobody has told costmeter its price yet.
    Workload("delta", "prod", "assist", "chat", "vllm", "delta-chat-7b", 40, EVENING,
             {"input": 1_400, "output": 260}, 0.01, 700),
)  # fmt: skip

#: An agent in a loop: a long context read again and again, by a dear model.
RUNAWAY = Workload(
    "acme", "dev", "research", "agent", "anthropic", "claude-opus-4-1", 0, STEADY,
    {"input": 8_000, "cache_read": 110_000, "cache_write_5m": 6_000, "output": 2_400}, 0.0, 21_000,
)  # fmt: skip


class Call(NamedTuple):
    """One call; `event` is a usage event without `request_id` and `timestamp`."""

    at_ms: int
    event: dict[str, Any]


def calls_of_hour(hour: int, *, length_ms: int = MS_PER_HOUR, seed: int = SEED) -> list[Call]:
    """The calls of one hour, counted from 1970, in order; `at_ms` from its beginning.

    With a shorter `length_ms` the hour is cut out of the day's rhythm, not squeezed: the
    calls come at the same rate, and there are fewer of them.
    """
    calls = []
    for number, workload in enumerate(WORKLOADS):
        pick = random.Random(f"{seed}/{number}/{hour}/{length_ms}")  # noqa: S311 - a trace, no secret
        mean = workload.calls_per_hour * workload.rhythm[hour % 24] * length_ms / MS_PER_HOUR
        at_ms = _gap(pick, mean, length_ms)
        while at_ms < length_ms:
            calls.append(Call(int(at_ms), _event(workload, pick)))
            at_ms += _gap(pick, mean, length_ms)
    return sorted(calls, key=lambda call: call.at_ms)


def history(start_ms: int, end_ms: int, seed: int = SEED) -> Iterator[Call]:
    """The calls of [start, end), in order, dated in Unix milliseconds."""
    for hour in range(start_ms // MS_PER_HOUR, -(-end_ms // MS_PER_HOUR)):
        for call in calls_of_hour(hour, seed=seed):
            at_ms = hour * MS_PER_HOUR + call.at_ms
            if start_ms <= at_ms < end_ms:
                yield Call(at_ms, call.event)


def runaway(seed: int = SEED) -> Iterator[dict[str, Any]]:
    """Events of the agent in a loop, without end."""
    pick = random.Random(f"{seed}/runaway")  # noqa: S311
    while True:
        yield _event(RUNAWAY, pick)


def stamp(at_ms: int) -> str:
    """Unix milliseconds as RFC 3339."""
    whole = datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{at_ms % 1_000:03d}Z"


def _gap(pick: random.Random, mean: float, length_ms: int) -> float:
    """Time to the next call of a Poisson stream with `mean` calls in `length_ms`."""
    return pick.expovariate(mean / length_ms)


def _event(workload: Workload, pick: random.Random) -> dict[str, Any]:
    failed = pick.random() < workload.errors
    # One factor for the whole call: a long question has a long context, too.
    size = pick.lognormvariate(0, 0.5)
    tokens = {
        name: max(1, round(median * size * pick.lognormvariate(0, 0.3)))
        for name, median in workload.tokens.items()
    }
    if failed:
        # Refused or broken off: what was sent is counted, an answer never came.
        tokens = {name: count for name, count in tokens.items() if name == "input"}
    elif "cache_read" in tokens and pick.random() < 0.25:
        # A quarter of the calls finds the cache cold.
        tokens["input"] += tokens.pop("cache_read")
    return {
        "provider": workload.provider,
        "model": workload.model,
        "tenant_id": workload.tenant_id,
        "environment": workload.environment,
        "team": workload.team,
        "feature": workload.feature,
        "user_id": f"{workload.tenant_id}-{int(math.sqrt(pick.random() * 900)):02d}",
        "status": "error" if failed else "ok",
        "latency_ms": round(workload.latency_ms * size * pick.lognormvariate(0, 0.25)),
        "tokens": tokens,
    }
