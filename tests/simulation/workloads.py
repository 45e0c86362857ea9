"""Who calls which model how often: a platform's tenants and the rhythms of their work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from costmeter.model import MS_PER_DAY, MS_PER_HOUR, Labels, Usage
from costmeter.pricing import PriceBook

#: Share of an average hour's calls, from 00:00 to 23:00 UTC.
OFFICE = (
    0.1, 0.1, 0.1, 0.1, 0.2, 0.3, 0.7, 1.4, 2.1, 2.4, 2.3, 2.0,
    1.6, 2.0, 2.3, 2.2, 1.8, 1.1, 0.5, 0.3, 0.2, 0.1, 0.1, 0.1,
)  # fmt: skip
AMERICAN = OFFICE[-6:] + OFFICE[:-6]
EVENING = (
    0.9, 0.6, 0.4, 0.3, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1,
    1.2, 1.1, 1.0, 1.0, 1.1, 1.3, 1.6, 1.8, 1.9, 1.7, 1.4, 1.0,
)  # fmt: skip
NIGHTLY = (0.1, 3.6, 5.5, 6.2, 5.0, 2.6, 0.3) + (0.04,) * 17
STEADY = (1.0,) * 24


class Workload(NamedTuple):
    """One feature of one tenant on one model; `tokens` are those of a middling call.

    `weekend` is the share of calls on Saturday and Sunday, `growth` that of a week over the
    week before. `since` and `until` are shares of the simulated time.
    """

    tenant_id: str
    environment: str
    team: str
    feature: str
    provider: str
    model: str
    feed: str
    calls_per_hour: float
    rhythm: tuple[float, ...]
    weekend: float
    tokens: Mapping[str, int]
    errors: float = 0.01
    latency_ms: int = 1_500
    growth: float = 1.0
    since: float = 0.0
    until: float = 1.0


WORKLOADS: Sequence[Workload] = (
    Workload("acme", "prod", "support", "chat", "anthropic", "claude-sonnet-4-5", "gateway",
             70, EVENING, 0.8,
             {"input": 8_000, "cache_read": 36_000, "cache_write_5m": 4_000, "output": 1_900},
             0.008, 4_200),
    Workload("acme", "prod", "search", "answers", "openai", "gpt-4o", "gateway",
             60, OFFICE, 0.35, {"input": 12_000, "cache_read": 9_000, "output": 1_400},
             0.012, 2_300),
    Workload("acme", "prod", "search", "classify", "openai", "gpt-4o-mini", "gateway",
             60, STEADY, 0.9, {"input": 14_000, "output": 500}, 0.004, 700),
    Workload("acme", "staging", "support", "evals", "anthropic", "claude-haiku-4-5", "batch",
             15, NIGHTLY, 1.0, {"input": 24_000, "output": 2_500}, 0.02, 5_000),
    Workload("globex", "prod", "research", "agent", "openai", "gpt-5", "gateway",
             42, AMERICAN, 0.3,
             {"input": 40_000, "cache_read": 90_000, "output": 4_000, "reasoning": 6_000},
             0.03, 21_000),
    Workload("globex", "prod", "data", "extract", "google", "gemini-2.5-flash", "batch",
             50, NIGHTLY, 1.0, {"input": 45_000, "output": 3_000, "reasoning": 1_500}, 0.01, 6_000),
    Workload("northwind", "prod", "legal", "review", "google", "gemini-2.5-pro", "sdk",
             28, OFFICE, 0.05,
             {"input": 70_000, "output": 4_500, "reasoning": 4_000}, 0.015, 24_000, 1.06),
    Workload("northwind", "prod", "platform", "embed", "openai", "text-embedding-3-small",
             "gateway", 35, STEADY, 0.8, {"input": 240_000}, 0.002, 350),
    Workload("initech", "prod", "engineering", "code-assist", "anthropic", "claude-sonnet-4-5",
             "sdk", 52, OFFICE, 0.1,
             {"input": 16_000, "cache_read": 110_000, "cache_write_1h": 7_000, "output": 4_500},
             0.01, 15_000, 1.04),
    Workload("initech", "staging", "engineering", "ci-review", "anthropic", "claude-haiku-4-5",
             "sdk", 18, OFFICE, 0.1, {"input": 30_000, "cache_read": 30_000, "output": 2_000},
             0.02, 6_000),
    Workload("stellar", "prod", "risk", "memos", "mistral", "mistral-large-latest", "sdk",
             22, OFFICE, 0.1, {"input": 26_000, "output": 3_000}, 0.01, 8_000),
    Workload("stellar", "prod", "risk", "scoring", "openai", "o4-mini", "gateway",
             16, STEADY, 0.6, {"input": 24_000, "output": 1_200, "reasoning": 9_000}, 0.01, 18_000),
    Workload("hooli", "prod", "marketing", "copy", "google", "gemini-2.5-flash", "sdk",
             32, EVENING, 0.9, {"input": 20_000, "output": 4_000}, 0.01, 3_500),
    Workload("pied-piper", "prod", "assistant", "chat", "openai", "gpt-4.1", "gateway",
             24, EVENING, 0.9, {"input": 16_000, "cache_read": 12_000, "output": 1_800},
             0.01, 3_800, 1.25, 0.2),
    # Fine-tuned and served by themselves; a price is told later for one, for the other never.
    Workload("umbra", "prod", "clinic", "notes", "vllm", "umbra-notes-13b", "sdk",
             18, OFFICE, 0.2, {"input": 9_000, "output": 1_100}, 0.005, 2_600, 1.0, 0.3),
    Workload("umbra", "staging", "clinic", "triage", "vllm", "umbra-triage-7b", "sdk",
             10, OFFICE, 0.2, {"input": 5_000, "output": 300}, 0.01, 1_200, 1.0, 0.55),
)  # fmt: skip

TENANTS = tuple(dict.fromkeys(workload.tenant_id for workload in WORKLOADS))

#: The tenant whose traffic triples for a day, and when: in shares of the simulated time.
SPIKE_TENANT, SPIKE_FROM, SPIKE_FACTOR = "globex", 0.62, 3.0


def workloads_of(tenants: int) -> tuple[Workload, ...]:
    """The workloads of so many tenants; beyond those with names, small ones of one kind."""
    named = set(TENANTS[:tenants])
    found = [workload for workload in WORKLOADS if workload.tenant_id in named]
    for number in range(len(TENANTS), tenants):
        pattern = WORKLOADS[number % len(WORKLOADS)]
        found.append(
            pattern._replace(tenant_id=f"customer-{number + 1:03d}", calls_per_hour=2, since=0.0)
        )
    return tuple(found)


def rate(workload: Workload, at_ms: int, start_ms: int, end_ms: int) -> float:
    """Calls an hour that are to be expected at an instant."""
    # What was called from the beginning was called before it, too: that is the history.
    share = max(0.0, (at_ms - start_ms) / (end_ms - start_ms))
    if not workload.since <= share < workload.until:
        return 0.0
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    calls = workload.calls_per_hour * workload.rhythm[moment.hour]
    if moment.weekday() >= 5:
        calls *= workload.weekend
    if workload.growth != 1.0:
        # Level in the middle, so that growth changes the shape and not the sum.
        calls *= float(workload.growth ** ((at_ms - (start_ms + end_ms) / 2) / (7 * MS_PER_DAY)))
    day_ms = SPIKE_FROM * (end_ms - start_ms) + start_ms
    day_ms -= day_ms % MS_PER_DAY
    if workload.tenant_id == SPIKE_TENANT and day_ms <= at_ms < day_ms + MS_PER_DAY:
        calls *= SPIKE_FACTOR
    return calls


def labels_of(workload: Workload) -> Labels:
    """The labels under which a workload's calls are kept."""
    return Labels(
        workload.tenant_id, "llm_api", "inference", workload.provider, "", "", workload.model,
        workload.environment, workload.team, "", "", workload.feature, "generation",
    )  # fmt: skip


def expected_nano(
    workload: Workload, prices: PriceBook, from_ms: int, to_ms: int, start_ms: int, end_ms: int
) -> int:
    """What its calls of [from, to) should cost about; 0 without a price."""
    call = Usage("", from_ms, "", labels_of(workload), dict(workload.tokens))
    (priced,) = prices.price_batch([call])
    if priced is None:
        return 0
    hours = range(from_ms + MS_PER_HOUR // 2, to_ms, MS_PER_HOUR)
    calls = sum(rate(workload, at_ms, start_ms, end_ms) for at_ms in hours)
    return round(priced[1] * calls)
