"""Both generations of the conventions, and what stands around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from costmeter.config.otlp import OtlpAttributes
from costmeter.ingest.otlp.reading import OWNER_ATTRIBUTES, Rules
from costmeter.ingest.otlp.traces import TraceReader
from costmeter.ingest.owner import Caller
from costmeter.ingest.window import Window
from costmeter.model import Usage
from costmeter.pricing import load_price_book
from fakes.calls import NOW_MS
from otlp.bodies import CHAT, read, request, span

TRACE = (7_001).to_bytes(16, "big").hex()
SPAN = (1).to_bytes(8, "big").hex()


def one(attributes: Mapping[str, Any], **changes: Any) -> Usage:
    found = read(request([span(1, attributes, **changes)]))
    assert found.batch.rejections == []
    assert found.ignored == {}
    return found.batch.items[0]


def test_a_call_of_the_newest_conventions() -> None:
    found = read(
        request(
            [
                span(
                    1,
                    {
                        **CHAT,
                        "gen_ai.response.id": "chatcmpl-9",
                        "gen_ai.usage.cache_read.input_tokens": 800,
                        "gen_ai.usage.cache_write.input_tokens": 100,
                        "gen_ai.usage.reasoning.output_tokens": 50,
                        "gen_ai.conversation.id": "c-1",
                        "user.id": "u-1",
                        "feature.name": "answers",
                        "openai.response.service_tier": "flex",
                        "server.address": "api.openai.com",
                        "gen_ai.request.temperature": 0.7,
                        "gen_ai.response.finish_reasons": ["stop"],
                    },
                )
            ],
            {
                "service.name": "search",
                "tenant.id": "acme",
                "deployment.environment.name": "prod",
                "team.name": "t1",
            },
        )
    )
    usage = found.batch.items[0]
    assert usage.event_id == "p:openai:chatcmpl-9"
    assert usage.at_ms == NOW_MS - 1_000
    assert (usage.feed, usage.latency_ms, usage.status) == ("otlp", 812, "ok")
    assert usage.processing == "flex"
    assert usage.quantities == {
        "input": 300,
        "cache_read": 800,
        "cache_write_5m": 100,
        "output": 100,
        "reasoning": 50,
    }
    labels = usage.labels
    assert (labels.tenant_id, labels.environment, labels.service) == ("acme", "prod", "search")
    assert (labels.provider, labels.model) == ("openai", "gpt-4o-mini-2024-07-18")
    assert (labels.team, labels.feature, labels.operation) == ("t1", "answers", "generation")
    assert (usage.user_id, usage.session_id) == ("u-1", "c-1")
    assert TRACE in usage.detail
    assert SPAN in usage.detail


def test_without_a_response_id_the_span_is_the_identity() -> None:
    assert one(CHAT).event_id == f"f:otlp:{TRACE}-{SPAN}"
    assert one({**CHAT, "gen_ai.response.id": " "}).event_id == f"f:otlp:{TRACE}-{SPAN}"


@pytest.mark.parametrize(
    ("attributes", "quantities"),
    [
        (
            {"gen_ai.usage.prompt_tokens": 10, "gen_ai.usage.completion_tokens": 4},
            {"input": 10, "output": 4},
        ),
        (
            {
                "llm.usage.prompt_tokens": 10,
                "llm.usage.completion_tokens": 4,
                "llm.usage.total_tokens": 14,
            },
            {"input": 10, "output": 4},
        ),
        (
            {
                "gen_ai.usage.prompt_tokens": 10,
                "gen_ai.usage.completion_tokens": 4,
                "gen_ai.usage.cache_read_input_tokens": 6,
                "gen_ai.usage.cache_creation_input_tokens": 3,
                "llm.usage.reasoning_tokens": 1,
            },
            {"input": 1, "cache_read": 6, "cache_write_5m": 3, "output": 3, "reasoning": 1},
        ),
        ({"gen_ai.usage.input_tokens": 10.0}, {"input": 10}),
        ({"gen_ai.usage.input_tokens": 300_000_000}, {"input": 300_000_000}),
        # Both generations at once say the same thing twice.
        (
            {
                "gen_ai.usage.input_tokens": 10,
                "gen_ai.usage.prompt_tokens": 10,
                "gen_ai.usage.output_tokens": 4,
                "gen_ai.usage.completion_tokens": 4,
            },
            {"input": 10, "output": 4},
        ),
        (
            {
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.output_tokens": 40,
                "gen_ai.usage.audio.input_tokens": 60,
                "gen_ai.usage.audio.output_tokens": 30,
                "gen_ai.usage.cache_read.input_tokens": 20,
            },
            {
                "input": 20,
                "cache_read": 20,
                "input_audio": 60,
                "output": 10,
                "output_audio": 30,
            },
        ),
    ],
)
def test_token_names_of_every_generation(
    attributes: Mapping[str, Any], quantities: Mapping[str, int]
) -> None:
    base = {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
    }
    assert one(base | dict(attributes)).quantities == quantities


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("openai", "openai"),
        ("OpenAI", "openai"),
        ("anthropic", "anthropic"),
        ("Anthropic", "anthropic"),
        ("az.ai.openai", "azure"),
        ("azure.ai.openai", "azure"),
        ("az.ai.inference", "azure"),
        ("azure.ai.inference", "azure"),
        ("aws.bedrock", "aws"),
        ("AWS", "aws"),
        ("gcp.gemini", "google"),
        ("gcp.vertex_ai", "google"),
        ("gcp.gen_ai", "google"),
        ("vertex_ai", "google"),
        ("mistral_ai", "mistral"),
        ("moonshot_ai", "moonshotai"),
        ("deepseek", "deepseek"),
        ("x_ai", "x-ai"),
        ("cohere", "cohere"),
        ("groq", "groq"),
        ("perplexity", "perplexity"),
    ],
)
def test_providers_get_the_names_of_the_prices(said: str, name: str) -> None:
    usage = one({**CHAT, "gen_ai.provider.name": said, "gen_ai.response.id": "r"})
    assert usage.labels.provider == name
    assert usage.event_id == f"p:{name}:r"


def test_a_provider_without_prices_keeps_its_name() -> None:
    usage = one({**CHAT, "gen_ai.provider.name": "ibm.watsonx.ai"})
    assert usage.labels.provider == "ibm.watsonx.ai"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("api.openai.com", "openai"),
        ("mine.openai.azure.com", "azure"),
        ("API.deepseek.com", "deepseek"),
        ("api.x.ai", "x-ai"),
        ("gateway.internal", "openai"),
        ("notapi.x.ai.example", "openai"),
    ],
)
def test_openai_clients_talk_to_others_too(address: str, name: str) -> None:
    assert one({**CHAT, "server.address": address}).labels.provider == name


def test_what_was_read_has_a_price() -> None:
    usage = one({**CHAT, "gen_ai.provider.name": "azure.ai.openai"})
    assert load_price_book(()).price_batch([usage])[0] is not None


@pytest.mark.parametrize(
    "operation", ["invoke_agent", "create_agent", "execute_tool", "invoke_workflow"]
)
def test_agents_carry_sums_and_are_not_booked(operation: str) -> None:
    agent = span(1, {**CHAT, "gen_ai.operation.name": operation}, kind=Span.SPAN_KIND_INTERNAL)
    found = read(request([agent, span(2, parent_span_id=agent.span_id)]))
    assert [usage.event_id[-1] for usage in found.batch.items] == ["2"]
    assert found.ignored == {"agent": 1}


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"http.request.method": "GET"}, "not_genai"),
        ({"gen_ai.operation.name": "retrieval", "gen_ai.usage.input_tokens": 3}, "operation"),
        ({"traceloop.span.kind": "workflow", "gen_ai.usage.input_tokens": 3}, "agent"),
        (
            {"gen_ai.system": "openai", "gen_ai.agent.name": "a", "gen_ai.usage.input_tokens": 3},
            "agent",
        ),
        ({"llm.request.type": "rerank", "gen_ai.system": "cohere"}, "operation"),
        ({"gen_ai.system": "openai", "gen_ai.request.model": "m"}, "no_usage"),
        ({k: v for k, v in CHAT.items() if "usage" not in k}, "no_usage"),
    ],
)
def test_what_is_no_call_is_counted(attributes: Mapping[str, Any], reason: str) -> None:
    found = read(request([span(1, attributes)]))
    assert (found.batch.items, found.batch.rejections) == ([], [])
    assert found.ignored == {reason: 1}


@pytest.mark.parametrize(
    ("attributes", "operation"),
    [
        ({"gen_ai.operation.name": "embeddings"}, "embedding"),
        ({"gen_ai.operation.name": "text_completion"}, "generation"),
        ({"gen_ai.operation.name": "generate_content"}, "generation"),
        ({"llm.request.type": "chat"}, "generation"),
        ({"llm.request.type": "embedding"}, "embedding"),
        ({}, "generation"),
    ],
)
def test_operations(attributes: Mapping[str, Any], operation: str) -> None:
    base = {
        "gen_ai.system": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.usage.prompt_tokens": 3,
    }
    assert one(base | dict(attributes)).labels.operation == operation


def test_a_failed_call_is_an_error_with_and_without_usage() -> None:
    bare = {k: v for k, v in CHAT.items() if "usage" not in k}
    failed = one({**bare, "error.type": "RateLimitError"})
    assert (failed.status, failed.quantities) == ("error", {})
    assert one(CHAT, status=Status(code=Status.STATUS_CODE_ERROR)).status == "error"
    assert one(CHAT, status=Status(code=Status.STATUS_CODE_OK)).status == "ok"


def test_a_wrapper_around_a_call_is_not_booked_beside_it() -> None:
    outer, inner = span(1), span(2, parent_span_id=span(1).span_id)
    for spans in ([inner, outer], [outer, inner]):
        found = read(request(spans))
        assert [usage.event_id[-1] for usage in found.batch.items] == ["2"]
        assert found.ignored == {"nested": 1}


def test_a_wrapper_that_arrives_later_is_recognised() -> None:
    reader = TraceReader(Window())
    outer, inner = span(1), span(2, parent_span_id=span(1).span_id)

    def send(one: Span, caller: Caller) -> int:
        raw = request([one]).SerializeToString()
        return len(reader.read(raw, caller, NOW_MS, as_json=False).batch.items)

    assert send(inner, Caller("a", "acme")) == 1
    assert send(outer, Caller("a", "acme")) == 0
    # Nobody can hide the spans of another sender.
    assert send(outer, Caller("a", "other")) == 1


def test_a_server_span_of_the_same_response_has_the_same_identity() -> None:
    said = {**CHAT, "gen_ai.response.id": "r"}
    client, server = span(1, said), span(2, said, kind=Span.SPAN_KIND_SERVER)
    found = read(request([client, server]))
    assert [usage.event_id for usage in found.batch.items] == ["p:openai:r"] * 2


def test_a_span_says_more_than_its_resource() -> None:
    made = request([span(1, {**CHAT, "tenant.id": "acme"}), span(2)], {"tenant.id": "default-co"})
    assert [u.labels.tenant_id for u in read(made).batch.items] == ["acme", "default-co"]


def test_attributes_can_be_chosen() -> None:
    rules = Rules(owners={"team": ("cost.center",), "service": ("cost.center",)})
    made = request([span(1, {**CHAT, "cost.center": 42, "tenant.id": "acme"})])
    labels = read(made, rules=rules).batch.items[0].labels
    assert (labels.team, labels.service, labels.tenant_id) == ("42", "42", "default")


def test_the_defaults_of_the_configuration_are_those_of_the_reader() -> None:
    assert OtlpAttributes().by_field() == OWNER_ATTRIBUTES


def test_a_bound_token_decides_the_tenant() -> None:
    caller = Caller("team-a-otlp", "acme")
    made = request([span(1), span(2, {**CHAT, "tenant.id": "other"})])
    found = read(made, caller=caller)
    assert [usage.labels.tenant_id for usage in found.batch.items] == ["acme"]
    assert [(r.place, r.field, r.code) for r in found.batch.rejections] == [
        (1, "tenant_id", "tenant")
    ]
