from __future__ import annotations

import json
from typing import Any

import pytest

from costmeter.ingest.events import EventReader
from costmeter.ingest.owner import REMEMBERED, Caller
from costmeter.ingest.refusal import Rejection
from costmeter.ingest.window import Window
from costmeter.model import TOKEN_CLASSES, UNIT_CLASSES, Labels, Usage
from fakes.calls import NOW, NOW_MS, call

ANYONE = Caller("http")
RESERVED = (
    "gpu_ms", "gpu_idle_ms", "gpu_unallocated_ms", "gpu_unobserved_ms", "gpu_energy_mj", "requests",
)  # fmt: skip


def read(*events: object, caller: Caller = ANYONE) -> tuple[list[Usage], list[Rejection]]:
    reader = EventReader(Window())
    batch = reader.read(json.dumps(events).encode(), caller, NOW_MS)
    return list(batch.items), list(batch.rejections)


def booked(**changes: Any) -> Usage:
    (usage,), rejections = read(call(**changes))
    assert rejections == []
    return usage


def refused(caller: Caller = ANYONE, **changes: Any) -> Rejection:
    usages, (rejection,) = read(call(**changes), caller=caller)
    assert usages == []
    return rejection


def test_the_smallest_event_gets_the_defaults() -> None:
    assert booked() == Usage(
        event_id="f:http:r-1",
        at_ms=NOW_MS,
        feed="http",
        labels=Labels(
            tenant_id="default",
            category="llm_api",
            purpose="inference",
            provider="openai",
            account="",
            region="",
            model="gpt-4o-mini",
            environment="",
            team="",
            project="",
            service="",
            feature="",
            operation="generation",
        ),
        quantities={"input": 1200, "output": 150},
    )


def test_every_field_reaches_its_place() -> None:
    usage = booked(
        response_id="chatcmpl-9",
        tenant_id="acme",
        account="org-1",
        region="eu",
        environment="prod",
        team="search",
        project="p1",
        service="web",
        feature="answers",
        operation="embedding",
        purpose="training",
        user_id="u1",
        session_id="s1",
        status="error",
        processing="batch",
        latency_ms=812,
        prompt_hash="abc",
        complexity=0.5,
        quality=1,
        tags={"run": "7"},
        tokens={"input": 1, "cache_read": 2, "output": 0},
        units={"web_searches": 1},
    )
    assert (
        usage[:-1]
        == Usage(
            event_id="p:openai:chatcmpl-9",
            at_ms=NOW_MS,
            feed="http",
            labels=Labels(
                "acme",
                "llm_api",
                "training",
                "openai",
                "org-1",
                "eu",
                "gpt-4o-mini",
                "prod",
                "search",
                "p1",
                "web",
                "answers",
                "embedding",
            ),
            quantities={"input": 1, "cache_read": 2, "web_searches": 1},
            status="error",
            latency_ms=812,
            processing="batch",
            user_id="u1",
            session_id="s1",
        )[:-1]
    )
    assert json.loads(usage.detail) == {
        "request_id": "r-1",
        "tags": {"run": "7"},
        "prompt_hash": "abc",
        "complexity": 0.5,
        "quality": 1.0,
    }


def test_every_class_can_be_sent_and_reserved_ones_cannot() -> None:
    tokens = {name: number for number, name in enumerate(TOKEN_CLASSES, start=1)}
    sent = [name for name in UNIT_CLASSES if name not in RESERVED]
    units = {name: number for number, name in enumerate(sent, start=1)}
    assert booked(tokens=tokens, units=units).quantities == tokens | units
    for name in RESERVED:
        rejection = refused(units={name: 1})
        assert (rejection.field, rejection.retriable) == (f"units.{name}", False)
        assert "reserved" in rejection.reason


def test_nulls_mean_the_same_as_nothing() -> None:
    event = call(usage=1, response=1)
    for name in (
        "response_id",
        "usage",
        "response",
        "units",
        "tenant_id",
        "account",
        "region",
        "team",
        "environment",
        "project",
        "service",
        "feature",
        "operation",
        "purpose",
        "user_id",
        "session_id",
        "status",
        "processing",
        "latency_ms",
        "prompt_hash",
        "complexity",
        "quality",
        "tags",
    ):
        event[name] = None
    usages, rejections = read(event)
    assert rejections == []
    assert usages == [booked()]


def test_an_event_without_tokens_is_a_call_that_used_nothing() -> None:
    assert booked(tokens={}, status="error").quantities == {}


