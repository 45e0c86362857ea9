"""A server that answers as it is told and remembers what it was sent."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Event = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """One request: its headers by lower-case name, its events, and who made it."""

    path: str
    headers: Mapping[str, str]
    events: list[Event]
    client: tuple[str, int]
    bytes: int


@dataclass
class Reply:
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


#: Given the request, the answer; None takes all its events.
Script = Callable[[Sent], Reply | None]


class Collector:
    """Speaks the protocol of `docs/ingest.md` on a free port of the loopback address."""

    def __init__(self, script: Script | None = None, port: int = 0) -> None:
        self.script = script
        self.sent: list[Sent] = []
        self._open: set[socket.socket] = set()
        self.gate = threading.Event()
        self.gate.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer.gate.wait(30)
                raw = self.rfile.read(int(self.headers["content-length"]))
                assert self.headers["content-encoding"] == "gzip"
                events = [json.loads(line) for line in gzip.decompress(raw).splitlines()]
                named = {name.lower(): text for name, text in self.headers.items()}
                sent = Sent(self.path, named, events, self.client_address, len(raw))
                outer.sent.append(sent)
                reply = outer.script(sent) if outer.script else None
                reply = reply or taken(len(events))
                text = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body)
                body = text if isinstance(text, bytes) else text.encode()
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def setup(self) -> None:
                super().setup()
                outer._open.add(self.connection)

            def log_message(self, *_: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                return  # a client that was killed

        self._server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def events(self) -> list[Event]:
        """Everything that came, repeats too."""
        return [event for sent in list(self.sent) for event in sent.events]

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def taken(accepted: int, *rejected: Mapping[str, Any], duplicate: int = 0) -> Reply:
    said = {"accepted": accepted, "duplicate": duplicate, "observed": 0, "rejected": rejected}
    return Reply(200, said)


def refused(status: int, why: str = "because", **headers: str) -> Reply:
    return Reply(status, {"error": why}, {k.replace("_", "-"): v for k, v in headers.items()})


def in_turn(*replies: Reply | None) -> Script:
    """One reply after the other, then everything is taken."""
    waiting = list(replies)
    return lambda _: waiting.pop(0) if waiting else None


class BlackHole:
    """Takes connections and never answers."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> BlackHole:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
