"""A program that calls models through the real LiteLLM, with the callback; run by its test.

    python litellm_calls.py PROVIDER_URL EXPORTER_URL TENANT

A process of its own: LiteLLM takes seconds to import, warns while it does, and keeps global
state. It prints one JSON object, and ends when everything was delivered.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import types
from collections.abc import Callable
from typing import Any

from costmeter import Meter
from costmeter.sdk.litellm import CostmeterLogger

# LiteLLM's cache imports a module for audio that it does not use here.
try:
    import soundfile  # noqa: F401
except ImportError:
    sys.modules["soundfile"] = types.ModuleType("soundfile")

import litellm

ASK = [{"role": "user", "content": "secret question"}]
FULL = {"include_usage": True}


def wait(test: Callable[[], bool]) -> None:
    """LiteLLM calls back from threads of its own."""
    ends = time.monotonic() + 10
    while not test():
        assert time.monotonic() < ends, "LiteLLM did not call back"
        time.sleep(0.01)


def main(provider: str, exporter: str, tenant: str) -> None:
    meter = Meter(exporter, tenant_id=tenant, linger_seconds=0)
    logger = CostmeterLogger(meter, environment="test")
    litellm.callbacks = [logger]
    openai: dict[str, Any] = {"api_base": f"{provider}/v1", "api_key": "k"}
    chat = {"model": "openai/gpt-4o-mini", "messages": ASK, **openai}
    claude = {"model": "anthropic/claude-sonnet-5", "messages": ASK, "api_base": provider,
              "api_key": "k"}  # fmt: skip
    done = 0

    def recorded(more: int = 1) -> None:
        nonlocal done
        done += more
        wait(lambda: meter.stats.tracked + logger.cached >= done)

    with meter.attributes(feature="answers", tenant_id=tenant):
        litellm.completion(
            **chat, user="u1", metadata={"tags": ["a", "b"], "team": "search", "session_id": "s1"}
        )
        recorded()
    litellm.completion(**claude)
    recorded()
    list(litellm.completion(**chat, stream=True, stream_options=FULL))
    recorded()
    list(litellm.completion(**claude, stream=True))
    recorded()
    litellm.embedding(model="openai/text-embedding-3-small", input=["a"], **openai)
    recorded()
    # Planned by the test: refused.
    try:
        litellm.completion(**chat, num_retries=0, max_retries=0)
    except litellm.BadRequestError:
        recorded()

    async def calls() -> None:
        with meter.attributes(feature="async"):
            await litellm.acompletion(**chat)
        async for _ in await litellm.acompletion(**chat, stream=True, stream_options=FULL):
            pass
        async for _ in await litellm.acompletion(**claude, stream=True):
            pass
        await litellm.aembedding(model="openai/text-embedding-3-small", input=["a"], **openai)
        await asyncio.sleep(0.2)
        await asyncio.to_thread(recorded, 4)
        litellm.cache = litellm.Cache()
        await litellm.acompletion(**chat, temperature=0.5)
        await asyncio.to_thread(recorded)
        await litellm.acompletion(**chat, temperature=0.5)
        await asyncio.to_thread(recorded)

    asyncio.run(calls())
    time.sleep(0.5)  # time for a callback that would be one too many
    assert meter.flush(10)
    stats = meter.stats
    meter.close()
    print(json.dumps({"cached": logger.cached, "tracked": stats.tracked, "lost": stats.lost,
                      "duplicate": stats.duplicate}))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
