"""Dialects of their own: Cohere, Perplexity, Mistral's audio and pages, Ollama, durations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .inclusive import CHAT, read_inclusive
from .reading import Normalised, count, duration_ms, group, within


def read_cohere(usage: Mapping[str, Any]) -> Normalised:
    """Cohere's `usage` (v2) or `meta` (v1, embed, rerank).

    `billed_units` is what Cohere charges; `tokens` also counts its own prompt template
    and is used, as an estimate, only where no billed units are given.
    """
    quantities: dict[str, int] = {}
    if usage.get("billed_units") is not None:
        root = "billed_units"
        billed = _whole(group(usage, root))
        for key, name in _COHERE_UNITS:
            value = count(billed, key, root)
            if value:
                quantities[name] = value
        return Normalised(quantities)
    tokens = _whole(group(usage, "tokens"))
    cached = count(_whole(usage), "cached_tokens")
    prompt = count(tokens, "input_tokens", "tokens")
    output = count(tokens, "output_tokens", "tokens")
    if cached > prompt:
        raise within("cached_tokens", cached, "tokens.input_tokens", prompt)
    found = {"input": prompt - cached, "cache_read": cached, "output": output}
    quantities = {name: value for name, value in found.items() if value}
    return Normalised(quantities, estimated=bool(quantities))


_COHERE_UNITS = (
    ("input_tokens", "input"),
    ("output_tokens", "output"),
    ("image_tokens", "input_image"),
    ("search_units", "rerank_searches"),
)


def _whole(numbers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Cohere's schema and its client say `number`: 25.0 is the count 25 here, 25.5 is none."""
    return {
        key: int(value) if type(value) is float and value.is_integer() else value
        for key, value in numbers.items()
    }


def read_perplexity(usage: Mapping[str, Any]) -> Normalised:
    """Perplexity's deep research: reasoning and citations are beside what `total` counts.

    Citations are text that the model reads; they are listed at the price of input.
    """
    beside = ("reasoning_tokens", "citation_tokens", "num_search_queries")
    rest = {key: value for key, value in usage.items() if key not in beside}
    read = read_inclusive(rest, CHAT, beside=False)
    quantities = read.quantities
    for key, name in zip(beside, ("reasoning", "input", "web_searches"), strict=True):
        value = count(usage, key)
        if value:
            quantities[name] = quantities.get(name, 0) + value
    return read


def read_mistral_audio(usage: Mapping[str, Any]) -> Normalised:
    """Mistral's audio models: the audio is billed by its length, the rest by tokens.

    The total counts the audio's tokens too, which nothing is charged for.
    """
    rest = {key: value for key, value in usage.items() if key != "total_tokens"}
    read = read_inclusive(rest, CHAT, beside=False)
    audio = duration_ms(usage, "prompt_audio_seconds")
    if audio:
        read.quantities["input_audio_ms"] = audio
    return read


def read_pages(usage: Mapping[str, Any], annotated: bool = False) -> Normalised:
    """Mistral's document reader: `pages_processed`, dearer where the pages are annotated."""
    pages = count(usage, "pages_processed")
    name = "annotated_pages" if annotated else "input_pages"
    return Normalised({name: pages} if pages else {})


def read_ollama(body: Mapping[str, Any]) -> Normalised:
    """Ollama's own API counts at the top of the body."""
    quantities: dict[str, int] = {}
    for key, name in (("prompt_eval_count", "input"), ("eval_count", "output")):
        value = count(body, key)
        if value:
            quantities[name] = value
    return Normalised(quantities)


def read_duration(usage: Mapping[str, Any]) -> Normalised:
    """Audio billed by its length: transcriptions say `type: duration`, live sessions do not."""
    key = "seconds" if "seconds" in usage else "billable_audio_seconds"
    name = "input_audio_ms" if usage.get("type") == "duration" else "audio_ms"
    milliseconds = duration_ms(usage, key)
    return Normalised({name: milliseconds} if milliseconds else {})
