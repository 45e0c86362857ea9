"""A bad line between a sender and the exporter: it forwards, repeats, cuts and loses."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

#: What happens to a request.
#: pass: nothing. twice: it arrives twice. drop: it arrives, the answer is lost.
#: cut: it arrives, the answer breaks off. lose: it does not arrive. busy: 503, try again.
Fate = Literal["pass", "twice", "drop", "cut", "lose", "busy"]


@dataclass(frozen=True)
class Passed:
    """A body that reached the exporter, and what that answered."""

    body: bytes
    status: int
    answer: Any

    @property
    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.body)
        return found


class LossyLine:
    """Listens on a port of its own; the n-th request that it sees has the fate `fates[n]`."""

    def __init__(self, port: int, fates: Mapping[int, Fate]) -> None:
        self.passed: list[Passed] = []
        self.seen = 0
        self._port = port
        self._fates = fates
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> LossyLine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _forward(self, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("POST", path, body, {"content-type": content_type})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        self.passed.append(Passed(body, answer.status, json.loads(text)))
        return answer.status, text

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        line = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                kind = self.headers["content-type"]
                fate = line._fates.get(line.seen, "pass")
                line.seen += 1
                if fate == "lose":
                    return  # the connection closes without a word
                if fate == "busy":
                    self._say(503, b'{"error": "later"}', retry_after="0.1")
                    return
                if fate == "twice":
                    line._forward(self.path, body, kind)
                status, text = line._forward(self.path, body, kind)
                if fate != "drop":
                    self._say(status, text[: len(text) // 2] if fate == "cut" else text, len(text))

            def _say(
                self, status: int, text: bytes, length: int | None = None, retry_after: str = ""
            ) -> None:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(length or len(text)))
                if retry_after:
                    self.send_header("retry-after", retry_after)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
                """What passed is recorded, not printed."""

        return Handler
