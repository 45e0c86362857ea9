"""OpenAI's way of counting: caches and reasoning are parts of input and output.

One reader serves chat completions, responses, embeddings, images, transcriptions and
realtime, and everybody who speaks these dialects: the names differ, the sums do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .modality import CACHE_READ, INPUT, NO_SPLIT, OUTPUT, Split, minus, put, share_cached
from .reading import Normalised, UsageError, count, group, within


class Names(NamedTuple):
    """How a dialect spells the four places of a usage object."""

    whole_input: str
    whole_output: str
    input_details: str
    output_details: str


CHAT = Names(
    "prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details"
)
RESPONSES = Names("input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details")
REALTIME = Names("input_tokens", "output_tokens", "input_token_details", "output_token_details")

#: Where dialects without details put the cached part of the prompt: DeepSeek, Moonshot,
#: Mistral, xAI's older form, Databricks and LiteLLM.
CACHED_OUTSIDE = (
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "num_cached_tokens",
    "cached_prompt_text_tokens",
    "cache_read_input_tokens",
)

#: Mistral's older spelling of the details.
SINGULAR = "prompt_token_details"

#: Written into a cache: in the details (OpenAI, OpenRouter; LiteLLM), or beside them.
_WRITTEN_INSIDE = ("cache_write_tokens", "cache_creation_tokens")
WRITTEN_OUTSIDE = "cache_creation_input_tokens"

TOTAL = "total_tokens"


def read_inclusive(usage: Mapping[str, Any], names: Names, beside: bool) -> Normalised:
    """Read a usage object whose caches and reasoning are parts of their wholes.

    `beside` says that this provider usually counts reasoning beside the output (xAI);
    where the object has a total, the total decides.
    """
    quantities: dict[str, int] = {}
    whole_input = count(usage, names.whole_input)
    whole_output = count(usage, names.whole_output)
    total = count(usage, TOTAL) if usage.get(TOTAL) is not None else None
    estimated = False
    if total is not None:
        if usage.get(names.whole_output) is None:
            whole_output = max(0, total - whole_input)
            estimated = whole_output > 0
        elif usage.get(names.whole_input) is None:
            whole_input = max(0, total - whole_output)
            estimated = True
    elif usage.get(names.whole_input) is None:
        estimated = True

    estimated |= _read_input(quantities, usage, names, whole_input)

    reasoning = _reasoning(usage, names)
    outside = reasoning and _is_beside(whole_input + whole_output, reasoning, total, beside)
    _read_output(quantities, usage, names, whole_output, 0 if outside else reasoning)
    if total is not None:
        # Tokens that only the total knows are reasoning which the dialect does not name
        # (Gemini and Grok behind OpenAI-compatible fronts leave it out).
        surplus = total - whole_input - whole_output - (reasoning if outside else 0)
        if surplus:
            estimated = True
            reasoning += max(0, surplus)
    if reasoning:
        quantities["reasoning"] = reasoning
    return Normalised(quantities, estimated=estimated)


def _read_input(
    quantities: dict[str, int], usage: Mapping[str, Any], names: Names, whole: int
) -> bool:
    """Put the input classes; True where a split had to be guessed."""
    details = group(usage, names.input_details)
    cached, cached_field = _cached(usage, names, details)
    written = _written(usage, names, details)
    split = _split(details, names.input_details) if details else NO_SPLIT
    text = whole - written - split.total()
    if text < 0 or cached > whole - written:
        parts = written + max(split.total(), cached)
        field = cached_field if cached >= split.total() else names.input_details
        raise within(field, parts, names.whole_input, whole)
    guessed = _check_misses(usage, cached, whole)
    if written:
        quantities["cache_write_5m"] = written
    if not split.total():
        if text > cached:
            quantities["input"] = text - cached
        if cached:
            quantities["cache_read"] = cached
        return guessed
    known = group(details, "cached_tokens_details", names.input_details)
    where = f"{names.input_details}.cached_tokens_details"
    if known:
        cached_split = _split(known, where)
    else:
        cached_split = share_cached(cached, text, split)
        guessed |= cached > 0
    cached_text = cached - cached_split.total()
    if cached_text < 0 or cached_text > text:
        raise UsageError(
            where, f"does not add up to {cached}; write the provider's usage object unchanged"
        )
    put(quantities, CACHE_READ, cached_text, cached_split)
    put(quantities, INPUT, text - cached_text, minus(split, cached_split, where))
    return guessed


def _read_output(
    quantities: dict[str, int],
    usage: Mapping[str, Any],
    names: Names,
    whole: int,
    reasoning: int,
) -> None:
    details = group(usage, names.output_details)
    split = _split(details, names.output_details) if details else NO_SPLIT
    text = whole - reasoning - split.total()
    if text < 0:
        field = names.output_details
        if reasoning > whole:
            field = f"{field}.reasoning_tokens" if details else "reasoning_tokens"
        raise within(field, reasoning + split.total(), names.whole_output, whole)
    put(quantities, OUTPUT, text, split)


def _split(details: Mapping[str, Any], root: str) -> Split:
    audio = count(details, "audio_tokens", root)
    image = count(details, "image_tokens", root)
    video = count(details, "video_tokens", root)
    return Split(audio, image, video) if audio or image or video else NO_SPLIT


def _cached(usage: Mapping[str, Any], names: Names, details: Mapping[str, Any]) -> tuple[int, str]:
    if details:
        cached = count(details, "cached_tokens", names.input_details)
        if cached:
            return cached, f"{names.input_details}.cached_tokens"
    for key in CACHED_OUTSIDE:
        if key in usage:
            cached = count(usage, key)
            if cached:
                return cached, key
    if SINGULAR in usage:
        singular = group(usage, SINGULAR)
        return count(singular, "cached_tokens", SINGULAR), f"{SINGULAR}.cached_tokens"
    return 0, f"{names.input_details}.cached_tokens"


def _written(usage: Mapping[str, Any], names: Names, details: Mapping[str, Any]) -> int:
    if details:
        for key in _WRITTEN_INSIDE:
            if key in details:
                return count(details, key, names.input_details)
    return count(usage, WRITTEN_OUTSIDE) if WRITTEN_OUTSIDE in usage else 0


def _check_misses(usage: Mapping[str, Any], cached: int, whole: int) -> bool:
    """DeepSeek splits the prompt into hits and misses; True where tokens are in neither."""
    if usage.get("prompt_cache_miss_tokens") is None:
        return False
    missed = count(usage, "prompt_cache_miss_tokens")
    if cached + missed > whole:
        raise within("prompt_cache_miss_tokens", cached + missed, "prompt_tokens", whole)
    return cached + missed < whole


def _reasoning(usage: Mapping[str, Any], names: Names) -> int:
    details = group(usage, names.output_details)
    if details:
        root = names.output_details
        # Anthropic's spelling, met where its objects carry nothing about caches.
        key = "reasoning_tokens" if "reasoning_tokens" in details else "thinking_tokens"
        found = count(details, key, root)
        if found:
            return found
    return count(usage, "reasoning_tokens") if "reasoning_tokens" in usage else 0


def _is_beside(named: int, reasoning: int, total: int | None, usually: bool) -> bool:
    if total == named:
        return False
    if total == named + reasoning:
        return True
    return usually


def read_total(usage: Mapping[str, Any]) -> Normalised:
    """Embeddings and rerankers that say a total and nothing else: all of it is input."""
    whole = count(usage, TOTAL)
    return Normalised({"input": whole} if whole else {}, estimated=bool(whole))
