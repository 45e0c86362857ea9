"""How long one usage object takes; printed beside genai-prices' own extraction."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from typing import Any

import pytest

from costmeter.normalise import normalise_usage

CHAT = {
    "prompt_tokens": 900,
    "completion_tokens": 310,
    "total_tokens": 1210,
    "prompt_tokens_details": {"cached_tokens": 640, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 256, "audio_tokens": 0},
}
MESSAGE = {
    "input_tokens": 9,
    "cache_read_input_tokens": 15_000,
    "cache_creation_input_tokens": 700,
    "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 400},
    "output_tokens": 210,
    "service_tier": "standard",
}


@pytest.mark.benchmark
def test_one_usage_object_takes_microseconds(capsys: pytest.CaptureFixture[str]) -> None:
    prices = pytest.importorskip("genai_prices", reason="the peer is the extra `prices`")
    lines = ["pytest tests/normalise/test_speed.py -m benchmark"]
    for provider, flavour, model, usage in (
        ("openai", "chat", "gpt-5", CHAT),
        ("anthropic", "default", "claude-sonnet-4-5", MESSAGE),
    ):
        body = {"model": model, "usage": usage}

        def ours(provider: str = provider, usage: dict[str, Any] = usage) -> object:
            return normalise_usage(provider, usage)

        def peer(
            provider: str = provider, flavour: str = flavour, body: dict[str, Any] = body
        ) -> object:
            return prices.extract_usage(body, provider_id=provider, api_flavor=flavour)

        mine, theirs = _microseconds(ours, 20_000), _microseconds(peer, 500)
        lines.append(f"{provider}: {mine:.2f} us, genai-prices {theirs:.1f} us")
        assert mine * 5 < theirs
    with capsys.disabled():
        print("\n" + "\n".join(lines))


def _microseconds(function: Callable[[], object], number: int) -> float:
    # Time of this process: a busy neighbour must not decide.
    return (
        min(timeit.repeat(function, timer=time.process_time, number=number, repeat=5))
        / number
        * 1e6
    )
