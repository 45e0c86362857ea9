"""The platform's accounting: budgets that make sense for it, prices of its own, its history."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import yaml

from costmeter.model import (
    MS_PER_DAY,
    MS_PER_HOUR,
    NANO_PER_USD,
    UNATTRIBUTED,
    Labels,
    Posting,
    Usage,
)
from costmeter.pricing import PriceBook, load_price_book
from simulation.scenario import Scenario
from simulation.workloads import Workload, expected_nano, labels_of, rate

#: What else the platform runs on, in USD a day: category, provider, model, tenant, amount.
FIXED_COSTS = (
    ("managed_services", "aws", "vector-search", "acme", 18),
    ("managed_services", "aws", "vector-search", "northwind", 11),
    ("storage", "aws", "prompt-archive", UNATTRIBUTED, 6),
    ("software_license", "observability", "seats", UNATTRIBUTED, 9),
)

#: What the platform's GPU machines cost a day, about.
_GPU_USD_A_DAY = 190

_CONTRACT = {
    "provider": "mistral",
    "model": "mistral-large-latest",
    "source": "contract of the platform",
    "usd_per_million": {"input": 1.6, "output": 4.8},
}
_OWN_MODEL = {
    "provider": "vllm",
    "model": "umbra-notes-13b",
    "source": "calculation of the platform",
    "usd_per_million": {"input": 0.4, "output": 1.2},
}
#: Meant per thousand tokens, and written down per million.
MISTYPED = {
    "provider": "google",
    "model": "contract-reader",
    "source": "an offer, mistyped",
    "usd_per_million": {"input": 2_500, "output": 6_000},
}


def settings(
    folder: Path, scenario: Scenario, workloads: Sequence[Workload], prices: int
) -> dict[str, object]:
    """The configuration as the file has it; `prices` is how many own prices are known."""
    found: dict[str, object] = {
        "ledger": {"path": str(folder / "ledger.db"), "extra_labels": ["team", "feature"]},
        "gpu": {"enabled": "false"},
        # Prices only change with a restart; looking more often would only cost time.
        "jobs": {"budgets_seconds": 60, "repricing_seconds": 1800},
        "budgets": _budgets(scenario, workloads),
    }
    # Thousands of forecasts would be most of every page.
    found["forecast"] = {"most_scopes": 12, "enabled": scenario.analysis}
    found["anomalies"] = {"enabled": scenario.analysis}
    if prices:
        path = folder / f"prices-{prices}.yml"
        path.write_text(
            yaml.safe_dump({"prices": [MISTYPED, _CONTRACT, _OWN_MODEL][: prices + 1]}), "utf-8"
        )
        found["prices"] = {"files": [str(path)]}
    return found


def history(scenario: Scenario, workloads: Sequence[Workload], prices: PriceBook) -> list[Usage]:
    """The calls from the beginning of the month before until the start: one record an hour.

    Many calls as one would be taken for a call with a huge context, which costs more; so
    its tokens are scaled to what they cost one by one.
    """
    found = []
    span = (scenario.start_ms, scenario.end_ms)
    pick = random.Random(f"{scenario.seed}/history")
    for number, workload in enumerate(workloads):
        for hour_ms in range(_month_before(scenario.start_ms), scenario.start_ms, MS_PER_HOUR):
            until_ms = min(hour_ms + MS_PER_HOUR, scenario.start_ms)
            wanted = expected_nano(workload, prices, hour_ms, until_ms, *span)
            calls = rate(workload, hour_ms + MS_PER_HOUR // 2, *span)
            if not wanted:
                continue
            usage = Usage(
                f"f:history:{number}-{hour_ms}", hour_ms, "history", labels_of(workload),
                {name: round(count * calls) for name, count in workload.tokens.items()},
            )  # fmt: skip
            (priced,) = prices.price_batch([usage])
            assert priced is not None
            # As many calls as come by chance, each about half as large or twice.
            scale = wanted / priced[1] * pick.lognormvariate(0, min(1.0, 0.5 / math.sqrt(calls)))
            scaled = {name: round(count * scale) for name, count in usage.quantities.items()}
            found.append(usage._replace(quantities=scaled))
    return found


def fixed_costs(day_ms: int) -> list[Posting]:
    """A day's entries of what is paid by time."""
    hour_ms = day_ms - day_ms % MS_PER_HOUR
    return [
        Posting(
            f"fixed-{category}-{tenant}-{day_ms}", hour_ms, "fixed",
            _labels(category, provider, model, tenant), amount * NANO_PER_USD,
        )
        for category, provider, model, tenant, amount in FIXED_COSTS
    ]  # fmt: skip


def goodwill(at_ms: int) -> Posting:
    """What a provider gives back after a bad day: a credit."""
    labels = _labels("llm_api", "openai", "gpt-5", "globex")._replace(
        purpose="inference", team="research", feature="agent", operation="generation"
    )
    return Posting("goodwill-1", at_ms - at_ms % MS_PER_HOUR, "bill", labels, -180 * NANO_PER_USD)


