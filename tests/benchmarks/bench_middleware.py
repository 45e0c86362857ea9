"""What CostmeterMiddleware adds to a request, beside Starlette's BaseHTTPMiddleware.

    PYTHONPATH=exporter python tests/benchmarks/bench_middleware.py

The same small ASGI application answers the same request, bare and behind each middleware, in
alternating rounds of one run. BaseHTTPMiddleware runs an empty `dispatch`: that is what its
way of wrapping costs before it does anything. The smallest round counts: what the code costs
when nothing disturbs it. Every middleware's effect is asserted before it is timed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.middleware.base import BaseHTTPMiddleware

from costmeter.sdk.asgi import CostmeterMiddleware
from costmeter.sdk.context import current

REQUESTS = 2_000
ROUNDS = 25

App = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]

#: As a browser behind a proxy sends them: twelve headers, of which two are wanted.
HEADERS = [
    (b"host", b"api.example.com"),
    (b"user-agent", b"python-httpx/0.28.1"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"connection", b"keep-alive"),
    (b"content-type", b"application/json"),
    (b"content-length", b"412"),
    (b"authorization", b"Bearer 0123456789abcdef0123456789abcdef"),
    (b"x-request-id", b"6c0a5d9e-5d5f-4a44-8f5a-8d7a2f1f0a11"),
    (b"x-forwarded-for", b"203.0.113.7"),
    (b"x-tenant", b"acme"),
    (b"x-user", b"u-4711"),
]
SENT = ({"type": "http.response.start", "status": 200, "headers": []},
        {"type": "http.response.body", "body": b"ok"})  # fmt: skip


async def bare(scope: Any, receive: Any, send: Any) -> None:
    for message in SENT:
        await send(message)


async def nothing(request: Any, call_next: Any) -> Any:
    return await call_next(request)


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Any) -> None:
    """The server's end."""


def scope() -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": "/v1/answers", "headers": HEADERS,
            "query_string": b"", "http_version": "1.1", "scheme": "http",
            "route": ROUTE, "state": {}}  # fmt: skip


class Route:
    path = "/v1/answers/{id}"


ROUTE = Route()


def applications() -> dict[str, App]:
    return {
        "bare ASGI": bare,
        "costmeter, tenant and user from headers": CostmeterMiddleware(
            bare, tenant_id="header:x-tenant", user_id="header:x-user"
        ),
        "costmeter, and feature from the route": CostmeterMiddleware(
            bare, tenant_id="header:x-tenant", user_id="header:x-user", feature="route"
        ),
        "Starlette's BaseHTTPMiddleware, empty": BaseHTTPMiddleware(bare, dispatch=nothing),
    }


async def check() -> None:
    """The fields are there inside, and gone outside."""
    seen: list[dict[str, object]] = []

    async def look(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(current()))

    middleware = CostmeterMiddleware(
        look, tenant_id="header:x-tenant", user_id="header:x-user", feature="route"
    )
    await middleware(scope(), receive, send)
    assert seen == [{"tenant_id": "acme", "user_id": "u-4711", "feature": "/v1/answers/{id}"}]
    assert not current()


async def once(app: App) -> float:
    """CPU seconds of a round."""
    scopes = [scope() for _ in range(REQUESTS)]
    begin = time.process_time()
    for one in scopes:
        await app(one, receive, send)
    return time.process_time() - begin


async def measure(rounds: int) -> dict[str, float]:
    """Microseconds of a request, by application; the best of the rounds."""
    await check()
    found: dict[str, list[float]] = {name: [] for name in applications()}
    apps = applications()
    for _ in range(rounds):
        for name, app in apps.items():
            found[name].append(await once(app))
    return {name: min(seconds) / REQUESTS * 1e6 for name, seconds in found.items()}


def main(rounds: int = ROUNDS) -> dict[str, float]:
    figures = asyncio.run(measure(rounds))
    own = figures["bare ASGI"]
    out = sys.stdout
    out.write(f"$ python {' '.join(sys.argv)}\n")
    out.write(f"{REQUESTS} requests of {len(HEADERS)} headers, best of {rounds} rounds\n")
    out.write(f"  {'':<44}{'us/request':>10}{'added':>10}\n")
    for name, figure in figures.items():
        out.write(f"  {name:<44}{figure:>10.2f}{figure - own:>10.2f}\n")
    return figures


if __name__ == "__main__":
    main()