@pytest.mark.parametrize(
    ("sent", "at_ms"),
    [
        (NOW, NOW_MS),
        ("2025-11-22T11:00:00+01:00", NOW_MS),
        ("2025-11-22T10:00:00.123999Z", NOW_MS + 123),
        (NOW_MS - 1, NOW_MS - 1),
        (NOW_MS - 7 * 86_400_000, NOW_MS - 7 * 86_400_000),
        (NOW_MS + 30_000, NOW_MS + 30_000),
    ],
)
def test_instants(sent: object, at_ms: int) -> None:
    assert booked(timestamp=sent).at_ms == at_ms


@pytest.mark.parametrize(
    ("sent", "code", "retriable", "says"),
    [
        (NOW_MS - 7 * 86_400_000 - 1, "too_old", False, "costmeter import"),
        ("1925-11-22T10:00:00Z", "too_old", False, "only the last 7 days"),
        (NOW_MS + 300_001, "future", True, "5 min in the future"),
        ("9999-12-31T23:59:59Z", "future", True, "clock"),
        (NOW_MS // 1000, "invalid", False, "seconds"),
        (NOW_MS * 1000, "invalid", False, "finer unit"),
        (10**30, "invalid", False, "finer unit"),
        ("2025-11-22T10:00:00", "invalid", False, "RFC 3339 with a zone"),
        ("yesterday", "invalid", False, "RFC 3339 with a zone"),
        (1.5, "invalid", False, "RFC 3339 with a zone"),
        (True, "invalid", False, "RFC 3339 with a zone"),
        (None, "missing", False, "RFC 3339 with a zone"),
    ],
)
def test_instants_that_are_refused(sent: object, code: str, retriable: bool, says: str) -> None:
    rejection = refused(timestamp=sent)
    assert (rejection.field, rejection.code, rejection.retriable) == ("timestamp", code, retriable)
    assert says in rejection.reason


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"tokens": None}, "tokens", "missing"),
        ({"request_id": None}, "request_id", "missing"),
        ({"request_id": "  "}, "request_id", "blank"),
        ({"response_id": "\t "}, "response_id", "control"),
        ({"provider": None}, "provider", "missing"),
        ({"provider": " "}, "provider", "missing"),
        ({"provider": "a:b"}, "provider", "colon"),
        ({"model": None}, "model", "missing"),
        ({"model": "m" * 201}, "model", "200"),
        ({"model": "a\u0007b"}, "model", "control"),
        ({"team": "a\u0085b"}, "team", "control"),
        ({"user_id": "a\nb"}, "user_id", "control"),
        ({"model": "_other"}, "model", "reserved"),
        ({"tokens": {"input": -1}}, "tokens.input", "0 to"),
        ({"tokens": {"input": True}}, "tokens.input", "integer"),
        ({"tokens": {"input": 1.0}}, "tokens.input", "integer"),
        ({"tokens": {"input": 10**9 + 1}}, "tokens.input", "1000000000"),
        ({"tokens": {"inptu": 1}}, "tokens.inptu", "cache_read"),
        ({"tokens": {"web_searches": 1}}, "tokens.web_searches", "input"),
        ({"tokens": []}, "tokens", "object"),
        ({"units": {"input": 1}}, "units.input", "web_searches"),
        ({"status": "fine"}, "status", "ok, error, aborted"),
        ({"processing": "slow"}, "processing", "standard, batch"),
        ({"latency_ms": -1}, "latency_ms", "integer"),
        ({"latency_ms": 1.5}, "latency_ms", "integer"),
        ({"complexity": 1.01}, "complexity", "0 to 1"),
        ({"quality": "good"}, "quality", "0 to 1"),
        ({"tags": {str(n): "" for n in range(33)}}, "tags", "32"),
        ({"tags": {"a": 1}}, "tags.a", "text"),
        ({"tags": {"a": "b\u0000"}}, "tags.a", "control"),
        ({"tags": {"a\u0000": "b"}}, "tags", "control"),
        ({"tenant": "acme"}, "tenant", "write tenant_id"),
        ({"tenantId": "acme"}, "tenantId", "write tenant_id"),
        ({"feed": "gateway"}, "feed", "credential"),
        ({"cost_usd": 1}, "cost_usd", "prices it itself"),
        ({"colour": 1}, "colour", "request_id"),
        ({"tenant_id": "_other"}, "tenant_id", "reserved"),
        ({"tenant_id": "unattributed"}, "tenant_id", "reserved"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], field: str, says: str) -> None:
    rejection = refused(**changes)
    assert rejection.field == field
    assert says in rejection.reason
    assert not rejection.retriable


