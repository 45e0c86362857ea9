"""The middleware under the real FastAPI and Starlette, up to what the exporter booked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import fastapi
import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from costmeter.sdk.asgi import MAX_TEXT, CostmeterMiddleware
from costmeter.sdk.context import CURRENT, attributes, current
from fakes.exporter import Exporter
from sdk.booked import Rig, exporter_in, rig

USED: Any = {"provider": "openai", "model": "gpt-4o-mini", "tokens": {"input": 10}}


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    with exporter_in(tmp_path_factory.mktemp("asgi")) as one:
        yield one


@pytest.fixture
def on(exporter: Exporter, request: pytest.FixtureRequest) -> Iterator[Rig]:
    with rig(exporter, request.node.name) as one:
        yield one


def asking(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")


def fastapi_app(on: Rig) -> fastapi.FastAPI:
    """Handlers of every kind; each tracks with its own model's name."""
    app = fastapi.FastAPI()
    app.add_middleware(
        CostmeterMiddleware,
        meter=on.meter,
        tenant_id="header:X-Tenant",
        user_id="header:x-user",
        session_id="query:session",
        team="path:team",
        feature="route",
    )

    def track(kind: str) -> None:
        on.meter.track(**{**USED, "model": kind})

    @app.get("/plain")
    async def plain() -> None:
        track("async")

    @app.get("/threads")
    def threads() -> None:
        track("thread")

    @app.get("/teams/{team}/answers/{number}")
    async def answers(team: str, number: int, request: fastapi.Request) -> None:
        request.state.costmeter.track(**{**USED, "model": "state"})

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def words() -> AsyncIterator[bytes]:
            yield b"one "
            await asyncio.sleep(0)
            track("async stream")
            yield b"two"

        return StreamingResponse(words())

    @app.get("/stream-threads")
    def stream_threads() -> StreamingResponse:
        def words() -> Iterator[bytes]:
            yield b"one "
            track("thread stream")
            yield b"two"

        return StreamingResponse(words())

    @app.get("/later")
    async def later(tasks: fastapi.BackgroundTasks) -> None:
        tasks.add_task(track, "background")

    @app.get("/client")
    async def client() -> str:
        own = openai.AsyncOpenAI(api_key="k", base_url=on.provider.url + "/v1")
        async with on.meter.wrap(own, provider="openai") as c:
            await c.embeddings.create(model="text-embedding-3-small", input="x")
        return "ok"

    return app


def test_fields_of_the_request_in_every_kind_of_handler(on: Rig) -> None:
    tenant = f"{on.tenant_id}-acme"
    headers = {"x-tenant": tenant, "x-user": "u1"}
    paths = ("plain", "threads", "teams/search/answers/7", "stream", "stream-threads", "later")

    async def ask() -> list[str]:
        async with asking(fastapi_app(on)) as c:
            got = [await c.get(f"/{path}?session=s%201", headers=headers) for path in paths]
            got.append(await c.get("/client", headers=headers))
            assert [one.status_code for one in got] == [200] * 7
            return [one.text for one in got]

    texts = asyncio.run(ask())
    assert texts[3:5] == ["one two", "one two"]
    events = on.events(tenant)
    assert {event.model: event.feature for event in events} == {
        "async": "/plain",
        "thread": "/threads",
        "state": "/teams/{team}/answers/{number}",
        "async stream": "/stream",
        "thread stream": "/stream-threads",
        "background": "/later",
        "text-embedding-3-small": "/client",
    }
    assert len(events) == 7
    assert {event.user_id for event in events} == {"u1"}
    assert {event.session_id for event in events} == {"s 1", ""}
    assert {event.team for event in events} == {"search", ""}
    assert on.events() == []  # nothing under the meter's own tenant


def test_requests_at_the_same_time_do_not_mix(on: Rig) -> None:
    async def ask() -> None:
        async with asking(fastapi_app(on)) as c:
            await asyncio.gather(
                *(
                    c.get(path, headers={"x-tenant": on.tenant_id, "x-user": f"{path}-{number}"})
                    for number in range(20)
                    for path in ("/threads", "/stream", "/plain")
                )
            )

    asyncio.run(ask())
    found = sorted((event.feature, event.user_id) for event in on.events())
    assert found == sorted(
        (path, f"{path}-{number}")
        for number in range(20)
        for path in ("/threads", "/stream", "/plain")
    )


