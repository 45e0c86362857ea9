"""`wrap` around the real OpenAI client: what is booked equals what the provider counted."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from costmeter.sdk.hosts import provider_of
from costmeter.sdk.routes import route_of
from fakes.exporter import Exporter
from fakes.provider import WORDS, Provider, Step
from sdk.booked import Rig, exporter_in, rig

MODEL = "gpt-4o-mini"
ASK: Any = [{"role": "user", "content": "secret question"}]


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    with exporter_in(tmp_path_factory.mktemp("openai")) as one:
        yield one


@pytest.fixture
def on(exporter: Exporter, request: pytest.FixtureRequest) -> Iterator[Rig]:
    with rig(exporter, request.node.name) as one:
        yield one


def client(on: Rig, **fields: Any) -> openai.OpenAI:
    own = openai.OpenAI(api_key="k", base_url=on.provider.url + "/v1", max_retries=2)
    return on.meter.wrap(own, provider="openai", **fields)


def async_client(on: Rig, **fields: Any) -> openai.AsyncOpenAI:
    own = openai.AsyncOpenAI(api_key="k", base_url=on.provider.url + "/v1", max_retries=2)
    return on.meter.wrap(own, provider="openai", **fields)


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_every_way_to_call(on: Rig) -> None:
    with client(on) as c:
        assert c.chat.completions.create(model=MODEL, messages=ASK).id == "chatcmpl-1"
        assert text_of(list(c.chat.completions.create(model=MODEL, messages=ASK, stream=True)))
        assert c.chat.completions.parse(model=MODEL, messages=ASK).id == "chatcmpl-3"
        with c.chat.completions.stream(model=MODEL, messages=ASK) as stream:
            assert stream.get_final_completion().choices[0].message.content == "".join(WORDS)
        raw = c.chat.completions.with_raw_response.create(model=MODEL, messages=ASK)
        assert raw.headers["x-request-id"] == "req_5"
        assert raw.parse().id == "chatcmpl-5"
        with c.chat.completions.with_streaming_response.create(model=MODEL, messages=ASK) as whole:
            assert whole.parse().id == "chatcmpl-6"
        assert c.responses.create(model="gpt-5", input="x").output_text == "".join(WORDS)
        assert list(c.responses.create(model="gpt-5", input="x", stream=True))
        with c.responses.stream(model="gpt-5", input="x") as events:
            assert events.get_final_response().output_text == "".join(WORDS)
        model = "text-embedding-3-small"
        assert len(c.embeddings.create(model=model, input=["a", "b"]).data) == 2
        vector = c.embeddings.create(model=model, input="a", encoding_format="float").data[0]
        assert vector.embedding == [0.25, -0.5, 0.125]
        c.with_options(timeout=9).copy().chat.completions.create(model=MODEL, messages=ASK)
    on.provider.wait_served(12)
    assert sum(on.provider.requests().values()) == 12
    on.assert_booked_as_served()
    on.assert_shown_as_served()


def test_every_way_to_call_async(on: Rig) -> None:
    async def calls() -> None:
        async with async_client(on) as c:
            assert (await c.chat.completions.create(model=MODEL, messages=ASK)).id == "chatcmpl-1"
            stream = await c.chat.completions.create(model=MODEL, messages=ASK, stream=True)
            assert text_of([chunk async for chunk in stream]) == "".join(WORDS)
            async with c.chat.completions.stream(model=MODEL, messages=ASK) as helper:
                assert await helper.get_final_completion()
            streaming = c.chat.completions.with_streaming_response
            async with streaming.create(model=MODEL, messages=ASK) as whole:
                assert (await whole.parse()).id == "chatcmpl-4"
            events = await c.responses.create(model="gpt-5", input="x", stream=True)
            assert [event async for event in events][-1].type == "response.completed"
            await c.embeddings.create(model="text-embedding-3-small", input="a")
            await asyncio.gather(
                *(c.chat.completions.create(model=MODEL, messages=ASK) for _ in range(5))
            )

    asyncio.run(calls())
    on.provider.wait_served(11)
    on.assert_booked_as_served()


def test_ids_latency_and_kind_are_taken_over(on: Rig) -> None:
    before = time.time_ns() // 1_000_000
    with client(on, team="search") as c:
        c.responses.create(model="gpt-5", input="secret question")
        c.embeddings.create(model="text-embedding-3-small", input="a")
    response, embedding = on.events()
    assert (response.provider, response.model, response.team) == ("openai", "gpt-5", "search")
    assert response.id == "p:openai:resp_1"
    assert (response.operation, embedding.operation) == ("generation", "embedding")
    assert before <= response.at_ms <= time.time_ns() // 1_000_000
    assert 0 <= response.latency_ms < 10_000
    assert response.quantities["web_searches"] == 1
    # An embedding has no id of its own: the request's is kept beside one that is unique.
    assert embedding.id.startswith("f:http:")
    assert embedding.detail["tags"] == {"x_request_id": "req_2"}
    assert "secret" not in str(on.events())
    assert "private" not in str(on.events())


def test_attributes_hold_at_the_time_of_the_call(on: Rig) -> None:
    with client(on) as c:
        with on.meter.attributes(feature="answers", user_id="u1"):
            stream = c.chat.completions.create(model=MODEL, messages=ASK, stream=True)
        with on.meter.attributes(feature="other", user_id="u2", session_id="s2"):
            list(stream)
    (event,) = on.events()
    assert (event.feature, event.user_id, event.session_id) == ("answers", "u1", "")


def test_the_application_sees_the_chunks_it_would_have_seen(on: Rig) -> None:
    bare = openai.OpenAI(api_key="k", base_url=on.provider.url + "/v1")
    with bare, client(on) as c:
        expected = [chunk.to_dict() for chunk in bare.chat.completions.create(
            model=MODEL, messages=ASK, stream=True)]  # fmt: skip
        found = [chunk.to_dict(exclude_none=True) for chunk in c.chat.completions.create(
            model=MODEL, messages=ASK, stream=True)]  # fmt: skip
    for chunk in (*expected, *found):
        chunk.pop("id")
        for choice in chunk["choices"]:
            choice.pop("finish_reason", None)
    assert expected == found
    plain, asked = on.provider.served
    assert "stream_options" not in plain.request
    assert asked.request["stream_options"] == {"include_usage": True}
    assert asked.request["messages"] == ASK


def test_an_application_that_asks_for_usage_gets_it(on: Rig) -> None:
    with client(on) as c:
        asks = {"include_usage": True}
        chunks = list(
            c.chat.completions.create(model=MODEL, messages=ASK, stream=True, stream_options=asks)
        )
        assert chunks[-1].choices == []
        assert chunks[-1].usage.total_tokens == on.provider.served[0].usage["total_tokens"]
    on.assert_booked_as_served()


def test_asking_for_usage_can_be_switched_off(on: Rig) -> None:
    with client(on, include_usage=False) as c:
        list(c.chat.completions.create(model=MODEL, messages=ASK, stream=True))
    with client(on) as c:
        refuses = {"include_usage": False}
        list(
            c.chat.completions.create(
                model=MODEL, messages=ASK, stream=True, stream_options=refuses
            )
        )
    assert [event.status for event in on.events()] == ["ok", "ok"]
    for event in on.events():
        assert event.quantities == {"unmetered_calls": 1}
        assert event.detail["tags"] == {"usage": "unknown"}


@pytest.mark.parametrize("packed", [False, True])
def test_leaving_at_the_finish_reason_still_books_the_usage(on: Rig, packed: bool) -> None:
    on.provider.plan(Step(packed=packed))
    with client(on) as c:
        stream = c.chat.completions.create(model=MODEL, messages=ASK, stream=True)
        for chunk in stream:
            if chunk.choices[0].finish_reason:
                break
        # Neither closed nor collected: what the stream is still good for is not waited for.
        events = on.events()
        assert [event.status for event in events] == ["ok"]
        stream.close()
    on.provider.wait_served(1)
    # To the provider this may look like a client that left before the last event.
    assert on.requests() == {(MODEL, "ok"): 1}
    assert on.tokens() == on.provider.tokens()


def test_chunks_come_when_the_provider_sends_them(on: Rig) -> None:
    gate = threading.Event()
    on.provider.plan(Step(gate=gate, gate_at=3))
    with client(on) as c:
        stream = iter(c.chat.completions.create(model=MODEL, messages=ASK, stream=True))
        # The provider says nothing more before the gate opens, and these are there already.
        first = [next(stream) for _ in range(3)]
        assert text_of(first) == "".join(WORDS[:2])
        gate.set()
        assert text_of(list(stream)) == WORDS[2]
    on.assert_booked_as_served()


def leave_by_break(begin: Any) -> None:
    stream = begin()
    for _ in stream:
        break
    stream.close()


def leave_by_error(begin: Any) -> None:
    stream = begin()

    def work() -> None:
        with stream:
            for _ in stream:
                raise LookupError

    with pytest.raises(LookupError):
        work()


def leave_by_dropping(begin: Any) -> None:
    stream = begin()
    next(iter(stream))
    del stream
    gc.collect()


def never_read(begin: Any) -> None:
    begin()
    gc.collect()


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_error, leave_by_dropping, never_read])
def test_a_stream_that_is_left_is_recorded_once(on: Rig, leave: Any) -> None:
    gate = threading.Event()
    on.provider.plan(Step(gate=gate, gate_at=3))
    with client(on) as c:
        leave([c.responses.create(model="gpt-5", input="x", stream=True)].pop)
    gate.set()
    (event,) = on.events()
    assert event.status == "aborted"
    assert event.quantities == {"unmetered_calls": 1}
    assert event.detail["tags"]["usage"] == "unknown"


@pytest.mark.parametrize("after", [1, 3])
def test_a_connection_that_is_cut_in_a_stream(on: Rig, after: int) -> None:
    on.provider.plan(Step(cut_after=after))
    with client(on) as c, pytest.raises(httpx.RemoteProtocolError):
        list(c.chat.completions.create(model=MODEL, messages=ASK, stream=True))
    on.provider.wait_served(1)
    assert on.requests() == on.provider.requests() == {(MODEL, "aborted"): 1}
    assert on.events()[0].id == "p:openai:chatcmpl-1"


def test_a_cancelled_task(on: Rig) -> None:
    gate = threading.Event()
    on.provider.plan(Step(gate=gate, gate_at=2))

    async def calls() -> None:
        async with async_client(on) as c:
            seen = asyncio.Event()

            async def read() -> None:
                stream = await c.chat.completions.create(model=MODEL, messages=ASK, stream=True)
                async for _ in stream:
                    seen.set()

            task = asyncio.create_task(read())
            await asyncio.wait_for(seen.wait(), 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(calls())
    gate.set()
    assert on.requests() == {(MODEL, "aborted"): 1}


def test_retries_book_each_attempt_as_it_was_answered(on: Rig) -> None:
    on.provider.plan(Step(status=429), Step(status=500), Step(), Step(status=400))
    with client(on) as c:
        c.chat.completions.create(model=MODEL, messages=ASK)
        with pytest.raises(openai.BadRequestError):
            c.chat.completions.create(model=MODEL, messages=ASK)
    on.assert_booked_as_served()
    assert on.requests() == {(MODEL, "ok"): 1, (MODEL, "error"): 3}
    errors = [event for event in on.events() if event.status == "error"]
    assert [event.detail["tags"]["x_request_id"] for event in errors] == ["req_1", "req_2", "req_4"]


def test_a_connection_that_breaks_before_the_answer(on: Rig) -> None:
    on.provider.plan(Step(cut_after=0), Step())
    with client(on) as c:
        c.chat.completions.create(model=MODEL, messages=ASK)
    assert on.requests() == {(MODEL, "error"): 1, (MODEL, "ok"): 1}
    assert on.tokens() == on.provider.tokens()


def test_a_server_that_does_not_know_stream_options(on: Rig) -> None:
    on.provider.refuses_stream_options = True
    with client(on) as c:
        for _ in range(2):
            chunks = list(c.chat.completions.create(model=MODEL, messages=ASK, stream=True))
            assert text_of(chunks) == "".join(WORDS)
    # Refused once, not asked again; what costmeter asked for itself is no call of the application.
    assert [one.status for one in on.provider.served] == ["error", "ok", "ok"]
    assert on.requests() == {(MODEL, "ok"): 2}


def test_the_same_for_an_async_client(on: Rig) -> None:
    on.provider.refuses_stream_options = True

    async def calls() -> None:
        async with async_client(on) as c:
            stream = await c.chat.completions.create(model=MODEL, messages=ASK, stream=True)
            assert text_of([chunk async for chunk in stream]) == "".join(WORDS)

    asyncio.run(calls())
    assert on.requests() == {(MODEL, "ok"): 1}


def test_pictures_and_what_is_no_call_of_a_model(on: Rig) -> None:
    with client(on) as c:
        c.images.generate(model="gpt-image-1", prompt="secret question")
        on.provider.plan(Step(status=400))
        with pytest.raises(openai.BadRequestError):
            c.vector_stores.create(name="x")
    (event,) = on.events()
    assert (event.model, event.operation) == ("gpt-image-1", "image")
    assert dict(event.quantities) == {"input": 1007, "output_image": 53}


@pytest.mark.parametrize(
    ("path", "metered"),
    [
        ("/v1/chat/completions", True),
        ("/openai/deployments/d/chat/completions/", True),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/m:streamRawPredict", True),
        ("/model/anthropic.claude-sonnet-5/invoke", True),
        ("/v1/threads/t/messages", False),
        ("/v1/messages/count_tokens", False),
        ("/v1/messages/batches", False),
        ("/v1/responses/input_tokens", False),
        ("/v1/files", False),
        ("/", False),
    ],
)
def test_which_addresses_are_calls_of_a_model(path: str, metered: bool) -> None:
    assert (route_of(path) is not None) == metered


def test_an_answer_that_nobody_can_read_is_counted(on: Rig) -> None:
    class Odd(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            kind = {"content-type": "application/vnd.amazon.eventstream"}
            return httpx.Response(200, headers=kind, stream=httpx.ByteStream(b"\x00\x01"))

    own = openai.OpenAI(
        api_key="k", base_url="http://x/v1", http_client=httpx.Client(transport=Odd())
    )
    with on.meter.wrap(own) as c:
        assert list(c.chat.completions.create(model=MODEL, messages=ASK, stream=True)) == []
    assert on.meter.stats.dropped == {"unreadable": 1}
    assert on.events() == []


def answering(content: bytes, **headers: str) -> openai.OpenAI:
    """A client whose provider always says this."""

    class Same(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            kind = {"content-type": "application/json", **headers}
            return httpx.Response(200, headers=kind, stream=httpx.ByteStream(content))

    http_client = httpx.Client(transport=Same())
    return openai.OpenAI(api_key="k", base_url="http://api.openai.com/v1", http_client=http_client)


def test_a_picture_without_usage_is_a_call_that_nobody_can_price(on: Rig) -> None:
    with on.meter.wrap(answering(b'{"created": 1, "data": [{"url": "u"}]}')) as c:
        c.images.generate(model="dall-e-3", prompt="x")
    (event,) = on.events()
    assert (event.model, event.operation) == ("dall-e-3", "image")
    assert event.quantities == {"unmetered_calls": 1}


def test_empty_usage_keeps_the_name_of_the_call(on: Rig) -> None:
    body = b'{"id": "c-%s", "model": "m", "choices": [], "usage": {}}' % on.tenant_id.encode()
    with on.meter.wrap(answering(body, **{"x-request-id": "a\tb"})) as c:
        c.chat.completions.create(model=MODEL, messages=ASK)
    (event,) = on.events()
    assert (event.id, event.model) == (f"p:openai:c-{on.tenant_id}", "m")
    assert event.quantities == {"unmetered_calls": 1}


def test_kinds_of_answers_are_read_in_any_case(on: Rig) -> None:
    usage = b'{"id":"c","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}'
    told = b"data: " + usage + b"\n\ndata: [DONE]\n\n"
    with on.meter.wrap(answering(told, **{"content-type": "Text/Event-Stream"})) as c:
        assert list(c.chat.completions.create(model=MODEL, messages=ASK, stream=True)) == []
    (event,) = on.events()
    assert event.quantities == {"input": 7, "output": 3}


def test_the_log_never_quotes_what_was_answered(on: Rig, caplog: pytest.LogCaptureFixture) -> None:
    garbled = answering(b'{"id": "secret \xff words"}')
    with on.meter.wrap(garbled) as c, contextlib.suppress(Exception):
        c.chat.completions.create(model=MODEL, messages=ASK)
    assert "an answer is no JSON: UnicodeDecodeError" in caplog.text
    assert "secret" not in caplog.text


def test_nothing_else_of_the_client_changes(on: Rig) -> None:
    own = openai.OpenAI(api_key="k", base_url=on.provider.url + "/v1")
    other = openai.OpenAI(api_key="k", base_url=on.provider.url + "/v1", http_client=own._client)
    wrapped = on.meter.wrap(own, provider="openai")
    assert wrapped is own
    assert isinstance(wrapped._client, httpx.Client)
    other.chat.completions.create(model=MODEL, messages=ASK)
    assert on.events() == []  # only the wrapped client is metered, not its neighbour
    on.meter.wrap(wrapped, provider="openai", feature="again")
    wrapped.chat.completions.create(model=MODEL, messages=ASK)
    assert [event.feature for event in on.events()] == ["again"]
    wrapped.close()
    assert wrapped.is_closed()


def test_a_client_of_another_kind_is_left_alone(on: Rig) -> None:
    thing = object()
    assert on.meter.wrap(thing) is thing


def test_azure_and_unknown_addresses_name_the_provider(on: Rig) -> None:
    azure = openai.AzureOpenAI(
        api_key="k", azure_endpoint=on.provider.url, api_version="2025-01-01", azure_deployment="d"
    )
    with on.meter.wrap(azure) as c:
        c.chat.completions.create(model=MODEL, messages=ASK)
    assert on.provider.served[0].route == "/openai/deployments/d/chat/completions"
    # No price of OpenAI for whatever answers under this address.
    assert [event.provider for event in on.events()] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("acme.openai.azure.com", "azure"),
        ("api.anthropic.com", "anthropic"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", "aws"),
        ("europe-west1-aiplatform.googleapis.com", "google"),
        ("OpenRouter.ai", "openrouter"),
        ("vllm.internal", "vllm.internal"),
        ("::1", "--1"),
    ],
)
def test_provider_of_a_host(host: str, expected: str) -> None:
    assert provider_of(host) == expected


def test_the_meter_being_away_is_not_noticed(provider_alone: Provider) -> None:
    from costmeter import Meter

    with Meter("http://127.0.0.1:9", exit_seconds=0) as meter:
        c = meter.wrap(openai.OpenAI(api_key="k", base_url=provider_alone.url + "/v1"))
        assert c.chat.completions.create(model=MODEL, messages=ASK).id == "chatcmpl-1"
        assert text_of(list(c.chat.completions.create(model=MODEL, messages=ASK, stream=True)))
        c.close()
        assert meter.stats.tracked == 2
        meter.close(0)


@pytest.fixture
def provider_alone() -> Iterator[Provider]:
    from fakes.provider import provider

    with provider() as one:
        yield one


def test_a_response_in_the_background_is_booked_when_it_is_fetched(on: Rig) -> None:
    with client(on, feature="report") as c:
        begun = c.responses.create(model="gpt-5", input="x", background=True)
        assert begun.status == "queued"
        assert on.events() == []
        assert c.responses.retrieve(begun.id).status == "in_progress"
        assert c.responses.retrieve(begun.id).status == "completed"
        assert c.responses.retrieve(begun.id).status == "completed"
    assert [(event.id, event.feature) for event in on.events()] == [
        (f"p:openai:{begun.id}", "report")
    ]
    assert on.tokens() == on.provider.tokens()
