"""Anthropic's way of counting: input is exclusive of every cache, thinking is in output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .reading import Normalised, count, group, path, rows, text, within
from .tools import put_tool_calls

#: Keys that only this dialect has; with one of them `input_tokens` excludes the caches.
MARKS = (
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
    "server_tool_use",
)

_PROCESSING = {
    "standard": "standard",
    "batch": "batch",
    "priority": "priority",
    "priority_on_demand": "standard",
    "flex": "flex",
    "flex_discount": "flex",
}


def read_anthropic(usage: Mapping[str, Any], model: str = "") -> Normalised:
    """Read a Messages API usage object, also from Bedrock, Vertex and Azure.

    Cache writes without a split by lifetime count as 5 minutes, the API's default.
    Iterations that the totals leave out are added: a compaction to this model's own
    quantities, a consulted adviser of another model to `also`.
    """
    quantities, estimated = _quantities(usage, "")
    put_tool_calls(quantities, usage)
    also: tuple[Normalised, ...] = ()
    if usage.get("iterations"):
        also, guessed = _add_iterations(quantities, usage, model)
        estimated |= guessed
    return Normalised(quantities, "", processing(usage), "", estimated, also)


def _add_iterations(
    quantities: dict[str, int], usage: Mapping[str, Any], model: str
) -> tuple[tuple[Normalised, ...], bool]:
    """Add what the totals leave out; return the usage of other models, and "is a guess"."""
    also: list[Normalised] = []
    estimated = False
    for index, row in enumerate(rows(usage, "iterations")):
        if text(row, "type") in ("", "message"):
            continue
        extra, guessed = _quantities(row, f"iterations[{index}]")
        other = text(row, "model")
        if other and other != model:
            also.append(Normalised(extra, other, estimated=guessed))
            continue
        estimated |= guessed
        for name, value in extra.items():
            quantities[name] = quantities.get(name, 0) + value
    return tuple(also), estimated


def _quantities(usage: Mapping[str, Any], root: str) -> tuple[dict[str, int], bool]:
    quantities: dict[str, int] = {}
    fresh = count(usage, "input_tokens", root)
    read = count(usage, "cache_read_input_tokens", root)
    output = count(usage, "output_tokens", root)
    written, hour, estimated = _written(usage, root)
    thinking = 0
    if usage.get("output_tokens_details") is not None:
        where = path(root, "output_tokens_details")
        thinking = count(group(usage, "output_tokens_details", root), "thinking_tokens", where)
        if thinking > output:
            raise within(f"{where}.thinking_tokens", thinking, "output_tokens", output)
    if fresh:
        quantities["input"] = fresh
    if read:
        quantities["cache_read"] = read
    if written > hour:
        quantities["cache_write_5m"] = written - hour
    if hour:
        quantities["cache_write_1h"] = hour
    if output > thinking:
        quantities["output"] = output - thinking
    if thinking:
        quantities["reasoning"] = thinking
    return quantities, estimated


def _written(usage: Mapping[str, Any], root: str) -> tuple[int, int, bool]:
    """All that was written to caches, of it for an hour, and whether that is a guess."""
    written = count(usage, "cache_creation_input_tokens", root)
    if usage.get("cache_creation") is None:
        return written, 0, written > 0
    where = path(root, "cache_creation")
    split = group(usage, "cache_creation", root)
    hour = count(split, "ephemeral_1h_input_tokens", where)
    named = count(split, "ephemeral_5m_input_tokens", where) + hour
    if usage.get("cache_creation_input_tokens") is None:
        return named, hour, False
    if named > written:
        raise within(where, named, "cache_creation_input_tokens", written)
    return written, hour, named < written


def processing(usage: Mapping[str, Any]) -> str:
    """What the object says of its tier and speed; empty where it says nothing."""
    if usage.get("speed") == "fast":
        return "fast"
    return _PROCESSING.get(text(usage, "service_tier"), "")
