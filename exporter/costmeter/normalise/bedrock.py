"""Amazon Bedrock: Converse, Nova, invocation metrics, headers and the older bodies.

In every one of them the input excludes what was read from or written to a cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .reading import MAX_COUNT, Normalised, UsageError, count, rows, shown, text, within

#: Bedrock repeats the cache counts under two names.
_READ = ("cacheReadInputTokens", "cacheReadInputTokenCount")
_WRITTEN = ("cacheWriteInputTokens", "cacheWriteInputTokenCount")

INPUT_HEADER = "x-amzn-bedrock-input-token-count"
_OUTPUT_HEADER = "x-amzn-bedrock-output-token-count"
_READ_HEADER = "x-amzn-bedrock-cache-read-input-token-count"
_WRITTEN_HEADER = "x-amzn-bedrock-cache-write-input-token-count"

#: Longer than any count: int() of an endless text would take its time.
_LONGEST_COUNT = len(str(MAX_COUNT))


def read_converse(usage: Mapping[str, Any]) -> Normalised:
    """`usage` of Converse, of its stream's metadata event, and of Nova bodies."""
    return _disjoint(
        usage,
        count(usage, "inputTokens"),
        count(usage, "outputTokens"),
        _either(usage, _READ),
        _either(usage, _WRITTEN),
    )


def read_invocation_metrics(usage: Mapping[str, Any]) -> Normalised:
    """`amazon-bedrock-invocationMetrics`, which ends a stream of InvokeModel."""
    return _disjoint(
        usage,
        count(usage, "inputTokenCount"),
        count(usage, "outputTokenCount"),
        _either(usage, _READ),
        _either(usage, _WRITTEN),
    )


def read_headers(headers: Mapping[str, Any]) -> Normalised:
    """The response headers of InvokeModel; headers are text, so digits are counts here."""
    return _disjoint(
        {},
        _header(headers, INPUT_HEADER),
        _header(headers, _OUTPUT_HEADER),
        _header(headers, _READ_HEADER),
        _header(headers, _WRITTEN_HEADER),
    )


def read_titan(body: Mapping[str, Any]) -> Normalised:
    """Titan: `inputTextTokenCount`, and the output per result or, in a stream, in total."""
    output = count(body, "totalOutputTextTokenCount")
    if not output:
        for index, row in enumerate(rows(body, "results")):
            output += count(row, "tokenCount", f"results[{index}]")
    return _disjoint({}, count(body, "inputTextTokenCount"), output, 0, 0)


def read_llama(body: Mapping[str, Any]) -> Normalised:
    """Llama: `prompt_token_count` and `generation_token_count`."""
    return _disjoint(
        {}, count(body, "prompt_token_count"), count(body, "generation_token_count"), 0, 0
    )


def _disjoint(
    usage: Mapping[str, Any], fresh: int, output: int, read: int, written: int
) -> Normalised:
    hour, estimated = _hour(usage, written)
    quantities: dict[str, int] = {}
    if fresh:
        quantities["input"] = fresh
    if read:
        quantities["cache_read"] = read
    if written > hour:
        quantities["cache_write_5m"] = written - hour
    if hour:
        quantities["cache_write_1h"] = hour
    if output:
        quantities["output"] = output
    if usage.get("totalTokens") is not None:
        total = count(usage, "totalTokens")
        # Models without a cache count leave the caches out of their total.
        estimated |= total not in (fresh + output, fresh + output + read + written)
    return Normalised(quantities, estimated=estimated)


def _hour(usage: Mapping[str, Any], written: int) -> tuple[int, bool]:
    """Of the tokens written, those that live an hour; True where not all are named."""
    if not usage.get("cacheDetails"):
        return 0, written > 0
    hour = named = 0
    for index, row in enumerate(rows(usage, "cacheDetails")):
        tokens = count(row, "inputTokens", f"cacheDetails[{index}]")
        named += tokens
        if text(row, "ttl") == "1h":
            hour += tokens
    if named > written:
        raise within("cacheDetails", named, _WRITTEN[0], written)
    return hour, named < written


def _either(usage: Mapping[str, Any], keys: tuple[str, str]) -> int:
    return count(usage, keys[0] if usage.get(keys[0]) is not None else keys[1])


def _header(headers: Mapping[str, Any], key: str) -> int:
    value = headers.get(key)
    if value is None:
        return 0
    if (
        isinstance(value, str)
        and len(value) <= _LONGEST_COUNT
        and value.isascii()
        and value.isdigit()
    ):
        return count({key: int(value)}, key)
    if type(value) is int:
        return count(headers, key)
    raise UsageError(key, f"{shown(value)} is no count; write the header's digits unchanged")
