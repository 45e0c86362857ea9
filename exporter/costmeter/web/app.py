"""The ASGI application: which path does what, and what may never reach a user."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct, field

from costmeter import __version__
from costmeter.clock import Clock
from costmeter.ingest.event import MAX_EVENTS
from costmeter.ingest.otlp.reading import Rules
from costmeter.ingest.owner import Caller
from costmeter.ingest.window import Window
from costmeter.ledger.door import Door
from costmeter.tally import Tally
from costmeter.web.access import Access
from costmeter.web.exchange import (
    JSON,
    TEXT,
    ClientGone,
    Problem,
    Receive,
    Request,
    Response,
    Scope,
    Send,
)
from costmeter.web.intake import Intake
from costmeter.web.landing import landing_page
from costmeter.web.otlp import Otlp
from costmeter.web.writes import Writes

log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]


#: Takes Accept, Accept-Encoding and the `name[]` values (none for all); gives the status, the
#: headers and the bytes. Called in a thread.
Render = Callable[[str, str, Sequence[str]], tuple[int, Sequence[tuple[bytes, bytes]], bytes]]


class Health(Protocol):
    @property
    def healthy(self) -> bool: ...
    @property
    def ready(self) -> bool: ...
    @property
    def reasons(self) -> Sequence[str]: ...


class Settings(Struct, frozen=True):
    """Bounds of what comes in. `intake` bounds bytes, `max_events` one body's events."""

    window: Window = field(default_factory=Window)
    intake: Intake = field(default_factory=Intake)
    max_events: int = MAX_EVENTS
    otlp: Rules = field(default_factory=Rules)
    birth_hold_seconds: int = 300
    docs_url: str = ""


Reload = Callable[[], Awaitable[str]]


class Application:
    """Raw ASGI, because a framework would cost more than the event it carries.

    `health` is asked on every probe and must not block. `reload` returns "" when the new
    configuration is in force, else what is wrong with it. `access` may be replaced while
    running.
    """

    def __init__(
        self,
        *,
        access: Access,
        door: Door | None,
        render: Render,
        health: Callable[[], Health],
        reload: Reload,
        tally: Tally,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self.access = access
        self._render = render
        self._health = health
        self._read_only = door is None
        self._reload = reload
        self._tally = tally
        self._settings = settings
        self._writes = Writes(
            door=door,
            clock=clock,
            tally=tally,
            window=settings.window,
            intake=settings.intake,
            max_events=settings.max_events,
        )
        self._otlp = Otlp(
            self._writes, clock, tally, settings.window, settings.max_events, settings.otlp
        )
        # Scrapes share the renderer's cache under its lock; more threads would only wait.
        self._scrapes = ThreadPoolExecutor(2, "scrape")
        self._openapi = b""
        self._routes: Mapping[str, Mapping[str, Handler]] = {
            "/": _get(self._landing),
            "/metrics": _get(self._metrics),
            "/openapi.json": _get(self._describe),
            "/-/healthy": _get(self._healthy),
            "/-/ready": _get(self._ready),
            "/-/reload": {"POST": self._reloaded, "PUT": self._reloaded},
            "/api/v1/usage": {"POST": self._usage},
            "/api/v1/corrections": {"POST": self._corrections},
            "/v1/traces": {"POST": self._traces},
            "/v1/metrics": {"POST": self._sums},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientGone:
            return
        await response.send(send, self.access.headers, head=request.method == "HEAD")

    def close(self) -> None:
        """Give back the threads; the server has stopped."""
        self._scrapes.shutdown(wait=False, cancel_futures=True)
        self.access.close()

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._route(request)(request)
        except Problem as problem:
            if problem.status == 429:
                self._tally.add("costmeter_ingest_throttled_total")
            return problem.response(as_json=request.path.startswith("/api/"))
        except ClientGone:
            raise
        except Exception:
            # The user gets a plain answer; what happened is for the log.
            log.exception("unexpected error at %s %s", request.method, request.path)
            broken = Problem(500, "internal error; the exporter's log says more")
            return broken.response(as_json=request.path.startswith("/api/"))

    def _route(self, request: Request) -> Handler:
        methods = self._routes.get(request.path)
        if methods is None:
            raise Problem(404, "nothing is here; the landing page at / lists what is")
        handler = methods.get(request.method)
        if handler is None:
            allowed = ", ".join(methods)
            raise Problem(405, f"use {allowed} here", headers=(("allow", allowed),))
        return handler

    async def _landing(self, request: Request) -> Response:
        await self.access.reader(request)
        return landing_page(
            version=__version__,
            scheme=str(request.scope.get("scheme", "http")),
            host=request.header("host") or "",
            with_token=self.access.takes_tokens,
            with_password=self.access.asks_password,
            birth_hold_seconds=self._settings.birth_hold_seconds,
            docs_url=self._settings.docs_url,
            read_only=self._read_only,
        )

    async def _metrics(self, request: Request) -> Response:
        await self.access.reader(request)
        try:
            names = parse_qs(request.query, max_num_fields=1000).get("name[]", [])
        except ValueError:
            raise Problem(400, "too many fields in the query") from None
        status, headers, body = await asyncio.get_running_loop().run_in_executor(
            self._scrapes,
            self._render,
            request.header("accept") or "",
            request.header("accept-encoding") or "",
            names,
        )
        said = {name.decode().lower(): value.decode("latin-1") for name, value in headers}
        said.pop("content-length", None)
        return Response(status, body, said.pop("content-type", TEXT), tuple(said.items()))

    async def _describe(self, request: Request) -> Response:
        await self.access.reader(request)
        if not self._openapi:
            # Late: few ask, and every start would wait for it.
            from costmeter.ingest.openapi import description

            described = description(__version__, self._settings.max_events)
            self._openapi = msgspec.json.encode(described)
        return Response(200, self._openapi, JSON)

    async def _healthy(self, request: Request) -> Response:
        health = self._health()
        return await self._state(request, health.healthy, health, "healthy")

    async def _ready(self, request: Request) -> Response:
        health = self._health()
        return await self._state(request, health.healthy and health.ready, health, "ready")

    async def _state(self, request: Request, good: bool, health: Health, word: str) -> Response:
        """Probes need no password; the reasons, which name files and figures, do."""
        if good:
            return Response(200, f"{word}\n".encode())
        reasons = list(health.reasons) if await self.access.may_read(request) else []
        return Response(503, "\n".join([f"not {word}", *reasons, ""]).encode())

    async def _reloaded(self, request: Request) -> Response:
        await self.access.operator(request)
        wrong = await self._reload()
        if wrong:
            raise Problem(500, f"the old configuration stays in force: {wrong}")
        return Response(200, b"reloaded\n")

    async def _usage(self, request: Request) -> Response:
        return await self._writes.usage(request, self._writer(request))

    async def _corrections(self, request: Request) -> Response:
        return await self._writes.corrections(request, self._writer(request))

    async def _traces(self, request: Request) -> Response:
        return await self._otlp.traces(request, self._writer)

    async def _sums(self, request: Request) -> Response:
        return await self._otlp.metrics(request, self._writer)

    def _writer(self, request: Request) -> Caller:
        try:
            return self.access.writer(request)
        except Problem:
            # A sender whose token has ended loses events; that must not go unseen.
            self._tally.add("costmeter_events_rejected_total", "unknown", "unauthorized")
            raise


def _get(handler: Handler) -> Mapping[str, Handler]:
    return {"GET": handler, "HEAD": handler}
