"""A small HTTP/1.1 server: enough for scrapes, probes and a person's browser.

Everything is bounded: the size of a request's head, its body, the time for either, the
time a slow reader may take, and the number of connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from costmeter.agent.listening import bound_socket
from costmeter.agent.requests import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    BadRequest,
    Request,
    next_request,
)

_log = logging.getLogger("costmeter.agent")

TEXT = "text/plain; charset=utf-8"
MAX_CONNECTIONS = 128
#: For a whole request to arrive, from its first byte.
REQUEST_SECONDS = 10.0
#: For the next request on a connection.
IDLE_SECONDS = 75.0
#: For a client to take what it was answered.
WRITE_SECONDS = 30.0
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_REASONS: Mapping[int, str] = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 413: "Content Too Large",
    431: "Request Header Fields Too Large", 500: "Internal Server Error",
    501: "Not Implemented", 503: "Service Unavailable", 505: "HTTP Version Not Supported",
}  # fmt: skip


class Response(NamedTuple):
    status: int
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Awaitable[Response]]


class _Connection(asyncio.Protocol):
    """One client. Requests are answered one after the other."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._client = ""
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if peer else ""
        self._server.connections.add(self)
        if len(self._server.connections) > MAX_CONNECTIONS:
            self._send(Response(503, b"too many connections\n"), close=True)
            transport.close()
            return
        self._wait(REQUEST_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._server.gone(self)
        self._cancel_timer()
        self._writable.set()
        self._transport = None

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def eof_received(self) -> bool:
        # A client that has sent all may still read the answer.
        self._ended = True
        return self._task is not None

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if not self._received and self._task is None:
            self._wait(REQUEST_SECONDS)
        self._received += data
        if len(self._received) > MAX_HEAD_BYTES + MAX_BODY_BYTES:
            if self._task is not None:
                # Requests that nobody waits for; their sender can have it again later.
                self._transport.pause_reading()
            else:
                self._refuse(BadRequest(413, "too much at once"))
        elif self._task is None:
            self._next()

    def _next(self) -> None:
        """Begin to answer the request that is complete, if one is."""
        try:
            found = next_request(self._received, self._client)
        except BadRequest as bad:
            self._refuse(bad)
            return
        if found is None:
            return
        request, used, keep = found
        del self._received[:used]
        self._cancel_timer()
        self._task = self._loop.create_task(self._answer(request, keep))

    async def _answer(self, request: Request, keep: bool) -> None:
        try:
            response = await self._server.handler(request)
        except Exception:  # noqa: BLE001 - the client gets a plain answer
            _log.exception("unexpected error at %s %s", request.method, request.path)
            response = Response(500, b"internal error; the agent's log says more\n")
        keep = keep and not self._server.stopping and not self._ended
        self._send(response, close=not keep, head=request.method == "HEAD")
        if not self._writable.is_set():
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._writable.wait()
            except TimeoutError:
                if self._transport is not None:
                    self._transport.abort()
        self._task = None
        if self._transport is None:
            return
        if not keep:
            self._transport.close()
            return
        self._transport.resume_reading()
        if self._received:
            self._wait(REQUEST_SECONDS)
            self._next()
        else:
            self._wait(IDLE_SECONDS)

    def _refuse(self, bad: BadRequest) -> None:
        self._send(Response(bad.status, f"{bad}\n".encode()), close=True)
        if self._transport is not None:
            self._transport.close()

    def _send(self, response: Response, *, close: bool, head: bool = False) -> None:
        if self._transport is None:
            return
        reason = _REASONS.get(response.status, "")
        lines = [
            f"HTTP/1.1 {response.status} {reason}",
            f"content-type: {response.content_type}",
            f"content-length: {len(response.body)}",
            f"date: {_date()}",
            "x-content-type-options: nosniff",
        ]
        given = {name for name, _ in response.headers}
        lines += [f"{name}: {value}" for name, value in response.headers]
        added = self._server.headers
        lines += [f"{name}: {value}" for name, value in added if name not in given]
        if close:
            lines.append("connection: close")
        start = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        self._transport.write(start if head else start + response.body)

    def _wait(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = self._loop.call_later(seconds, self._late)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if self._received:
            self._refuse(BadRequest(408, "the request did not arrive in time"))
        elif self._transport is not None:
            self._transport.close()

    def stop(self) -> None:
        """Close when idle; what is being answered is finished."""
        if self._task is None and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class HttpServer:
    """Serves `handler` in the running event loop. `port` 0 takes any free one.

    `headers` are added to every answer; they may be replaced while it runs.
    """

    def __init__(self, handler: Handler, *, host: str, port: int) -> None:
        self.handler = handler
        self.headers: tuple[tuple[str, str], ...] = ()
        self.connections: set[_Connection] = set()
        self.stopping = False
        self.port = port
        self._host = host
        self._server: asyncio.Server | None = None
        self._idle: asyncio.Event | None = None

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Returns when connections are taken; raises CannotListen."""
        sock = bound_socket(self._host, self.port)
        self.port = int(sock.getsockname()[1])
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self),
            sock=sock,
            ssl=tls,
            ssl_handshake_timeout=REQUEST_SECONDS if tls is not None else None,
        )

    def gone(self, connection: _Connection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        if not self.connections and self._idle is not None:
            self._idle.set()

    async def stop(self, seconds: float = 2.0) -> None:
        """Take no more connections, finish what is being answered, then return."""
        self.stopping = True
        if self._server is not None:
            self._server.close()
        for connection in tuple(self.connections):
            connection.stop()
        if self.connections:
            self._idle = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._idle.wait()
        for connection in tuple(self.connections):
            connection.abort()


def _date() -> str:
    """Now, as HTTP writes it (RFC 9110, 5.6.7); never in the words of the user's language."""
    now = time.gmtime()
    day, month = _DAYS[now.tm_wday], _MONTHS[now.tm_mon - 1]
    return f"{day}, {now.tm_mday:02d} {month} {now.tm_year} {time.strftime('%H:%M:%S', now)} GMT"