def test_a_bad_event_does_not_spoil_the_rest() -> None:
    usages, rejections = read(
        call(1), call(2, status="fine"), 7, call(4), call(5, tokens=None), None, call(7)
    )
    assert [usage.event_id for usage in usages] == ["f:http:r-1", "f:http:r-4", "f:http:r-7"]
    assert sorted((rejection.place, rejection.field) for rejection in rejections) == [
        (1, "status"),
        (2, ""),
        (4, "tokens"),
        (5, ""),
    ]


def test_a_token_decides_feed_and_tenant() -> None:
    acme = Caller("gateway", "acme")
    usages, _ = read(call(1), call(2, tenant_id="acme"), caller=acme)
    assert [usage.labels.tenant_id for usage in usages] == ["acme", "acme"]
    assert [usage.event_id for usage in usages] == ["f:gateway:r-1", "f:gateway:r-2"]
    rejection = refused(acme, tenant_id="other")
    assert (rejection.field, rejection.code) == ("tenant_id", "tenant")
    assert "not allowed" in rejection.reason


def test_one_reader_keeps_the_tenants_of_different_tokens_apart() -> None:
    reader = EventReader(Window())
    body = json.dumps([call()]).encode()
    tenants = [
        reader.read(body, caller, NOW_MS).items[0].labels.tenant_id
        for caller in (Caller("a", "acme"), Caller("b", "bolt"), Caller("c"), Caller("a", "acme"))
    ]
    assert tenants == ["acme", "bolt", "default", "acme"]


def test_labels_are_right_after_more_combinations_than_are_remembered() -> None:
    reader = EventReader(Window())
    for first in range(0, REMEMBERED + 2000, 2000):
        numbers = range(first, first + 2000)
        body = json.dumps([call(n, feature=f"f{n}") for n in numbers]).encode()
        items = reader.read(body, ANYONE, NOW_MS).items
        assert [usage.labels.feature for usage in items] == [f"f{n}" for n in numbers]


@pytest.mark.parametrize(
    ("said", "name"), [("Gemini", "google"), ("vertex_ai", "google"), ("bedrock", "aws")]
)
def test_a_provider_has_one_name_also_in_the_identity(said: str, name: str) -> None:
    usage = booked(provider=said, response_id="r-1")
    assert (usage.labels.provider, usage.event_id) == (name, f"p:{name}:r-1")


def test_provider_and_labels_are_trimmed() -> None:
    labels = booked(provider=" OpenAI ", model=" m ", team="  ").labels
    assert (labels.provider, labels.model, labels.team) == ("openai", "m", "")


def test_text_of_any_language_is_allowed() -> None:
    assert booked(team="поиск 検索\u00a0é", user_id="\u200b用户").labels.team == "поиск 検索\u00a0é"


def test_a_usage_object_is_normalised() -> None:
    usage = {
        "prompt_tokens": 2000,
        "completion_tokens": 150,
        "total_tokens": 2150,
        "prompt_tokens_details": {"cached_tokens": 800},
    }
    found = booked(tokens=None, usage=usage, units={"web_searches": 2})
    assert found.quantities == {"input": 1200, "cache_read": 800, "output": 150, "web_searches": 2}
    assert found.event_id == "f:http:r-1"


def test_a_response_says_its_own_id_and_model() -> None:
    response = {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"message": {"role": "assistant", "content": "hello"}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    usage = booked(tokens=None, response=response, model=None)
    assert usage.event_id == "p:openai:chatcmpl-7"
    assert usage.labels.model == "gpt-4o-mini-2024-07-18"
    assert usage.quantities == {"input": 10, "output": 5}
    assert booked(tokens=None, response=response, request_id=None).event_id == usage.event_id


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"usage": {"prompt_tokens": 1}}, "tokens"),
        (
            {"tokens": None, "usage": {"prompt_tokens": -1, "completion_tokens": 1}},
            "usage.prompt_tokens",
        ),
        ({"tokens": None, "usage": [1]}, "usage"),
        ({"tokens": None, "usage": {}}, "usage"),
        ({"tokens": None, "response": {"id": "x"}}, "response.usage"),
        ({"tokens": None, "usage": {"prompt_tokens": 1}, "response": {}}, "response"),
    ],
)
def test_provider_objects_that_are_refused(changes: dict[str, Any], field: str) -> None:
    assert refused(**changes).field == field


def test_the_detail_is_empty_for_an_ordinary_event() -> None:
    assert booked().detail == ""
    assert booked(tags={}, prompt_hash="").detail == ""
    assert json.loads(booked(complexity=0).detail) == {"complexity": 0.0}
