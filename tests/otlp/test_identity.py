"""One call, told by the SDK and by OTLP, has one identity and is booked once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from costmeter.ingest.events import EventReader
from costmeter.ingest.otlp.calls import provider_of as provider_of_span
from costmeter.ingest.owner import Caller
from costmeter.ingest.window import Window
from costmeter.sdk.event import encode
from costmeter.sdk.hosts import _DOMAINS, _HOSTS, provider_of
from fakes.calls import NOW_MS
from otlp.bodies import CHAT, read, request, span

#: Servers as people have them, beside the exact ones.
HOSTS = (
    *_HOSTS,
    *(f"my-own{domain}" for domain, _ in _DOMAINS),
    "europe-west1-aiplatform.googleapis.com",
    "bedrock-runtime.eu-central-1.amazonaws.com",
    "bedrock-mantle.us-east-1.api.aws",
    "API.DeepSeek.com.",
)
USAGE = {"prompt_tokens": 7, "completion_tokens": 3}


def id_from_sdk(provider: str, response: Mapping[str, Any]) -> str:
    raw = (
        NOW_MS * 1_000_000, provider, "m", None, None, None, {**response, "usage": USAGE}, None,
        None, None, None, "ok", None, {},
    )  # fmt: skip
    body = encode(raw, "r-1", {}).json
    batch = EventReader(Window()).read(body, Caller("app"), NOW_MS, lines=True)
    assert not batch.rejections
    return batch.items[0].event_id


def id_from_span(said: str, response_id: str, **more: str) -> str:
    told = {**CHAT, "gen_ai.provider.name": said, "gen_ai.response.id": response_id}
    more = {name.replace("_", "."): value for name, value in more.items()}
    return read(request([span(1, {**told, **more})])).batch.items[0].event_id


@pytest.mark.parametrize(
    ("host", "said", "name"),
    [
        ("api.openai.com", "openai", "openai"),
        ("mine.openai.azure.com", "azure.ai.openai", "azure"),
        ("mine.openai.azure.com", "openai", "azure"),
        ("api.anthropic.com", "anthropic", "anthropic"),
        ("europe-west1-aiplatform.googleapis.com", "anthropic", "google"),
        ("generativelanguage.googleapis.com", "gcp.gemini", "google"),
        ("europe-west1-aiplatform.googleapis.com", "gcp.vertex_ai", "google"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", "aws.bedrock", "aws"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", "anthropic", "aws"),
        ("api.mistral.ai", "mistral_ai", "mistral"),
        ("api.x.ai", "x_ai", "x-ai"),
    ],
)
def test_a_wrapped_client_and_a_span_agree(host: str, said: str, name: str) -> None:
    own = id_from_sdk(provider_of(host), {"id": "r-42"})
    assert own == id_from_span(said, "r-42", server_address=host) == f"p:{name}:r-42"


@pytest.mark.parametrize("said", ["openai", "anthropic"])
@pytest.mark.parametrize("host", HOSTS)
def test_both_know_the_same_servers(host: str, said: str) -> None:
    assert provider_of_span({"provider": said, "address": host}) == provider_of(host)


@pytest.mark.parametrize(
    "host", ["vllm-1.eu-west-1.elb.amazonaws.com", "my.api.deepseek.com", "googleapis.com.example"]
)
def test_neither_takes_an_unknown_server_for_a_known_one(host: str) -> None:
    assert provider_of(host) == host
    assert provider_of_span({"provider": "openai", "address": host}) == "openai"


def test_an_id_with_a_whole_route_in_it_is_shortened_alike() -> None:
    # Of a gateway that packs its route into the id: 241 letters.
    long = "resp_" + "bGl0ZWxsbTpj" * 20
    found = id_from_sdk("openai", {"id": long})
    assert found.startswith("p:openai:sha256:")
    assert found == id_from_span("openai", long)
    assert id_from_sdk("openai", {"id": long[:200]}) == f"p:openai:{long[:200]}"
    assert id_from_span("openai", long[:200]) == f"p:openai:{long[:200]}"
