"""A real server on a free loopback port, in a thread of its own, for tests that speak HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop

from costmeter.tally import Tally
from costmeter.web import Access, Application, Settings, WebServer
from fakes.clock import FakeClock
from fakes.door import MemoryDoor


@dataclass
class State:
    healthy: bool = True
    ready: bool = True
    reasons: Sequence[str] = ()


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Rig:
    """An application with everything it needs, and what it was asked."""

    door: MemoryDoor | None = field(default_factory=MemoryDoor)
    access: Access = field(default_factory=lambda: Access(listen_host="127.0.0.1"))
    settings: Settings = field(default_factory=Settings)
    clock: FakeClock = field(default_factory=FakeClock)
    tally: Tally = field(default_factory=Tally)
    state: State = field(default_factory=State)
    reload_error: str = ""
    render_error: Exception | None = None
    reloads: int = 0
    rendered: list[tuple[str, str, list[str]]] = field(default_factory=list)
    port: int = 0
    tls: ssl.SSLContext | None = None

    def application(self) -> Application:
        async def reload() -> str:
            self.reloads += 1
            return self.reload_error

        def render(
            accept: str, accept_encoding: str, names: Sequence[str]
        ) -> tuple[int, Sequence[tuple[bytes, bytes]], bytes]:
            if self.render_error is not None:
                raise self.render_error
            self.rendered.append((accept, accept_encoding, list(names)))
            body = b"up 1\n"
            kind = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
            return 200, ((b"content-length", b"%d" % len(body)), kind, (b"vary", b"accept")), body

        return Application(
            access=self.access,
            door=self.door,
            render=render,
            health=lambda: self.state,
            reload=reload,
            tally=self.tally,
            clock=self.clock,
            settings=self.settings,
        )

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read(),
            )
        finally:
            connection.close()

    def send(self, value: object, path: str = "/api/v1/usage", **headers: str) -> Answer:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.ask("POST", path, json.dumps(value), named)


@contextmanager
def serving(rig: Rig, *, host: str = "127.0.0.1") -> Iterator[Rig]:
    """Serve until the block ends; the port is then in `rig.port`."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="served")
    thread.start()
    application = rig.application()

    async def start() -> WebServer:
        server = WebServer(application, host=host, port=rig.port, tls=rig.tls, stop_seconds=2)
        await server.start()
        return server

    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        rig.port = server.port
        try:
            yield rig
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    finally:
        application.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
