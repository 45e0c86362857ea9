"""What is refused, and what the sender is told."""

from __future__ import annotations

from typing import Any

import pytest

from costmeter.normalise import UsageError, normalise_response, normalise_stream, normalise_usage

#: (usage object, the field that is named, a part of the reason)
REFUSED: list[tuple[Any, str, str]] = [
    ([], "", "is no object"),
    ({}, "", "names no count"),
    ({"hello": 1}, "", "names no count"),
    ({"prompt_tokens": -1, "completion_tokens": 1}, "prompt_tokens", "-1 is negative"),
    ({"prompt_tokens": 1.0, "completion_tokens": 1}, "prompt_tokens", "1.0 is no count"),
    ({"prompt_tokens": True, "completion_tokens": 1}, "prompt_tokens", "true is no count"),
    ({"prompt_tokens": "5", "completion_tokens": 1}, "prompt_tokens", "without quotes"),
    ({"prompt_tokens": [5], "completion_tokens": 1}, "prompt_tokens", "a list is no count"),
    ({"prompt_tokens": 10**13, "completion_tokens": 1}, "prompt_tokens", "one response"),
    ({"prompt_tokens": -(10**5000)}, "prompt_tokens", "a huge number is negative"),
    ({"prompt_tokens": 5, "total_tokens": "5"}, "total_tokens", "no count"),
    (
        {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}},
        "prompt_tokens_details.cached_tokens",
        "6 is more than the 5 of prompt_tokens",
    ),
    (
        {
            "prompt_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        },
        "prompt_tokens_details.cached_tokens",
        "6 is more than the 5",
    ),
    (
        {"prompt_tokens": 5, "prompt_tokens_details": {"audio_tokens": 6}},
        "prompt_tokens_details",
        "6 is more than the 5",
    ),
    (
        {"prompt_tokens": 5, "prompt_tokens_details": [1]},
        "prompt_tokens_details",
        "a list is no object",
    ),
    (
        {"prompt_tokens": 5, "prompt_tokens_details": {"audio_tokens": False}},
        "prompt_tokens_details.audio_tokens",
        "false is no count",
    ),
    (
        {
            "prompt_tokens": 5,
            "completion_tokens": 5,
            "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": -1, "image_tokens": 1},
        },
        "prompt_tokens_details.audio_tokens",
        "-1 is negative",
    ),
    (
        {
            "prompt_tokens": 5,
            "completion_tokens": 5,
            "total_tokens": 10,
            "completion_tokens_details": {"reasoning_tokens": 6},
        },
        "completion_tokens_details.reasoning_tokens",
        "6 is more than the 5 of completion_tokens",
    ),
    (
        {"prompt_tokens": 9, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2},
        "prompt_cache_miss_tokens",
        "10 is more than the 9",
    ),
    (
        {"input_tokens": 5, "cache_creation_input_tokens": 1, "cache_creation": 3},
        "cache_creation",
        "3 is no object",
    ),
    (
        {
            "input_tokens": 5,
            "cache_creation_input_tokens": 1,
            "cache_creation": {"ephemeral_1h_input_tokens": 2},
        },
        "cache_creation",
        "2 is more than the 1 of cache_creation_input_tokens",
    ),
    (
        {
            "output_tokens": 5,
            "cache_read_input_tokens": 1,
            "output_tokens_details": {"thinking_tokens": 6},
        },
        "output_tokens_details.thinking_tokens",
        "6 is more than the 5 of output_tokens",
    ),
    (
        {
            "input_tokens": 5,
            "cache_read_input_tokens": 0,
            "iterations": [{"type": "compaction", "input_tokens": -1}],
        },
        "iterations[0].input_tokens",
        "-1 is negative",
    ),
    (
        {"promptTokenCount": 5, "cachedContentTokenCount": 6},
        "cachedContentTokenCount",
        "6 is more than the 5 of promptTokenCount",
    ),
    (
        {"promptTokenCount": 5, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 6}]},
        "promptTokensDetails",
        "6 is more than the 5",
    ),
    (
        {"promptTokenCount": 5, "promptTokensDetails": [{"modality": 1, "tokenCount": 1}]},
        "promptTokensDetails[0].modality",
        "write TEXT",
    ),
    (
        {"promptTokenCount": 5, "promptTokensDetails": [7]},
        "promptTokensDetails[0]",
        "7 is no object",
    ),
    (
        {"promptTokenCount": 5, "promptTokensDetails": {"TEXT": 5}},
        "promptTokensDetails",
        "an object is no list",
    ),
    (
        {
            "promptTokenCount": 9,
            "cachedContentTokenCount": 9,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
        },
        "cacheTokensDetails",
        "more cached audio tokens",
    ),
    (
        {"inputTokens": 1, "cacheWriteInputTokens": 2, "cacheDetails": [{"inputTokens": 3}]},
        "cacheDetails",
        "3 is more than the 2 of cacheWriteInputTokens",
    ),
    (
        {"x-amzn-bedrock-input-token-count": "1e3"},
        "x-amzn-bedrock-input-token-count",
        "digits unchanged",
    ),
    ({"billed_units": {"input_tokens": 1.5}}, "billed_units.input_tokens", "1.5 is no count"),
    ({"tokens": {"input_tokens": 1}, "cached_tokens": 2}, "cached_tokens", "2 is more than the 1"),
    ({"seconds": float("nan")}, "seconds", "write seconds"),
    ({"seconds": 1e308}, "seconds", "write seconds"),
    ({"seconds": -1}, "seconds", "write seconds"),
    ({"pages_processed": "3"}, "pages_processed", 'the text "3" is no count'),
]


@pytest.mark.parametrize(("usage", "field", "reason"), REFUSED)
def test_refused(usage: Any, field: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        normalise_usage("somebody", usage)
    assert field == caught.value.field
    assert reason in caught.value.reason
    assert str(caught.value).startswith(f"{field}: " if field else reason)


def test_a_body_names_the_field_from_its_root() -> None:
    bad = {"prompt_tokens": -3}
    for body, field in (
        ({"usage": bad}, "usage.prompt_tokens"),
        ({"response": {"usage": bad}}, "response.usage.prompt_tokens"),
        ({"usageMetadata": {"hello": 1}}, "usageMetadata"),
        ({"prompt_eval_count": -1}, "prompt_eval_count"),
    ):
        with pytest.raises(UsageError) as caught:
            normalise_response("somebody", body)
        assert field == caught.value.field


@pytest.mark.parametrize("body", [{}, {"usage": None}, {"usage": 3}, [], None, {"metadata": {}}])
def test_a_body_without_usage(body: Any) -> None:
    with pytest.raises(UsageError, match=r"^usage: is missing; send the whole response"):
        normalise_response("openai", body)


def test_a_callers_metadata_is_not_usage() -> None:
    body = {"id": "r", "metadata": {"usage": {"prompt_tokens": 5}}}
    with pytest.raises(UsageError, match="is missing"):
        normalise_response("openai", body)


def test_a_stream_names_the_field() -> None:
    with pytest.raises(UsageError) as caught:
        normalise_stream("openai", [{"usage": {"prompt_tokens": "5"}}])
    assert caught.value.field == "usage.prompt_tokens"
