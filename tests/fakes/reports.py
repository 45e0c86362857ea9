"""A provider's reporting API on a loopback port: it answers in its shape, or fails as told."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Query = Mapping[str, list[str]]


@dataclass
class Fault:
    """One answer that is not the ordinary one."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    #: Send only so many bytes of the body, with the length of the whole.
    cut: int | None = None
    #: Wait for this before the body.
    gate: threading.Event | None = None
    #: Change the ordinary answer.
    change: Callable[[Any], Any] | None = None


class BadRequest(Exception):
    """Answered with 400 and this text."""


@dataclass
class Asked:
    path: str
    query: Query
    headers: Mapping[str, str]
    method: str = "GET"
    body: bytes = b""


class Reports:
    """Subclasses answer in `route`; `faults` are used up first, one for each request."""

    key = "sk-admin-of-a-test-0123456789"

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[Asked] = []
        self.faults: deque[Fault | None] = deque()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def allowed(self, headers: Mapping[str, str]) -> bool:
        return headers.get("authorization") == f"Bearer {self.key}"

    def route(self, path: str, query: Query) -> Any:
        """What is answered: text as it is, None with 204, anything else as JSON."""
        raise NotImplementedError

    def encode(self, value: Any) -> bytes:
        return value.encode() if isinstance(value, str) else json.dumps(value).encode()

    def posted(self, path: str, query: Query, body: bytes) -> Any:
        raise BadRequest("nothing is asked with POST here")


def one(query: Query, name: str, default: str = "") -> str:
    return query.get(name, [default])[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    reports: Reports

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, sent: bytes = b"") -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = parse_qs(parts.query, keep_blank_values=True)
        self.reports.asked.append(Asked(parts.path, query, headers, self.command, sent))
        fault = (self.reports.faults.popleft() if self.reports.faults else None) or Fault()
        status, body = fault.status, fault.body
        if body is None:
            status, value = self._ordinary(fault, parts.path, query, headers, sent)
            if fault.change is not None:
                value = fault.change(value)
            body = self.reports.encode(value)
            if value is None:
                status, body = 204, b""
        try:
            self.send_response(status)
            for name, value in fault.headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if fault.gate is not None:
                fault.gate.wait(20)
            self.wfile.write(body if fault.cut is None else body[: fault.cut])
        except OSError:
            pass  # whoever asked has given up
        if fault.cut is not None:
            self.close_connection = True

    def _ordinary(
        self, fault: Fault, path: str, query: Query, headers: Mapping[str, str], sent: bytes
    ) -> tuple[int, Any]:
        if fault.status != 200:
            return fault.status, {"error": {"message": "not now"}}
        if not self.reports.allowed(headers):
            said = f"Incorrect API key provided: {headers.get('authorization', '')}"
            return 401, {"error": {"message": said}}
        try:
            if self.command == "POST":
                return 200, self.reports.posted(path, query, sent)
            return 200, self.reports.route(path, query)
        except BadRequest as error:
            return 400, {"error": {"message": str(error)}}


@contextmanager
def serving(reports: Reports) -> Iterator[Reports]:
    handler = type("Handler", (_Handler,), {"reports": reports})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    reports.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield reports
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
