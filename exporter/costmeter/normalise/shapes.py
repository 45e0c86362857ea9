"""Which reader understands a usage object: its shape says so, the provider only hints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import anthropic, bedrock, gemini, inclusive, others
from .plain import read_plain
from .reading import Normalised, UsageError, count
from .tools import put_tool_calls

#: Providers that count reasoning beside the output in the OpenAI dialect. xAI's own
#: documents: reasoning is counted apart from the completion, and in the total.
_REASONING_BESIDE = frozenset({"xai", "x-ai", "grok"})

_ADVICE = (
    "names no count that is known here; send the provider's usage object unchanged, "
    "or write `tokens` with disjoint classes instead"
)


def read_usage(provider: str, usage: Mapping[str, Any], model: str = "") -> Normalised:
    """Read a usage object of any known shape. `model` is the response's own, if known."""
    if "prompt_tokens" in usage or "completion_tokens" in usage:
        return read_plain(usage, inclusive.CHAT) or _chat(provider, usage)
    if "input_tokens" in usage or "output_tokens" in usage:
        plain = read_plain(usage, inclusive.RESPONSES)
        return plain or _messages(provider, usage, model)
    for mark, reader in _BY_MARK:
        if mark in usage:
            return reader(usage)
    if "total_tokens" in usage:
        return inclusive.read_total(usage)
    raise UsageError("", _ADVICE)


def _chat(provider: str, usage: Mapping[str, Any]) -> Normalised:
    if "prompt_audio_seconds" in usage and usage["prompt_audio_seconds"] is not None:
        return others.read_mistral_audio(usage)
    if "citation_tokens" in usage or "num_search_queries" in usage:
        return others.read_perplexity(usage)
    beside = provider.lower() in _REASONING_BESIDE
    read = inclusive.read_inclusive(usage, inclusive.CHAT, beside)
    put_tool_calls(read.quantities, usage)
    return read


def _messages(provider: str, usage: Mapping[str, Any], model: str) -> Normalised:
    """`input_tokens` and `output_tokens`: inclusive in responses, exclusive in messages."""
    if "input_tokens_details" not in usage and "input_token_details" not in usage:
        for mark in anthropic.MARKS:
            if mark in usage and not _total_includes_caches(usage):
                return anthropic.read_anthropic(usage, model)
    names = inclusive.REALTIME if "input_token_details" in usage else inclusive.RESPONSES
    read = inclusive.read_inclusive(usage, names, provider.lower() in _REASONING_BESIDE)
    put_tool_calls(read.quantities, usage)
    if "service_tier" in usage or "speed" in usage:
        read = read._replace(processing=anthropic.processing(usage))
    return read


def _total_includes_caches(usage: Mapping[str, Any]) -> bool:
    """A total that is input plus output shows that the caches are parts of the input."""
    if usage.get("total_tokens") is None:
        return False
    caches = count(usage, "cache_read_input_tokens") + count(usage, "cache_creation_input_tokens")
    named = count(usage, "input_tokens") + count(usage, "output_tokens")
    return caches > 0 and count(usage, "total_tokens") == named


def _gemini_camel(usage: Mapping[str, Any]) -> Normalised:
    live = "responseTokenCount" in usage
    return gemini.read_gemini(usage, gemini.LIVE_CAMEL if live else gemini.CAMEL)


def _gemini_snake(usage: Mapping[str, Any]) -> Normalised:
    live = "response_token_count" in usage
    return gemini.read_gemini(usage, gemini.LIVE_SNAKE if live else gemini.SNAKE)


def _interactions(usage: Mapping[str, Any]) -> Normalised:
    return gemini.read_gemini(usage, gemini.INTERACTIONS)


#: The first mark found decides, so a mark stands before others that may accompany it.
_BY_MARK = (
    ("inputTokens", bedrock.read_converse),
    ("outputTokens", bedrock.read_converse),
    ("promptTokenCount", _gemini_camel),
    ("candidatesTokenCount", _gemini_camel),
    ("totalTokenCount", _gemini_camel),
    ("billed_units", others.read_cohere),
    ("tokens", others.read_cohere),
    ("inputTokenCount", bedrock.read_invocation_metrics),
    ("generation_token_count", bedrock.read_llama),
    ("prompt_token_count", _gemini_snake),
    ("candidates_token_count", _gemini_snake),
    ("total_token_count", _gemini_snake),
    ("total_input_tokens", _interactions),
    ("total_output_tokens", _interactions),
    (bedrock.INPUT_HEADER, bedrock.read_headers),
    ("inputTextTokenCount", bedrock.read_titan),
    ("prompt_eval_count", others.read_ollama),
    ("eval_count", others.read_ollama),
    ("pages_processed", others.read_pages),
    ("seconds", others.read_duration),
    ("billable_audio_seconds", others.read_duration),
)
