"""Names under which people know a provider, and the catalogue's id for it."""

from __future__ import annotations

from collections.abc import Mapping

#: What telemetry conventions, gateways and SDKs write, in lower case. These come before
#: the catalogue's own rules, which would take `azure.ai.openai` for OpenAI.
ALIASES: Mapping[str, str] = {
    "aws.bedrock": "aws",
    "aws_bedrock": "aws",
    "aws-bedrock": "aws",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "amazon": "aws",
    "amazon-bedrock": "aws",
    "amazon_bedrock": "aws",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "azure_ai": "azure",
    "azure-ai": "azure",
    "azure_openai": "azure",
    "azure-openai": "azure",
    "azureopenai": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "google-gla": "google",
    "google-vertex": "google",
    "google_vertexai": "google",
    "google_genai": "google",
    "vertex": "google",
    "vertex_ai": "google",
    "vertexai": "google",
    "claude": "anthropic",
    "grok": "x-ai",
    "x_ai": "x-ai",
    "xai": "x-ai",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "moonshot_ai": "moonshotai",
    "fireworks_ai": "fireworks",
    "fireworks-ai": "fireworks",
    "together_ai": "together",
    "together-ai": "together",
    "togetherai": "together",
    "github_copilot": "github-copilot",
    "voyage": "voyageai",
    "perplexity_ai": "perplexity",
    "z.ai": "zai",
    "z-ai": "zai",
}


def canonical_provider(text: str) -> str:
    """The one name of a provider, in lower case, under whichever of its names it comes.

    It is part of an event's identity: two feeds that name it differently must agree.
    """
    name = text.lower()
    return ALIASES.get(name, name)


#: A gateway that writes the provider into the model's name: `anthropic/claude-...`.
GATEWAYS: frozenset[str] = frozenset({"litellm"})
