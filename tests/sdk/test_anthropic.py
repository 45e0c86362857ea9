"""`wrap` around the real Anthropic client: what is booked equals what the provider counted."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import pytest

from fakes.exporter import Exporter
from fakes.provider import WORDS, Step
from fakes.provider_shapes import classes_of
from sdk.booked import Rig, exporter_in, rig

MODEL = "claude-sonnet-5"
CALL: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "secret question"}],
}


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    with exporter_in(tmp_path_factory.mktemp("anthropic")) as one:
        yield one


@pytest.fixture
def on(exporter: Exporter, request: pytest.FixtureRequest) -> Iterator[Rig]:
    with rig(exporter, request.node.name) as one:
        yield one


def client(on: Rig, **fields: Any) -> anthropic.Anthropic:
    own = anthropic.Anthropic(api_key="k", base_url=on.provider.url, max_retries=2)
    return on.meter.wrap(own, provider="anthropic", **fields)


def async_client(on: Rig, **fields: Any) -> anthropic.AsyncAnthropic:
    own = anthropic.AsyncAnthropic(api_key="k", base_url=on.provider.url, max_retries=2)
    return on.meter.wrap(own, provider="anthropic", **fields)


def test_every_way_to_call(on: Rig) -> None:
    with client(on) as c:
        assert c.messages.create(**CALL).content[0].text == "".join(WORDS)
        events = list(c.messages.create(**CALL, stream=True))
        assert [event.type for event in events][-1] == "message_stop"
        with c.messages.stream(**CALL) as stream:
            assert stream.get_final_text() == "".join(WORDS)
        assert c.beta.messages.create(**CALL).id == "msg_000004"
        with c.beta.messages.stream(**CALL) as stream:
            assert stream.get_final_message().usage.output_tokens == 65
        raw = c.messages.with_raw_response.create(**CALL)
        assert raw.parse().id == "msg_000006"
        with c.messages.with_streaming_response.create(**CALL) as whole:
            assert whole.parse().id == "msg_000007"
        assert c.with_options(max_retries=0).messages.create(**CALL).id == "msg_000008"
    on.provider.wait_served(8)
    assert on.provider.requests() == {(MODEL, "ok"): 8}
    on.assert_booked_as_served()
    on.assert_shown_as_served()


def test_every_way_to_call_async(on: Rig) -> None:
    async def calls() -> None:
        async with async_client(on) as c:
            assert (await c.messages.create(**CALL)).id == "msg_000001"
            stream = await c.messages.create(**CALL, stream=True)
            assert [event.type async for event in stream][-1] == "message_stop"
            async with c.messages.stream(**CALL) as helper:
                assert await helper.get_final_text() == "".join(WORDS)
            async with c.beta.messages.stream(**CALL) as helper:
                assert [event async for event in helper]
            await asyncio.gather(*(c.messages.create(**CALL) for _ in range(4)))

    asyncio.run(calls())
    on.provider.wait_served(8)
    on.assert_booked_as_served()


def test_ids_and_fields_are_taken_over(on: Rig) -> None:
    with client(on, feature="chat") as c, on.meter.attributes(user_id="u1", tags={"run": "7"}):
        c.messages.create(**CALL)
        on.provider.plan(Step(status=400))
        with pytest.raises(anthropic.BadRequestError):
            c.messages.create(**CALL)
    good, bad = on.events()
    assert (good.id, good.feature, good.user_id) == ("p:anthropic:msg_000001", "chat", "u1")
    assert good.detail["tags"] == {"run": "7"}
    assert (bad.status, bad.model, bad.quantities) == ("error", MODEL, {})
    assert bad.detail["tags"] == {"run": "7", "x_request_id": "req_2"}
    assert "secret" not in str(on.events())


def test_retries_book_each_attempt_as_it_was_answered(on: Rig) -> None:
    on.provider.plan(Step(status=529), Step(status=429), Step())
    with client(on) as c:
        c.messages.create(**CALL)
    assert on.requests() == {(MODEL, "error"): 2, (MODEL, "ok"): 1}
    on.assert_booked_as_served()


def known_at_the_start(on: Rig) -> dict[str, int]:
    """What `message_start` says: all of the input, and one token of output so far."""
    return classes_of({**(on.provider.served[0].usage or {}), "output_tokens": 1})


@pytest.mark.parametrize("after", [1, 4])
def test_a_cut_stream_books_what_was_known(on: Rig, after: int) -> None:
    on.provider.plan(Step(cut_after=after))
    with client(on) as c, pytest.raises(httpx2.RemoteProtocolError):
        list(c.messages.create(**CALL, stream=True))
    on.provider.wait_served(1)
    (event,) = on.events()
    assert event.status == "aborted"
    assert dict(event.quantities) == known_at_the_start(on)


def test_an_error_in_a_stream(on: Rig) -> None:
    on.provider.plan(Step(error_after=4))
    with client(on) as c, pytest.raises(anthropic.APIStatusError):
        list(c.messages.create(**CALL, stream=True))
    on.provider.wait_served(1)
    (event,) = on.events()
    assert event.status == "error"
    assert dict(event.quantities) == known_at_the_start(on)


@pytest.mark.parametrize("way", ["break", "drop", "exit"])
def test_a_stream_that_is_left_is_recorded_once(on: Rig, way: str) -> None:
    gate = threading.Event()
    on.provider.plan(Step(gate=gate, gate_at=4))
    with client(on) as c:
        if way == "exit":
            with c.messages.stream(**CALL) as helper:
                next(iter(helper))
        else:
            stream = c.messages.create(**CALL, stream=True)
            next(iter(stream))
            if way == "break":
                stream.close()
            del stream
            gc.collect()
    gate.set()
    on.provider.wait_served(1)
    (event,) = on.events()
    assert event.status == "aborted"
    assert dict(event.quantities) == known_at_the_start(on)


def test_a_packed_stream(on: Rig) -> None:
    on.provider.plan(Step(packed=True), Step(packed=True))
    with client(on) as c:
        assert list(c.messages.create(**CALL, stream=True))
        c.messages.create(**CALL)
    on.assert_booked_as_served()


def test_counting_tokens_is_no_call(on: Rig) -> None:
    with client(on) as c:
        on.provider.plan(Step(status=400))
        with pytest.raises(anthropic.BadRequestError):
            c.messages.count_tokens(model=MODEL, messages=CALL["messages"])
    assert on.events() == []
