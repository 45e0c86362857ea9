"""Which spans are calls to a model, and what such a call says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from costmeter.ingest.refusal import Refused
from costmeter.pricing.providers import ALIASES

#: Operations of the conventions that are one call to a model each, as events call them.
OPERATIONS: Mapping[str, str] = {
    "chat": "generation",
    "text_completion": "generation",
    "generate_content": "generation",
    "embeddings": "embedding",
}
#: Operations that carry the sum of the calls beneath them, or no call at all.
AROUND = frozenset(
    {
        "create_agent",
        "invoke_agent",
        "invoke_workflow",
        "execute_tool",
        "execute_task",
        "plan",
    }
)
#: OpenLLMetry's word for the operation, from before the conventions had one.
_REQUEST_TYPES: Mapping[str, str] = {
    "chat": "chat",
    "completion": "text_completion",
    "embedding": "embeddings",
}
#: What of a span decides who is charged for which model, apart from `OWNER_FIELDS`.
CALL_FIELDS = (
    "provider",
    "address",
    "response_model",
    "request_model",
    "operation",
    "request_type",
    "tier",
)
#: Why a span is not booked, as the metrics count it.
NOT_GENAI, AGENT, OTHER_OPERATION = "not_genai", "agent", "operation"
NO_USAGE, NESTED = "no_usage", "nested"

_USAGE = ("input", "output", "total")

#: Clients of OpenAI and Anthropic talk to everybody who speaks their dialect; the server's name
#: says whom they talked to. Names and servers are those of the SDK's `hosts`, so that both know
#: a call by the same identity. The server itself or, with a dot before it, whatever ends so.
_CLIENTS = frozenset({"openai", "anthropic"})
_SERVERS: Mapping[str, str] = {
    "api.openai.com": "openai",
    ".api.openai.com": "openai",
    ".openai.azure.com": "azure",
    ".services.ai.azure.com": "azure",
    ".cognitiveservices.azure.com": "azure",
    ".azure-api.net": "azure",
    ".googleapis.com": "google",
    "api.anthropic.com": "anthropic",
    "api.cerebras.ai": "cerebras",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks",
    "api.githubcopilot.com": "github-copilot",
    "api.groq.com": "groq",
    "api.minimax.io": "minimax",
    "api.mistral.ai": "mistral",
    "api.moonshot.ai": "moonshotai",
    "api.moonshot.cn": "moonshotai",
    "api.novita.ai": "novita",
    "openrouter.ai": "openrouter",
    "api.perplexity.ai": "perplexity",
    "api.together.ai": "together",
    "api.together.xyz": "together",
    "api.voyageai.com": "voyageai",
    "api.x.ai": "x-ai",
    ".api.x.ai": "x-ai",
    "api.z.ai": "zai",
    "open.bigmodel.cn": "zhipuai",
}
_TIERS: Mapping[str, str] = {
    "flex": "flex",
    "priority": "priority",
    "batch": "batch",
    "fast": "fast",
}


def why_not(said: Mapping[str, Any]) -> str:
    """The reason why a span is no call to a model; "" when it is one."""
    operation = said.get("operation")
    if operation is not None:
        if operation in OPERATIONS:
            return ""
        return AGENT if operation in AROUND else OTHER_OPERATION
    request_type = said.get("request_type")
    if request_type is not None:
        return "" if request_type.lower() in _REQUEST_TYPES else OTHER_OPERATION
    if "provider" not in said and "request_model" not in said and "response_model" not in said:
        return AGENT if "agent_kind" in said else NOT_GENAI
    # Instrumentations from before there was an operation: a call says model and usage, and a
    # chain or an agent says what it is.
    if "agent_kind" in said:
        return AGENT
    if not any(name in said for name in _USAGE):
        return NO_USAGE
    return ""


def operation_of(said: Mapping[str, Any]) -> str:
    """The operation of a call, as events name it."""
    operation = said.get("operation")
    if operation is None:
        operation = _REQUEST_TYPES.get(said.get("request_type", "").lower(), "chat")
    return OPERATIONS[operation]


def provider_of(said: Mapping[str, Any]) -> str:
    """The provider under the name that prices and identities use. Raises Refused."""
    provider = said.get("provider")
    if not provider:
        raise Refused("gen_ai.provider.name", "missing", code="missing")
    return _provider(provider, said.get("address", ""))


@lru_cache(1024)
def _provider(said: str, address: str) -> str:
    name = said.strip().lower()
    if name in _CLIENTS and address:
        server = address.lower().rstrip(".")
        if server.startswith("bedrock") and server.endswith((".amazonaws.com", ".api.aws")):
            return "aws"
        for known, provider in _SERVERS.items():
            if server == known or (known[0] == "." and server.endswith(known)):
                return provider
    return ALIASES.get(name, name)


def model_of(said: Mapping[str, Any]) -> str | None:
    """The model that answered; where that is not said, the one that was asked."""
    return said.get("response_model") or said.get("request_model")


def processing_of(said: Mapping[str, Any]) -> str:
    return _TIERS.get(said.get("tier", "").lower(), "standard")
