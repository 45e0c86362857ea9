"""Whose server an address is: the provider's name as the price book knows it."""

from __future__ import annotations

#: Exact hosts.
_HOSTS = {
    "api.openai.com": "openai",
    "eu.api.openai.com": "openai",
    "us.api.openai.com": "openai",
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
    "api.z.ai": "zai",
    "open.bigmodel.cn": "zhipuai",
}

#: Ends of hosts whose beginning is the customer's own.
_DOMAINS = (
    (".openai.azure.com", "azure"),
    (".cognitiveservices.azure.com", "azure"),
    (".services.ai.azure.com", "azure"),
    (".azure-api.net", "azure"),
    (".api.openai.com", "openai"),
    (".api.x.ai", "x-ai"),
    (".googleapis.com", "google"),
)


def provider_of(host: str) -> str:
    """The provider behind a host; the host itself where nobody knows it.

    A model with a familiar name behind an unfamiliar address, such as a gateway or a server
    of one's own, may cost anything. Under the host's name it is unpriced and visible until
    somebody says `provider=`.
    """
    host = host.lower().rstrip(".")
    known = _HOSTS.get(host)
    if known is not None:
        return known
    for domain, provider in _DOMAINS:
        if host.endswith(domain):
            return provider
    if host.startswith("bedrock") and host.endswith((".amazonaws.com", ".api.aws")):
        return "aws"
    # An IPv6 address; the server keeps the colon for itself.
    return host.strip("[]").replace(":", "-") or "unknown"
