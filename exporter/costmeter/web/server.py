"""The server under the application: one socket, and a stop that loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Iterator

import uvicorn

from costmeter.web.app import Application
from costmeter.web.limits import BoundedHttp

#: Open connections; more are answered 503, so that file handles never run out.
MAX_CONNECTIONS = 900
_BACKLOG = 2048


class CannotListen(Exception):
    """The address cannot be used; the text says why and what to do."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: whoever runs the process has those."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class WebServer:
    """Serves an application in the running event loop, from `start` to `stop`.

    `host` "" listens on every interface; `port` 0 takes any free one.
    """

    def __init__(
        self,
        application: Application,
        *,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
        stop_seconds: int = 10,
    ) -> None:
        self._host, self._port = host, port
        config = uvicorn.Config(
            application,
            http=BoundedHttp,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            # A forwarding header must never make a stranger look like this machine.
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=stop_seconds,
            backlog=_BACKLOG,
        )
        config.load()
        config.ssl = tls
        self._server = _Server(config)
        self._running: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port in use, known after `start`."""
        return self._port

    async def start(self) -> None:
        """Returns when connections are taken; raises CannotListen."""
        bound = _bind(self._host, self._port)
        self._port = int(bound.getsockname()[1])
        self._running = asyncio.create_task(self._server.serve(sockets=[bound]), name="web")
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({self._running, listening}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if self._running.done():
            bound.close()
            await self._running

    async def stop(self) -> None:
        """Take no more connections, finish what is being answered, then return."""
        self._server.should_exit = True
        if self._running is not None:
            await self._running


def _bind(host: str, port: int) -> socket.socket:
    try:
        if host:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            bound = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        elif socket.has_dualstack_ipv6():
            bound = socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        else:
            bound = socket.create_server(("", port), backlog=_BACKLOG)
    except OSError as error:
        raise CannotListen(_why_not(error, host, port)) from None
    bound.setblocking(False)
    return bound


def _why_not(error: OSError, host: str, port: int) -> str:
    where = f"{host or 'every interface'}, port {port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"cannot listen on {where}: another program uses it; "
            "stop that one or choose another with --web.listen-address"
        )
    if error.errno == errno.EACCES:
        return f"cannot listen on {where}: ports under 1024 need a privilege; choose a higher one"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"cannot listen on {where}: this machine has no such address"
    return f"cannot listen on {where}: {os.strerror(error.errno) if error.errno else error}"
