"""What holds for every usage object: parts add up, nothing crashes, quick equals thorough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from costmeter.model import QUANTITIES, TOKEN_CLASSES
from costmeter.normalise import (
    Normalised,
    UsageError,
    normalise_response,
    normalise_stream,
    normalise_usage,
)
from costmeter.normalise.inclusive import CHAT, RESPONSES, read_inclusive
from costmeter.normalise.plain import read_plain
from normalise.test_dialects import BODIES, USAGES

COUNT = st.integers(0, 10**7)
PROVIDER = st.sampled_from(["openai", "anthropic", "google", "aws", "xai", "cohere", "gateway"])


def _words(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_words, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(_words, value))
    return {value} if isinstance(value, str) else set()


#: Every key and word of the invented objects: nonsense made of these reaches every reader.
WORDS = sorted(
    _words([usage for _, usage, _, _ in USAGES.values()])
    | _words([body for _, body, _ in BODIES.values()])
    | {"iterations", "metadata", "chunk", "delta"}
)
LEAF = (
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.integers()
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=5)
)
JSON = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=25,
)


def _tokens(read: Normalised) -> int:
    return sum(read.quantities.get(name, 0) for name in TOKEN_CLASSES)


def _is_sound(read: Normalised) -> bool:
    texts = (read.model, read.processing, read.response_id)
    return (
        set(read.quantities) <= QUANTITIES
        and all(type(value) is int and value > 0 for value in read.quantities.values())
        and all(isinstance(text, str) for text in texts)
        and type(read.estimated) is bool
        and all(_is_sound(other) for other in read.also)
    )


def _attempt(function: Callable[..., Normalised | None], *args: Any) -> Normalised | None:
    """What the function reads; None where it reads nothing or refuses with a reason."""
    try:
        return function(*args)
    except UsageError as error:
        return None if error.reason else Normalised({"a refusal without a reason": 0})


@settings(max_examples=250, deadline=None)
@given(PROVIDER, JSON)
def test_any_json_is_read_or_refused(provider: str, value: Any) -> None:
    events = value if isinstance(value, list) else [value]
    for function, argument in (
        (normalise_usage, value),
        (normalise_response, value),
        (normalise_stream, events),
    ):
        read = _attempt(function, provider, argument)
        assert read is None or _is_sound(read)


@settings(max_examples=250, deadline=None)
@given(PROVIDER, st.sampled_from(sorted(USAGES)), st.data())
def test_one_spoilt_field_is_read_or_refused(provider: str, name: str, data: st.DataObject) -> None:
    usage = dict(USAGES[name][1])
    usage[data.draw(st.sampled_from(sorted(usage)))] = data.draw(JSON)
    read = _attempt(normalise_usage, provider, usage)
    assert read is None or _is_sound(read)


@st.composite
def _parts(draw: st.DrawFn) -> dict[str, int]:
    names = ("fresh", "read", "written", "audio", "image", "read_audio", "out", "think", "speak")
    return {name: draw(st.just(0) | COUNT) for name in names}


@settings(deadline=None)
@given(_parts(), st.booleans(), st.booleans())
def test_openais_parts_add_up(parts: dict[str, int], chat: bool, beside: bool) -> None:
    names = CHAT if chat else RESPONSES
    whole_input = sum(
        parts[name] for name in ("fresh", "read", "written", "audio", "image", "read_audio")
    )
    whole_output = parts["out"] + parts["speak"] + (0 if beside else parts["think"])
    total = whole_input + parts["out"] + parts["speak"] + parts["think"]
    usage = {
        names.whole_input: whole_input,
        names.whole_output: whole_output,
        "total_tokens": total,
        names.input_details: {
            "cached_tokens": parts["read"] + parts["read_audio"],
            "cache_write_tokens": parts["written"],
            "audio_tokens": parts["audio"] + parts["read_audio"],
            "image_tokens": parts["image"],
            "cached_tokens_details": {
                "text_tokens": parts["read"],
                "audio_tokens": parts["read_audio"],
            },
        },
        names.output_details: {
            "reasoning_tokens": parts["think"],
            "audio_tokens": parts["speak"],
        },
    }
    read = normalise_usage("openai", usage)
    expected = {
        "input": parts["fresh"],
        "cache_read": parts["read"],
        "cache_write_5m": parts["written"],
        "input_audio": parts["audio"],
        "cache_read_audio": parts["read_audio"],
        "input_image": parts["image"],
        "output": parts["out"],
        "reasoning": parts["think"],
        "output_audio": parts["speak"],
    }
    assert total == _tokens(read)
    assert {name: value for name, value in expected.items() if value} == read.quantities


@settings(deadline=None)
@given(COUNT, COUNT, COUNT, COUNT, COUNT, COUNT)
def test_anthropics_parts_add_up(
    fresh: int, read: int, five: int, hour: int, out: int, think: int
) -> None:
    usage = {
        "input_tokens": fresh,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": five + hour,
        "cache_creation": {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour},
        "output_tokens": out + think,
        "output_tokens_details": {"thinking_tokens": think},
    }
    found = normalise_usage("anthropic", usage)
    assert fresh + read + five + hour + out + think == _tokens(found)
    assert not found.estimated


@settings(deadline=None)
@given(COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT)
def test_geminis_parts_add_up(
    text: int, image: int, cached: int, cached_image: int, tool: int, out: int, think: int
) -> None:
    rows = [
        {"modality": "TEXT", "tokenCount": text + cached},
        {"modality": "IMAGE", "tokenCount": image + cached_image},
    ]
    cached_rows = [
        {"modality": "TEXT", "tokenCount": cached},
        {"modality": "IMAGE", "tokenCount": cached_image},
    ]
    usage = {
        "promptTokenCount": text + image + cached + cached_image,
        "promptTokensDetails": rows,
        "cachedContentTokenCount": cached + cached_image,
        "cacheTokensDetails": cached_rows,
        "toolUsePromptTokenCount": tool,
        "candidatesTokenCount": out,
        "thoughtsTokenCount": think,
        "totalTokenCount": text + image + cached + cached_image + tool + out + think,
    }
    expected = {
        "input": text + tool,
        "input_image": image,
        "cache_read": cached,
        "cache_read_image": cached_image,
        "output": out,
        "reasoning": think,
    }
    found = normalise_usage("google", usage)
    assert {name: value for name, value in expected.items() if value} == found.quantities
    assert usage["totalTokenCount"] == _tokens(found)


@settings(deadline=None)
@given(COUNT, COUNT, COUNT, COUNT, COUNT)
def test_bedrocks_parts_add_up(fresh: int, read: int, five: int, hour: int, out: int) -> None:
    usage = {
        "inputTokens": fresh,
        "cacheReadInputTokens": read,
        "cacheWriteInputTokens": five + hour,
        "cacheDetails": [{"ttl": "1h", "inputTokens": hour}, {"ttl": "5m", "inputTokens": five}],
        "outputTokens": out,
        "totalTokens": fresh + read + five + hour + out,
    }
    found = normalise_usage("aws", usage)
    assert usage["totalTokens"] == _tokens(found)
    assert not found.estimated


@settings(deadline=None)
@given(COUNT, COUNT, COUNT)
def test_a_total_above_the_parts_is_kept_and_flagged(prompt: int, out: int, more: int) -> None:
    usage = {"prompt_tokens": prompt, "completion_tokens": out, "total_tokens": prompt + out + more}
    read = normalise_usage("somebody", usage)
    assert (usage["total_tokens"], more > 0) == (_tokens(read), read.estimated)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([CHAT, RESPONSES]),
    st.fixed_dictionaries({"in": st.integers(-1, 9), "out": st.integers(-1, 9)}),
    st.integers(0, 3),
    st.dictionaries(
        st.sampled_from(["cached_tokens", "audio_tokens", "image_tokens", "cache_write_tokens"]),
        st.integers(-1, 9) | st.none() | st.booleans(),
    ),
    st.dictionaries(
        st.sampled_from(["reasoning_tokens", "audio_tokens", "rejected_prediction_tokens"]),
        st.integers(-1, 9) | st.none() | st.booleans(),
    ),
)
def test_the_quick_way_equals_the_thorough_one(
    names: Any, wholes: dict[str, int], off: int, inside: dict[str, Any], made: dict[str, Any]
) -> None:
    usage = {
        names.whole_input: wholes["in"],
        names.whole_output: wholes["out"],
        "total_tokens": wholes["in"] + wholes["out"] + max(0, off - 2),
        names.input_details: inside,
        names.output_details: made,
    }
    quick = read_plain(usage, names)
    if quick is not None:
        assert read_inclusive(usage, names, beside=False) == quick
        assert read_inclusive(usage, names, beside=True) == quick
