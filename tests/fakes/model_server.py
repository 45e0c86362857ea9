"""A model server's page of metrics over real HTTP, as vLLM writes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ModelServer:
    """`prompt`, `output` and `requests` are its counters; `status` what it answers with. It
    ends after `cut` bytes of its page."""

    def __init__(self) -> None:
        self.model = "llama-3.3-70b"
        self.prompt = self.output = self.requests = 0
        self.status = 200
        self.text: str | None = None
        self.cut: int | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/metrics"

    def page(self) -> str:
        if self.text is not None:
            return self.text
        of = f'engine="0",model_name="{self.model}"'
        return (
            "# TYPE vllm:prompt_tokens_total counter\n"
            f"vllm:prompt_tokens_total{{{of}}} {float(self.prompt)}\n"
            f"vllm:generation_tokens_total{{{of}}} {float(self.output)}\n"
            f'vllm:request_success_total{{{of},finished_reason="stop"}} {float(self.requests)}\n'
        )


@contextmanager
def model_server() -> Iterator[ModelServer]:
    made = ModelServer()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            body = made.page().encode()
            self.send_response(made.status)
            self.send_header("Content-Length", str(len(body)))
            if made.status == 302:
                self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(body[: made.cut])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