def _labels(category: str, provider: str, model: str, tenant: str) -> Labels:
    return Labels(tenant, category, "", provider, "", "", model, "prod", "", "", "", "", "")


def _budgets(scenario: Scenario, workloads: Sequence[Workload]) -> dict[str, object]:
    """Limits in proportion to what is to be expected, so that each budget has its own story.

    Acme's is crossed when 82 % of the month so far have passed, Initech's is 85 % spent,
    Northwind's lasts until just now and Anthropic's is in no danger. Research has planned for an
    evaluation three days ago and for another one now; a week, a day and a quarter go by others.
    """
    prices = load_price_book()
    end_ms = scenario.end_ms
    month_ms = _month_of(end_ms)
    day_ms = end_ms - end_ms % MS_PER_DAY
    week_ms = day_ms - datetime.fromtimestamp(day_ms / 1000, UTC).weekday() * MS_PER_DAY

    def expected(until_ms: int, since_ms: int = month_ms, **match: str) -> float:
        chosen = [w for w in workloads if all(getattr(w, k) == v for k, v in match.items())]
        return _expected(chosen, prices, since_ms, until_ms, scenario) / NANO_PER_USD

    def budget(name: str, limit_usd: float, **more: object) -> list[dict[str, object]]:
        # Other tenants than the named ones exist when there are many, and these only when few.
        limit = max(10, round(limit_usd, -1))
        return [{"name": name, "limit_usd": limit, **more}] if limit_usd else []

    crossed_ms = month_ms + round(0.82 * (end_ms - month_ms))
    research = expected(end_ms, team="research") / 0.72
    whole = expected(end_ms) * 31 * MS_PER_DAY / (end_ms - month_ms) + 8_000
    gpu_days = (end_ms - max(scenario.start_ms, _quarter_of(end_ms))) / MS_PER_DAY
    items = [
        *budget("acme", expected(crossed_ms, tenant_id="acme"), tenant_id="acme",
                owner="Ada Okafor", notify=[{"to": "#acme-costs"}]),
        *budget("initech", expected(end_ms, tenant_id="initech") / 0.85, tenant_id="initech",
                owner="Peter Gibbons", notify=[{"to": "#initech-costs"}]),
        *budget("northwind", 1.02 * expected(end_ms, tenant_id="northwind"),
                tenant_id="northwind", owner="Nancy Davolio"),
        *budget("anthropic", expected(end_ms, provider="anthropic") / 0.7, provider="anthropic",
                owner="Platform", notify=[{"to": "#platform"}]),
        *budget("staging", expected(end_ms, environment="staging") / 0.4, environment="staging",
                owner="Platform"),
        *budget("research", research, tenant_id="globex", team="research", owner="Grace Lindqvist",
                planned=[_plan("evaluation", research / 40, day_ms - 3 * MS_PER_DAY, 2),
                         _plan("regression", research / 60, day_ms, 10),
                         _plan("month-end", research / 30, day_ms + 4 * MS_PER_DAY, 2)]),
        *budget("search", expected(end_ms, week_ms, team="search") / 0.66, team="search",
                period="week", owner="Chen Wei"),
        *budget("chat", expected(end_ms, day_ms, feature="chat") / 0.55, feature="chat",
                period="day", owner="Ada Okafor"),
        *budget("gpus", _GPU_USD_A_DAY * gpu_days / 0.62, category="gpu_compute",
                period="quarter", owner="Platform"),
    ]  # fmt: skip
    api = expected(end_ms)
    return {
        "monthly_usd": max(1_000, round(whole, -3)),
        "items": items,
        "categories": [
            {"category": "llm_api", "warning_usd": round(0.94 * api, -2) or 100,
             "critical_usd": round(1.5 * api, -2) + 200},
            {"category": "managed_services", "warning_usd": 900, "critical_usd": 1_200},
            {"category": "gpu_compute", "warning_usd": 6_000},
        ],
    }  # fmt: skip


def _plan(name: str, amount: float, day_ms: int, hour: int) -> dict[str, object]:
    """Spend that is known beforehand, for eight hours from an hour of a day on."""
    at = datetime.fromtimestamp(day_ms / 1000, UTC).replace(hour=hour)
    return {
        "name": name,
        "amount": max(1, round(amount)),
        "at": at.strftime("%Y-%m-%dT%H:%M"),
        "hours": 8,
    }


def _expected(
    workloads: Sequence[Workload], prices: PriceBook, from_ms: int, to_ms: int, scenario: Scenario
) -> int:
    return sum(
        expected_nano(workload, prices, from_ms, to_ms, scenario.start_ms, scenario.end_ms)
        for workload in workloads
    )


def _month_of(at_ms: int) -> int:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()) * 1000


def _quarter_of(at_ms: int) -> int:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    first = datetime(moment.year, (moment.month - 1) // 3 * 3 + 1, 1, tzinfo=UTC)
    return int(first.timestamp()) * 1000


def _month_before(at_ms: int) -> int:
    return _month_of(_month_of(at_ms) - 1)
