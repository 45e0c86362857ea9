"""The address that Alertmanager's messages go to: whoever would be woken, reads them here."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from costmeter.demo.children import HOST


class Message(NamedTuple):
    """One message: to whom, `firing` or `resolved`, and its alerts as Alertmanager sends them."""

    receiver: str
    status: str
    alerts: list[Mapping[str, Any]]

    @property
    def is_page(self) -> bool:
        """Somebody would be woken now."""
        return self.status == "firing" and any(
            alert["labels"].get("severity") == "critical" for alert in self.alerts
        )


class Receiver:
    """Takes messages on a port of its own until it is closed."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._server = ThreadingHTTPServer((HOST, 0), _handler(self.messages))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="receiver", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        return f"{HOST}:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(messages: queue.SimpleQueue[Message]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                message = Message(body["receiver"], body["status"], list(body["alerts"]))
            except (TypeError, ValueError, KeyError):
                self.send_error(400, "not a message of Alertmanager")
                return
            messages.put(message)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Messages are shown, requests are not."""

    return Handler
