"""Gemini's way of counting: caches are in the prompt; thoughts and tool use are beside.

The REST API writes camelCase, the Python client's objects snake_case, the Live API says
`response` for `candidates`; the newer Interactions API has names of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .modality import CACHE_READ, INPUT, OUTPUT, Split, minus, put, share_cached
from .reading import Normalised, UsageError, count, path, rows, text, within


class Names(NamedTuple):
    """How a dialect spells one usage object."""

    prompt: str
    prompt_details: str
    cached: str
    cached_details: str
    tool: str
    tool_details: str
    output: str
    output_details: str
    thoughts: str
    total: str
    row_count: str


CAMEL = Names(
    "promptTokenCount",
    "promptTokensDetails",
    "cachedContentTokenCount",
    "cacheTokensDetails",
    "toolUsePromptTokenCount",
    "toolUsePromptTokensDetails",
    "candidatesTokenCount",
    "candidatesTokensDetails",
    "thoughtsTokenCount",
    "totalTokenCount",
    "tokenCount",
)
SNAKE = Names(
    "prompt_token_count",
    "prompt_tokens_details",
    "cached_content_token_count",
    "cache_tokens_details",
    "tool_use_prompt_token_count",
    "tool_use_prompt_tokens_details",
    "candidates_token_count",
    "candidates_tokens_details",
    "thoughts_token_count",
    "total_token_count",
    "token_count",
)
INTERACTIONS = Names(
    "total_input_tokens",
    "input_tokens_by_modality",
    "total_cached_tokens",
    "cached_tokens_by_modality",
    "total_tool_use_tokens",
    "tool_use_tokens_by_modality",
    "total_output_tokens",
    "output_tokens_by_modality",
    "total_thought_tokens",
    "total_tokens",
    "tokens",
)
LIVE_CAMEL = CAMEL._replace(output="responseTokenCount", output_details="responseTokensDetails")
LIVE_SNAKE = SNAKE._replace(output="response_token_count", output_details="response_tokens_details")

#: A page of a document is read, and priced, as an image.
_MODALITIES = {"AUDIO": "audio", "IMAGE": "image", "DOCUMENT": "image", "VIDEO": "video"}

_TIERS = {"standard": "standard", "flex": "flex", "priority": "priority", "batch": "batch"}
_TRAFFIC = {
    "ON_DEMAND": "standard",
    "ON_DEMAND_FLEX": "flex",
    "ON_DEMAND_PRIORITY": "priority",
    "PROVISIONED_THROUGHPUT": "standard",
}


def read_gemini(usage: Mapping[str, Any], names: Names) -> Normalised:
    """Read one `usageMetadata` object. Tokens without a modality are text."""
    quantities: dict[str, int] = {}
    prompt = count(usage, names.prompt)
    cached = count(usage, names.cached)
    tool = count(usage, names.tool)
    output = count(usage, names.output)
    thoughts = count(usage, names.thoughts)
    if cached > prompt:
        raise within(names.cached, cached, names.prompt, prompt)
    if not (cached or tool) and prompt + output + thoughts == usage.get(names.total):
        plain = _only_text(usage.get(names.prompt_details), names.row_count, prompt)
        if plain and _only_text(usage.get(names.output_details), names.row_count, output):
            found = {"input": prompt, "output": output, "reasoning": thoughts}
            quantities = {name: value for name, value in found.items() if value}
            return Normalised(quantities, "", _processing(usage))

    whole, text_whole = _modalities(usage, names, names.prompt_details, names.prompt, prompt)
    estimated = False
    if not cached:
        put(quantities, INPUT, text_whole, whole)
    else:
        if usage.get(names.cached_details) or not whole.total():
            read, text_read = _modalities(usage, names, names.cached_details, names.cached, cached)
        else:
            read = share_cached(cached, text_whole, whole)
            text_read = cached - read.total()
            estimated = True
        if text_read > text_whole:
            raise within(names.cached_details, text_read, f"text in {names.prompt}", text_whole)
        put(quantities, CACHE_READ, text_read, read)
        put(quantities, INPUT, text_whole - text_read, minus(whole, read, names.cached_details))
    if tool:
        split, text_tool = _modalities(usage, names, names.tool_details, names.tool, tool)
        put(quantities, INPUT, text_tool, split)
    split, text_output = _modalities(usage, names, names.output_details, names.output, output)
    put(quantities, OUTPUT, text_output, split)

    total = usage.get(names.total)
    if total is not None:
        surplus = count(usage, names.total) - prompt - tool - output - thoughts
        if surplus:
            # Streams that stop early and OpenAI-compatible fronts lose the thoughts' own
            # count, never the total.
            estimated = True
            thoughts += max(0, surplus)
    if thoughts:
        quantities["reasoning"] = thoughts
    return Normalised(quantities, processing=_processing(usage), estimated=estimated)


def _only_text(details: Any, key: str, whole: int) -> bool:
    """True for no details or one row of text; False sends the rest to `_modalities`."""
    if details is None:
        return True
    if type(details) is not list or len(details) != 1 or type(details[0]) is not dict:
        return False
    tokens = details[0].get(key)
    return details[0].get("modality") == "TEXT" and type(tokens) is int and 0 <= tokens <= whole


def _modalities(
    usage: Mapping[str, Any], names: Names, details: str, whole_field: str, whole: int
) -> tuple[Split, int]:
    """The split of one whole, and the text left over."""
    if not usage.get(details):
        return Split(), whole
    found = {"audio": 0, "image": 0, "video": 0}
    named = 0
    for index, row in enumerate(rows(usage, details)):
        tokens = count(row, names.row_count, f"{details}[{index}]")
        named += tokens
        modality = row.get("modality", "TEXT")
        if not isinstance(modality, str):
            raise UsageError(
                path(f"{details}[{index}]", "modality"),
                "is no text; write TEXT, IMAGE, AUDIO, VIDEO or DOCUMENT",
            )
        kind = _MODALITIES.get(modality.upper())
        if kind is not None:
            found[kind] += tokens
    if named > whole:
        raise within(details, named, whole_field, whole)
    split = Split(**found)
    return split, whole - split.total()


def _processing(usage: Mapping[str, Any]) -> str:
    tier = text(usage, "serviceTier") or text(usage, "service_tier")
    if tier:
        return _TIERS.get(tier.lower(), "")
    traffic = text(usage, "trafficType") or text(usage, "traffic_type")
    return _TRAFFIC.get(traffic, "")
