"""The quick way through OpenAI's dialects: text whose parts add up to the total.

Most of what arrives is of this kind, and it arrives on the ingest path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .inclusive import CACHED_OUTSIDE, SINGULAR, TOTAL, WRITTEN_OUTSIDE, Names
from .reading import MAX_COUNT, Normalised

#: Keys that make an object more than plain: caches told elsewhere, tools, other dialects.
_NOT_PLAIN = frozenset(
    {
        *CACHED_OUTSIDE,
        SINGULAR,
        WRITTEN_OUTSIDE,
        "cache_creation",
        "reasoning_tokens",
        "citation_tokens",
        "num_search_queries",
        "prompt_audio_seconds",
        "prompt_cache_miss_tokens",
        "server_tool_use",
        "server_side_tool_usage_details",
        "input_token_details",
        "service_tier",
        "speed",
    }
)


def read_plain(usage: Mapping[str, Any], names: Names) -> Normalised | None:
    """The quick way through for text that adds up; None sends the rest to `read_inclusive`.

    It accepts less than the thorough reader and gives the same for what it accepts.
    """
    if not _NOT_PLAIN.isdisjoint(usage):
        return None
    input_key, output_key, input_details, output_details = names
    whole_input = usage.get(input_key)
    whole_output = usage.get(output_key)
    total = usage.get(TOTAL)
    if (
        type(whole_input) is not int
        or type(whole_output) is not int
        or type(total) is not int
        or whole_input + whole_output != total
        or whole_input < 0
        or not 0 <= whole_output <= total <= MAX_COUNT
    ):
        return None
    details = usage.get(input_details)
    cached = 0 if details is None else _only(details, "cached_tokens", whole_input)
    details = usage.get(output_details)
    reasoning = 0 if details is None else _only(details, "reasoning_tokens", whole_output)
    if cached < 0 or reasoning < 0:
        return None
    quantities: dict[str, int] = {}
    if whole_input > cached:
        quantities["input"] = whole_input - cached
    if cached:
        quantities["cache_read"] = cached
    if whole_output > reasoning:
        quantities["output"] = whole_output - reasoning
    if reasoning:
        quantities["reasoning"] = reasoning
    return Normalised(quantities)


def _only(details: Any, key: str, whole: int) -> int:
    """The count under `key` where every other detail is zero; -1 for anything else."""
    if type(details) is not dict:
        return -1
    part = details.get(key, 0)
    for value in details.values():
        if type(value) is not int or value < 0:
            return -1
    return part if part <= whole and sum(details.values()) == part else -1
