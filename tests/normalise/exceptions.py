"""Where our reading of a real body differs from the expected one, and why.

Many extractors of the expected figures read a body of somebody else's dialect, or leave
a field of their own out. A row names fields that some extractors do not see. Without
these fields our reading of the body must equal theirs, to the last token: so a row
explains a difference fully or the test fails. `cases` is the number of readings that
differ because of the row; a row that explains fewer or more than that fails as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Blind(NamedTuple):
    """Fields (paths inside the body) that the extractors do not read."""

    name: str
    reason: str
    fields: tuple[str, ...]
    extractors: frozenset[str]
    cases: int


_EMBEDDINGS = frozenset({"azure/embeddings", "doubleword/embeddings", "openai/embeddings"})

#: Extractors of the chat dialect that read nothing of the prompt's details.
_NO_CACHE = frozenset({"anthropic/chat", "cerebras/chat", "perplexity/default", "x-ai/default"})

#: Those that read what was cached and not what was written to the cache.
_NO_CACHE_WRITE = frozenset(
    {
        "azure/chat",
        "deepseek/chat",
        "fireworks/chat",
        "google/chat",
        "groq/default",
        "minimax/chat",
        "mistral/default",
        "moonshotai/chat",
        "x-ai/chat",
        "zai/chat",
        "zhipuai/chat",
    }
)

_WHOLE_CHAT = frozenset(
    {
        "doubleword/chat",
        "huggingface_cerebras/chat",
        "huggingface_fireworks-ai/chat",
        "huggingface_groq/chat",
        "huggingface_hyperbolic/chat",
        "huggingface_nebius/chat",
        "huggingface_novita/chat",
        "huggingface_nscale/chat",
        "huggingface_ovhcloud/chat",
        "huggingface_publicai/chat",
        "huggingface_sambanova/chat",
        "huggingface_together/chat",
        "modal/chat",
        "openai/chat",
        "openrouter/chat",
        "ovhcloud/chat",
    }
)

#: Anthropic's dialect, read for other houses; the house itself is `anthropic/default`.
_ANTHROPIC_ELSEWHERE = frozenset(
    {"aws/anthropic", "azure/anthropic", "google/anthropic", "minimax/default"}
)

_RESPONSES = frozenset(
    {
        "azure/responses",
        "doubleword/responses",
        "minimax/responses",
        "modal/responses",
        "openai/responses",
    }
)

EXCEPTIONS = (
    Blind(
        "chat read as an embedding",
        "an embedding has a prompt and nothing else; these bodies are chats",
        (
            "usage.completion_tokens",
            "usage.completion_tokens_details",
            "usage.total_tokens",
            "usage.prompt_tokens_details",
            "usage.num_cached_tokens",
        ),
        _EMBEDDINGS,
        276,
    ),
    Blind(
        "cached prompt not read",
        "the extractor has no field for cached tokens and prices them as fresh input",
        ("usage.prompt_tokens_details.cached_tokens",),
        _NO_CACHE,
        12,
    ),
    Blind(
        "cache writes not read",
        "the extractor has no field for tokens written to a cache",
        ("usage.prompt_tokens_details.cache_write_tokens",),
        _NO_CACHE | _NO_CACHE_WRITE,
        30,
    ),
    Blind(
        "Mistral's cached tokens not read",
        "num_cached_tokens is Mistral's count of prompt tokens found in its cache",
        ("usage.num_cached_tokens",),
        _NO_CACHE | _NO_CACHE_WRITE | _WHOLE_CHAT,
        155,
    ),
    Blind(
        "reasoning of a chat not read",
        "the extractor looks for reasoning elsewhere or nowhere; it is part of the output",
        ("usage.completion_tokens_details.reasoning_tokens",),
        frozenset({"modal/chat", "perplexity/default", "x-ai/default"}),
        51,
    ),
    Blind(
        "reasoning taken to be beside the output",
        "xAI itself counts reasoning beside; the total of these bodies shows it inside",
        ("usage.total_tokens",),
        frozenset({"x-ai/chat"}),
        17,
    ),
    Blind(
        "responses read as messages",
        "Anthropic's dialect has no such details; these bodies are OpenAI responses",
        ("usage.input_tokens_details", "usage.output_tokens_details.reasoning_tokens"),
        _ANTHROPIC_ELSEWHERE | {"anthropic/default"},
        145,
    ),
    Blind(
        "thinking not read elsewhere",
        "thinking tokens are read from Anthropic itself only, and are in the same bodies",
        ("usage.output_tokens_details.thinking_tokens",),
        _ANTHROPIC_ELSEWHERE | _RESPONSES,
        45,
    ),
    Blind(
        "searches not read elsewhere",
        "searches are read from Anthropic itself only, and are billed everywhere",
        ("usage.server_tool_use",),
        _ANTHROPIC_ELSEWHERE | _RESPONSES,
        18,
    ),
    Blind(
        "messages read as responses",
        "the responses dialect has no such fields; these bodies are Anthropic's",
        (
            "usage.cache_creation",
            "usage.cache_creation_input_tokens",
            "usage.cache_read_input_tokens",
        ),
        _RESPONSES,
        25,
    ),
    Blind(
        "reasoning of a response not read",
        "the extractor has no field for reasoning; it is part of the output",
        ("usage.output_tokens_details.reasoning_tokens",),
        frozenset({"doubleword/responses", "minimax/responses"}),
        50,
    ),
    Blind(
        "cache writes of a response not read",
        "the extractor has no field for tokens written to a cache",
        ("usage.input_tokens_details.cache_write_tokens",),
        frozenset({"azure/responses", "doubleword/responses", "minimax/responses"}),
        6,
    ),
    Blind(
        "Cohere's tokens in place of its billed units",
        "Cohere charges billed units; its tokens also count its own prompt template",
        ("usage.billed_units",),
        frozenset({"cohere/tokens"}),
        6,
    ),
)


def without(body: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """A copy of the body that lacks the fields."""
    copy = dict(body)
    for field in fields:
        head, _, rest = field.partition(".")
        if head not in copy:
            continue
        if not rest:
            del copy[head]
        elif isinstance(copy[head], Mapping):
            copy[head] = without(copy[head], (rest,))
    return copy
