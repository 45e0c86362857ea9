"""What each source makes of its provider's rows: exact, and the same however it is written."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from costmeter.model import BillLine, Usage
from costmeter.sources.contract import OwnerRule, Page, SourceError
from costmeter.sources.openai import completion_tokens
from costmeter.sources.registry import make
from fakes.anthropic_admin import AnthropicAdmin, tokens
from fakes.anthropic_admin import cost as claude_cost
from fakes.litellm_proxy import LiteLLMProxy, day, metrics
from fakes.openai_admin import OpenAIAdmin, completions, cost
from fakes.openrouter import OpenRouterApi, activity
from fakes.reports import Fault, Reports, serving
from sources.rig import DAY, HOUR, TODAY, pages, settings

YESTERDAY = TODAY - DAY


def read(
    kind: str, fake: Reports, path: str = "", **changes: Any
) -> tuple[list[Usage], list[BillLine]]:
    with serving(fake):
        found = pages(make(kind, settings(fake, path=path, **changes)), YESTERDAY, TODAY + DAY)
    return [u for p in found for u in p.usages], [line for p in found for line in p.lines]


@pytest.mark.parametrize(
    ("written", "nano"),
    [
        ("12.50", 12_500_000_000),
        (12.5, 12_500_000_000),
        (0, 0),
        ("-3.25", -3_250_000_000),
        ("1e-9", 1),
        (1e-09, 1),
        ("0.0000000005", 0),
        ("0.0000000015", 2),
        (0.1, 100_000_000),
        ("123456789.123456789", 123_456_789_123_456_789),
    ],
)
def test_openai_amounts(written: Any, nano: int) -> None:
    fake = OpenAIAdmin()
    fake.costs = [(YESTERDAY, cost(written))]
    _, (line,) = read("openai", fake, "/v1")
    assert (line.usd_nano, line.currency) == (nano, "USD")
    assert Decimal(line.amount) == Decimal(str(written))
    assert line.charge == ("credit" if nano < 0 else "usage")


@pytest.mark.parametrize("written", ["", "x", True, [], "NaN", "1e99", {"value": 1}])
def test_openai_amounts_that_are_none(written: Any) -> None:
    fake = OpenAIAdmin()
    fake.costs = [(YESTERDAY, cost(written))]
    with pytest.raises(SourceError, match=r"amount\.value: ") as caught:
        read("openai", fake, "/v1")
    assert caught.value.reason == "malformed"


def test_openai_nulls_charge_nothing_and_empty_buckets_say_nothing() -> None:
    fake = OpenAIAdmin()
    fake.results_key = "result"  # as older texts have it
    fake.costs = [
        (YESTERDAY, cost(None)), (YESTERDAY, {**cost(1), "amount": None}),
        (YESTERDAY, cost("2", line_item=None)),  # type: ignore[arg-type]
        (YESTERDAY, {**cost("3"), "amount": {"value": "3", "currency": "eur"}}),
    ]  # fmt: skip
    usages, lines = read("openai", fake, "/v1")
    assert usages == []
    assert [(line.amount, line.currency, line.usd_nano) for line in lines] == [
        ("2", "USD", 2_000_000_000), ("3", "EUR", None),
    ]  # fmt: skip


def test_openai_lines_know_model_project_and_owner() -> None:
    fake = OpenAIAdmin()
    fake.costs = [
        (YESTERDAY, cost("1", "gpt-5-2025-08-07, cached input", "proj_s")),
        (YESTERDAY, cost("2", "gpt-5-2025-08-07, cached input", "proj_s")),
        (YESTERDAY, cost("4", "web search tool calls", "proj_b")),
    ]
    owners = (OwnerRule(project="proj_s*", tenant_id="acme", team="search"),)
    _, lines = read("openai", fake, "/v1", owners=owners, account="org-1", tenant_id="rest")
    assert [
        (one.amount, one.labels.model, one.labels.tenant_id, one.labels.team) for one in lines
    ] == [
        ("3", "gpt-5-2025-08-07", "acme", "search"), ("4", "", "rest", ""),
    ]  # fmt: skip
    assert {one.labels.account for one in lines} == {"org-1"}
    assert len({one.line for one in lines}) == 2


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"input_tokens": 10, "output_tokens": 3}, {"input": 10, "output": 3}),
        (
            {"input_tokens": 1000, "output_tokens": 250, "input_cached_tokens": 600,
             "input_uncached_tokens": 380, "input_cache_write_tokens": 20},
            {"input": 380, "cache_read": 600, "cache_write_5m": 20, "output": 250},
        ),
        (
            {"input_tokens": 100, "output_tokens": 50, "input_cached_tokens": 30,
             "input_audio_tokens": 40, "input_cached_audio_tokens": 10, "output_audio_tokens": 20,
             "input_image_tokens": None},
            {"input": 30, "input_audio": 40, "cache_read": 20, "cache_read_audio": 10,
             "output": 30, "output_audio": 20},
        ),
        ({"input_tokens": "7", "output_tokens": 2.0}, {"input": 7, "output": 2}),
    ],
)  # fmt: skip
def test_openai_classes_are_disjoint(row: dict[str, Any], expected: dict[str, int]) -> None:
    row = {k: Decimal(str(v)) if isinstance(v, float) else v for k, v in row.items()}
    found = completion_tokens(row)
    assert {name: n for name, n in found.items() if n} == expected


def test_openai_parts_that_are_more_than_their_whole() -> None:
    with pytest.raises(SourceError, match="input_cached_tokens: more than"):
        completion_tokens({"input_tokens": 5, "input_cached_tokens": 6})


def test_openai_other_kinds_and_processing() -> None:
    fake = OpenAIAdmin()
    at = YESTERDAY + HOUR
    plain = {"project_id": "p", "model": "m", "api_key_id": "k", "num_model_requests": 3}
    fake.usage = {
        "completions": [
            (at, completions(input_tokens=1, batch=True)),
            (at, completions(input_tokens=1, service_tier="flex")),
            (at, completions(input_tokens=1, user_id="u")),
        ],
        "embeddings": [(at, {**plain, "input_tokens": 9})],
        "images": [(at, {**plain, "images": 2})],
        "audio_speeches": [(at, {**plain, "characters": 70})],
        "audio_transcriptions": [(at, {**plain, "seconds": 12})],
        "web_search_calls": [(at, {**plain, "num_requests": 4})],
        "file_search_calls": [(at, {"project_id": "p", "num_requests": 5})],
        "code_interpreter_sessions": [(at, {"project_id": "p", "num_sessions": 6})],
    }
    usages, _ = read("openai", fake, "/v1")
    assert [usage.processing for usage in usages[:3]] == ["batch", "flex", "standard"]
    assert {k: v for u in usages[3:] for k, v in u.quantities.items() if k != "requests"} == {
        "input": 9, "unmetered_calls": 2, "input_characters": 70, "input_audio_ms": 12_000,
        "web_searches": 4, "storage_searches": 5, "code_executions": 6,
    }  # fmt: skip
    assert len({usage.event_id for usage in usages}) == len(usages)
    assert all(u.user_id == "" for u in usages)


@pytest.mark.parametrize(
    ("written", "nano"),
    [("123.45", 1_234_500_000), ("0.0001", 1_000), (100, 10**9), ("-50", -5 * 10**8)],
)
def test_anthropic_amounts_are_cents(written: Any, nano: int) -> None:
    fake = AnthropicAdmin()
    fake.costs = [(YESTERDAY, claude_cost(written))]
    _, (line,) = read("anthropic", fake)
    assert line.usd_nano == nano
    assert Decimal(line.amount) * 10**9 == nano


def test_anthropic_usage() -> None:
    fake = AnthropicAdmin()
    row = tokens(
        uncached_input_tokens=1_500, cache_read_input_tokens=4_000, output_tokens=700,
        cache_creation={"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 20},
        server_tool_use={"web_search_requests": 2}, service_tier="batch",
    )  # fmt: skip
    fake.messages = [(YESTERDAY, row), (YESTERDAY, tokens(server_tool_use=None, output_tokens=1))]
    (batch, plain), _ = read("anthropic", fake)
    assert dict(batch.quantities) == {
        "input": 1_500, "cache_read": 4_000, "cache_write_5m": 300, "cache_write_1h": 20,
        "output": 700, "web_searches": 2,
    }  # fmt: skip
    assert (batch.processing, plain.processing) == ("batch", "standard")
    assert batch.labels.project == "default"
    assert batch.detail == '{"aggregate": true, "context_window": "0-200k"}'


def test_anthropic_analytics_rows_lie_on_several_pages() -> None:
    fake = AnthropicAdmin()
    fake.page_size = 2
    fake.refreshed = "2026-11-22T08:20:00Z"
    usage = {"uncached_input_tokens": 10, "output_tokens": 1, "requests": 3}
    fake.rows["usage"] = [
        (TODAY + 7 * HOUR, {"group": {"model": f"m{n}", "workspace_id": None}, "usage": usage})
        for n in range(3)
    ] + [(TODAY + 8 * HOUR, {"group": {"model": "m0"}, "usage": usage})]
    fake.rows["cost"] = [
        (YESTERDAY, {"group": {"model": f"m{n}", "token_type": "output_tokens"},
                     "cost": {"amount": "88.10", "list_amount": "97.90", "currency": "USD"}})
        for n in range(5)
    ]  # fmt: skip
    usages, lines = read("anthropic", fake, options={"api": "analytics"})
    assert [u.labels.model for u in usages] == ["m0", "m1", "m2"]  # 8:00 is not refreshed whole
    assert usages[0].quantities["requests"] == 3
    assert sum(line.usd_nano or 0 for line in lines) == 5 * 881_000_000
    assert {asked.headers["anthropic-beta"] for asked in fake.asked} == {
        "analytics-usage-cost-2026-08-24"
    }


def test_openrouter_day_by_day_and_never_today() -> None:
    fake = OpenRouterApi("2026-11-22")
    fake.days["2026-11-21"] = [activity(0.015), activity("0.5", "x/y", byok_usage_inference=9)]
    usages, lines = read("openrouter", fake, "/api/v1")
    assert [asked.query["date"] for asked in fake.asked] == [["2026-11-21"]]
    assert [line.usd_nano for line in lines] == [15_000_000, 500_000_000]
    assert dict(usages[0].quantities) == {
        "input": 50, "output": 100, "reasoning": 25, "requests": 5
    }  # fmt: skip


def test_openrouter_another_day_than_asked_for_is_refused() -> None:
    fake = OpenRouterApi("2026-11-22")
    fake.faults.append(Fault(change=lambda _: {"data": [{"date": "2026-11-20", **activity(1)}]}))
    with pytest.raises(SourceError, match="date: is not the day that was asked for"):
        read("openrouter", fake, "/api/v1")


def test_litellm_days_on_two_pages_keys_and_the_rest() -> None:
    fake = LiteLLMProxy()
    fake.page_size = 1
    keyed = {
        "metrics": metrics(3.0, 30, 3),
        "breakdown": {"models": {"openai/gpt-5": {
            "metrics": metrics(2.0, 30, 3),
            "api_key_breakdown": {
                "h1": {"metrics": metrics(1.5, 20, 2),
                       "metadata": {"key_alias": "app", "team_id": "t"}},
                "h2": {"metrics": metrics(0.5, 10, 1), "metadata": None},
            },
        }}},
    }  # fmt: skip
    fake.rows = [
        ("2026-11-21", day("gpt-5", metrics(0.1, 100, 9, read=60, written=30))),
        ("2026-11-21", keyed),
    ]
    owners = (OwnerRule(api_key="app", tenant_id="acme"),)
    usages, lines = read("litellm", fake, owners=owners)
    assert sum(line.usd_nano or 0 for line in lines) == 3_100_000_000
    assert [line.amount for line in lines] == ["0.1", "1.5", "0.5", "1"]
    assert {line.basis for line in lines} == {"list"}
    assert dict(usages[0].quantities) == {
        "input": 10, "cache_read": 60, "cache_write_5m": 30, "output": 9, "requests": 1
    }  # fmt: skip
    assert [(u.labels.provider, u.labels.model, u.labels.tenant_id) for u in usages[1:]] == [
        ("openai", "gpt-5", "acme"), ("openai", "gpt-5", "default"),
    ]  # fmt: skip


def test_litellm_the_same_page_again_is_an_error() -> None:
    fake = LiteLLMProxy()
    fake.rows = [("2026-11-21", day("m", metrics(1, 1, 1)))]
    again = Fault(change=lambda a: {**a, "metadata": {"total_pages": 9, "has_more": True}})
    fake.faults.extend(
        [
            again,
            Fault(
                change=lambda a: {
                    **a,
                    "results": [{"date": "2026-11-21", **day("m", metrics(1, 1, 1))}],
                    "metadata": {"has_more": True},
                }
            ),
        ]
    )
    with pytest.raises(SourceError, match="a page came twice"):
        read("litellm", fake)


def covered(found: list[Page]) -> Iterator[tuple[str, int, int]]:
    for stream in dict.fromkeys(page.stream for page in found):
        own = [page for page in found if page.stream == stream]
        for one, other in pairwise(own):
            assert one.until_ms == other.since_ms
        yield stream, own[0].since_ms // 1000, own[-1].until_ms // 1000


def test_pages_cover_the_time_without_gap_or_overlap() -> None:
    fake = OpenAIAdmin()
    fake.page_size = 7
    with serving(fake):
        chosen = settings(fake, path="/v1", options={"usage": "completions"})
        found = pages(make("openai", chosen), YESTERDAY, TODAY + DAY)
    assert list(covered(found)) == [
        ("completions", YESTERDAY, TODAY + 10 * HOUR), ("costs", YESTERDAY, TODAY + DAY),
    ]  # fmt: skip