async def run(app: Any, **changes: Any) -> list[Any]:
    """One request as a server gives it; what was sent back."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    await app({**scope, **changes}, receive, send)
    return sent


def fields_seen(middleware: dict[str, Any], **scope: Any) -> dict[str, object]:
    seen: dict[str, object] = {}

    async def look(scope: Any, receive: Any, send: Any) -> None:
        seen.update(current())

    asyncio.run(run(CostmeterMiddleware(look, **middleware), **scope))
    return seen


def test_receive_and_send_are_handed_on_untouched() -> None:
    given: list[Any] = []

    async def app(*arguments: Any) -> None:
        given.extend(arguments)

    async def receive() -> Any: ...
    async def send(message: Any) -> None: ...

    for kind in ("http", "websocket", "lifespan"):
        given.clear()
        scope = {"type": kind, "headers": []}
        asyncio.run(CostmeterMiddleware(app, tenant_id="header:x")(scope, receive, send))
        assert given[0] is scope
        assert given[1:] == [receive, send]


def test_errors_of_the_application_pass_and_nothing_stays() -> None:
    async def app(*_: Any) -> None:
        assert current() == {"tenant_id": "acme"}
        raise LookupError("the application's own")

    middleware = CostmeterMiddleware(app, tenant_id="header:x-tenant")

    async def ask() -> None:
        with pytest.raises(LookupError):
            await run(middleware, headers=[(b"x-tenant", b"acme")])
        assert not current()

    asyncio.run(ask())


def test_websockets() -> None:
    from starlette.testclient import TestClient

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_json({**current(), "heard": await socket.receive_text()})
        await socket.close()

    app = Starlette(routes=[WebSocketRoute("/talk/{room}", talk)])
    app.add_middleware(CostmeterMiddleware, tenant_id="header:x-tenant", team="path:room")
    with TestClient(app) as c, c.websocket_connect("/talk/7", headers={"x-tenant": "acme"}) as s:
        s.send_text("hello")
        assert s.receive_json() == {"tenant_id": "acme", "team": "7", "heard": "hello"}


def test_starlette_with_mounts_state_and_background() -> None:
    seen: list[dict[str, object]] = []

    async def handler(request: Request) -> JSONResponse:
        request.state.tenant = "from-login"
        return JSONResponse(
            dict(current()), background=BackgroundTask(lambda: seen.append(dict(current())))
        )

    inner = Starlette(routes=[Route("/items/{item}", handler)])
    app = Starlette(routes=[Mount("/shop", inner)])
    app.add_middleware(CostmeterMiddleware, tenant_id="state:tenant", project="path:item")

    async def ask() -> httpx.Response:
        async with asking(app) as c:
            return await c.get("/shop/items/9")

    expected = {"tenant_id": "from-login", "project": "9"}
    assert asyncio.run(ask()).json() == expected
    assert seen == [expected]


def test_attributes_inside_and_around_a_request() -> None:
    with attributes(environment="test", tenant_id="outer"):
        found = fields_seen({"tenant_id": "header:x-tenant"}, headers=[(b"x-tenant", b"acme")])
        assert found == {"environment": "test", "tenant_id": "acme"}
        assert fields_seen({"tenant_id": "header:x-tenant"}) == {
            "environment": "test",
            "tenant_id": "outer",
        }


def test_sources() -> None:
    scope: Any = {
        "headers": [(b"cookie", b"a=1; org=acme; b=2"), (b"x-user", "ü".encode("latin-1"))],
        "query_string": b"team=s%C3%BCd&empty=",
    }
    found = fields_seen(
        {
            "tenant_id": "cookie:org",
            "user_id": "header:x-user",
            "team": "query:team",
            "project": "query:empty",
            "service": "cookie:none",
            "feature": lambda scope: scope["path"].upper(),
        },
        **scope,
        path="/v1",
    )
    assert found == {"tenant_id": "acme", "user_id": "ü", "team": "süd", "feature": "/V1"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"ac\x00me\x1b[31m", {"tenant_id": "acme[31m"}),
        (b"  acme\t", {"tenant_id": "acme"}),
        ("ac\x85me".encode("latin-1"), {"tenant_id": "acme"}),
        (b"\x00\x01", {}),
        (b"a" * MAX_TEXT, {"tenant_id": "a" * MAX_TEXT}),
        (b"a" * (MAX_TEXT + 1), {}),
        (b"", {}),
    ],
)
def test_hostile_headers(value: bytes, expected: dict[str, object]) -> None:
    assert fields_seen({"tenant_id": "header:x"}, headers=[(b"x", value)]) == expected


def test_what_is_left_out_is_counted() -> None:
    async def app(*_: Any) -> None: ...

    def fails(scope: Any) -> str:
        raise RuntimeError("a bad source")

    middleware = CostmeterMiddleware(app, tenant_id="header:x", team=fails)
    for _ in range(3):
        asyncio.run(run(middleware, headers=[(b"x", b"a" * 201)]))
    assert middleware.refused == {"tenant_id": 3, "team": 3}


def test_the_first_of_a_header_that_came_twice() -> None:
    headers = [(b"x", b"first"), (b"x", b"second")]
    assert fields_seen({"tenant_id": "header:x"}, headers=headers) == {"tenant_id": "first"}


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"tenant": "header:x"}, "no such field"),
        ({"tenant_id": "head:x"}, "header:NAME"),
        ({"tenant_id": "header:"}, "header:NAME"),
        ({"tenant_id": "acme"}, "header:NAME"),
    ],
)
def test_a_wrong_configuration_is_refused_at_the_start(fields: Any, part: str) -> None:
    async def app(*_: Any) -> None: ...

    with pytest.raises(ValueError, match=part):
        CostmeterMiddleware(app, **fields)


def test_a_waiting_event_does_not_hold_the_request() -> None:
    held: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["path_params"] = {"team": "search"}
        scope["big"] = Big()
        held.append(CURRENT.get())

    middleware = CostmeterMiddleware(app, team="path:team")
    asyncio.run(run(middleware))
    assert Big.alive == 0
    assert json.loads(json.dumps(dict(held[0]))) == {"team": "search"}


class Big:
    alive = 0

    def __init__(self) -> None:
        Big.alive += 1

    def __del__(self) -> None:
        Big.alive -= 1


def test_a_value_that_cannot_be_written_hurts_nobody() -> None:
    class Strange:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    found: list[object] = []

    async def app(*_: Any) -> None:
        found.append(dict(current()))

    middleware = CostmeterMiddleware(app, tenant_id=lambda _: Strange(), team=lambda _: "t")
    asyncio.run(middleware({"type": "http"}, None, None))  # type: ignore[arg-type]
    assert found == [{"team": "t"}]
    assert middleware.refused == {"tenant_id": 1}
