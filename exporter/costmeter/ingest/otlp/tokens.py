"""Token counts of the GenAI conventions into disjoint classes.

The conventions count the whole input and the whole output, caches and reasoning being parts
of them. Instrumentations older than that rule, for Anthropic and Bedrock above all, pass on
an input that excludes the caches, and some count reasoning beside the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costmeter.ingest.refusal import Refused
from costmeter.normalise.inclusive import RESPONSES, read_inclusive
from costmeter.normalise.reading import UsageError

#: Counts that split a whole by what it is made of.
MODAL = (
    "input_audio",
    "input_image",
    "cache_read_audio",
    "cache_read_image",
    "output_audio",
    "output_image",
)
#: Set beside counts of `MODAL`.
BY_MODALITY = "by_modality"


def classes(said: Mapping[str, Any], *, excludes_caches: bool = False) -> dict[str, int]:
    """The classes that are not zero.

    `said` may hold the counts input, output, total, cache_read, cache_write, reasoning, and with
    `BY_MODALITY` those of `MODAL`, none negative. What a count includes is told, in this order, by
    `excludes_caches`, by the total, by the parts (a part never exceeds its whole), and by the
    conventions. Raises Refused for parts that contradict each other.
    """
    if BY_MODALITY in said:
        return _by_modality(said, excludes_caches)
    get = said.get
    whole_input, whole_output = get("input"), get("output")
    read, written, reasoning = get("cache_read", 0), get("cache_write", 0), get("reasoning", 0)
    total = get("total")
    if whole_input is None:
        whole_input = 0 if total is None else max(0, total - (whole_output or 0))
        whole_input = max(whole_input, read + written)
    if whole_output is None:
        whole_output = 0 if total is None else max(0, total - whole_input)
    found: dict[str, int] = {}
    cached = read + written
    if cached:
        if _outside(whole_input, whole_output, cached, reasoning, total, excludes_caches):
            cached = 0
        if read:
            found["cache_read"] = read
        if written:
            found["cache_write_5m"] = written
    if whole_input > cached:
        found["input"] = whole_input - cached
    if reasoning:
        found["reasoning"] = reasoning
        if reasoning <= whole_output and not (
            total is not None and total == whole_input + whole_output + reasoning
        ):
            whole_output -= reasoning
    if whole_output:
        found["output"] = whole_output
    return found


def _outside(
    whole_input: int,
    whole_output: int,
    cached: int,
    reasoning: int,
    total: int | None,
    excludes_caches: bool,
) -> bool:
    """Whether the caches are counted beside the input."""
    if excludes_caches or cached > whole_input:
        return True
    if total is None:
        return False
    return total in (
        whole_input + whole_output + cached,
        whole_input + whole_output + cached + reasoning,
    )


def _by_modality(said: Mapping[str, Any], excludes_caches: bool) -> dict[str, int]:
    """The way of OpenAI's details, which has a place for every modality."""
    get = said.get
    read, written = get("cache_read", 0), get("cache_write", 0)
    whole_input = get("input", 0)
    if excludes_caches or read + written > whole_input:
        whole_input += read + written
    details: dict[str, Any] = {
        "cached_tokens": read,
        "cache_write_tokens": written,
        "audio_tokens": get("input_audio", 0),
        "image_tokens": get("input_image", 0),
    }
    if "cache_read_audio" in said or "cache_read_image" in said:
        details["cached_tokens_details"] = {
            "audio_tokens": get("cache_read_audio", 0),
            "image_tokens": get("cache_read_image", 0),
        }
    usage: dict[str, Any] = {
        "input_tokens": whole_input,
        "output_tokens": get("output", 0),
        "input_tokens_details": details,
        "output_tokens_details": {
            "reasoning_tokens": get("reasoning", 0),
            "audio_tokens": get("output_audio", 0),
            "image_tokens": get("output_image", 0),
        },
    }
    try:
        return read_inclusive(usage, RESPONSES, get("reasoning", 0) > get("output", 0)).quantities
    except UsageError as error:
        raise Refused("gen_ai.usage", f"the parts do not add up: {error}", code="usage") from None
