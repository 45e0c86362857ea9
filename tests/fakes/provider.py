"""A provider of models on a loopback port, in OpenAI's and Anthropic's shape.

It answers in its own threads, does the next `Step` that was planned or an ordinary answer,
and writes down exactly what it served. The figures of each answer differ, so that a call
booked twice or under another's name shows in the sums.
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fakes import provider_shapes as shapes
from fakes.provider_shapes import Json, Sse

WORDS = ("Three", " words", " here")


@dataclass
class Step:
    """How one request is answered."""

    status: int = 200
    #: Close the connection after so many events of a stream; 0 before any byte of the answer.
    cut_after: int | None = None
    #: An error event in the middle of a stream that began well (Anthropic).
    error_after: int | None = None
    #: Say nothing of usage, as some servers do.
    silent: bool = False
    #: Pack the body, streams too.
    packed: bool = False
    #: Wait for this before the event of that number.
    gate: threading.Event | None = None
    gate_at: int = 0
    retry_after_ms: int = 1


@dataclass(frozen=True)
class Served:
    """One request and what became of it; `usage` is what the provider bills."""

    route: str
    model: str
    status: str
    usage: Json | None
    request: Json
    headers: dict[str, str]


@dataclass
class Provider:
    """`served` grows by one with each request, when its answer has ended."""

    port: int = 0
    served: list[Served] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    #: A server that does not know `stream_options` and refuses it, as older ones do.
    refuses_stream_options: bool = False
    #: Responses that are made in the background: number and model, and how often asked for.
    background: dict[str, tuple[int, str, list[int]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _number: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def plan(self, *steps: Step) -> None:
        with self._lock:
            self.steps.extend(steps)

    def begin(self) -> tuple[int, Step]:
        with self._lock:
            self._number += 1
            return self._number, self.steps.pop(0) if self.steps else Step()

    def note(self, one: Served) -> None:
        with self._lock:
            self.served.append(one)

    def wait_served(self, count: int, seconds: float = 5) -> None:
        ends = time.monotonic() + seconds
        while len(self.served) < count:
            assert time.monotonic() < ends, f"served {len(self.served)}, not {count}"
            time.sleep(0.005)

    def requests(self) -> Counter[tuple[str, str]]:
        """Requests by model and status."""
        return Counter((one.model, one.status) for one in self.served)

    def tokens(self) -> Counter[tuple[str, str]]:
        """Billed tokens by model and class."""
        found: Counter[tuple[str, str]] = Counter()
        for one in self.served:
            for name, count in shapes.classes_of(one.usage).items() if one.usage else ():
                found[one.model, name] += count
        return found


class _Cut(Exception):
    """The planned end of a connection."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Small writes of a stream go out at once, as they do from a real provider.
    disable_nagle_algorithm = True
    provider: Provider

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length", 0))
        self.request_body: Json = json.loads(self.rfile.read(size) or b"{}")
        self.number, self.step = self.provider.begin()
        self.route = self.path.partition("?")[0].rstrip("/")
        self.usage = None
        status = "aborted"
        try:
            status = self._answer()
        except (_Cut, BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            if status != "background":
                self._note(status)

    def do_GET(self) -> None:
        """A response in the background: not ready when first asked for, billed when ready."""
        self.step, self.request_body, self.usage = Step(), {}, None
        self.route = self.path.partition("?")[0]
        name = self.route.rsplit("/", 1)[-1]
        self.number, model, asked = self.provider.background[name]
        asked.append(1)
        if len(asked) == 1:
            self._whole(shapes.response(self.number, model, (), None, "in_progress"), 200)
            return
        self.request_body = {"model": model}
        body = self._body()
        if len(asked) == 2:
            self._note("ok")
        self._whole(body, 200)

    def _note(self, status: str) -> None:
        named = {name.lower(): text for name, text in self.headers.items()}
        self.provider.note(
            Served(self.route, self._model, status, self.usage, self.request_body, named)
        )

    @property
    def _model(self) -> str:
        # Azure's deployments stand in the path and in the body.
        return str(self.request_body.get("model", ""))

    def _answer(self) -> str:
        if self.step.cut_after == 0:
            raise _Cut
        anthropic = self.route.endswith("/messages")
        status = self.step.status
        refused = self.provider.refuses_stream_options and "stream_options" in self.request_body
        if refused:
            status = 400
        if status >= 400:
            text = "Unrecognized request argument: stream_options" if refused else "planned"
            shape = shapes.anthropic_error if anthropic else shapes.openai_error
            self._whole(shape(status, text), status)
            return "error"
        if self.request_body.get("background"):
            queued = shapes.response(self.number, self._model, (), None, "queued")
            self.provider.background[queued["id"]] = (self.number, self._model, [])
            self._whole(queued, 200)
            return "background"
        if self.request_body.get("stream"):
            return self._stream(self._events())
        self._whole(self._body(), 200)
        return "ok"

    def _figures(self) -> tuple[int, int, int, int]:
        """Whole input, cached, whole output, reasoning: different in each answer."""
        n = self.number
        return 1000 + 7 * n, 100 + n, 50 + 3 * n, 10 + n

    def _body(self) -> Json:
        n, model, (whole, cached, output, thought) = self.number, self._model, self._figures()
        if self.route.endswith("/embeddings"):
            sent = self.request_body["input"]
            texts = [sent] if isinstance(sent, str) else sent
            form = self.request_body.get("encoding_format", "float")
            body = shapes.embeddings(model, texts, form, whole)
            self.usage = body["usage"]
            return body
        if self.route.endswith("/generations"):
            return shapes.images(whole, output)
        if self.route.endswith("/messages"):
            self.usage = shapes.messages_usage(whole, cached, n, output)
            return shapes.message(n, model, WORDS, self.usage)
        if "/responses" in self.route:
            self.usage = shapes.responses_usage(whole, cached, output, thought)
            return shapes.response(n, model, WORDS, self.usage)
        self.usage = shapes.chat_usage(whole, cached, output, thought)
        return shapes.chat(n, model, WORDS, None if self.step.silent else self.usage)

    def _events(self) -> Iterator[Sse]:
        n, model, (whole, cached, output, thought) = self.number, self._model, self._figures()
        if self.route.endswith("/messages"):
            self.usage = shapes.messages_usage(whole, cached, n, output)
            return shapes.message_events(n, model, WORDS, self.usage)
        if self.route.endswith("/responses"):
            self.usage = shapes.responses_usage(whole, cached, output, thought)
            return shapes.response_events(n, model, WORDS, self.usage)
        self.usage = shapes.chat_usage(whole, cached, output, thought)
        options = self.request_body.get("stream_options") or {}
        asked = bool(options.get("include_usage")) and not self.step.silent
        return shapes.chat_events(n, model, WORDS, self.usage, asked)

    def _whole(self, body: Json, status: int) -> None:
        packed = json.dumps(body).encode()
        self.send_response(status)
        if self.step.packed:
            packed = gzip.compress(packed)
            self.send_header("content-encoding", "gzip")
        self._common("application/json")
        if status in (429, 500, 529):
            self.send_header("retry-after-ms", str(self.step.retry_after_ms))
        self.send_header("content-length", str(len(packed)))
        self.end_headers()
        self.wfile.write(packed)

    def _common(self, kind: str) -> None:
        self.send_header("content-type", kind)
        self.send_header("x-request-id", f"req_{self.number}")
        self.send_header("request-id", f"req_{self.number}")

    def _stream(self, events: Iterator[Sse]) -> str:
        self.send_response(200)
        if self.step.packed:
            self.send_header("content-encoding", "gzip")
        self._common("text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        step, packer = self.step, _Packer() if self.step.packed else None
        for place, event in enumerate(events):
            if step.gate is not None and place == step.gate_at:
                assert step.gate.wait(10), "nobody opened the gate"
            if step.cut_after == place:
                raise _Cut
            if step.error_after == place:
                failed = json.dumps(shapes.anthropic_error(529, "planned"))
                self._chunk(shapes.encode(("error", failed)), packer)
                self._chunk(b"", packer)
                return "aborted"
            self._chunk(shapes.encode(event), packer)
        self._chunk(b"", packer)
        return "ok"

    def _chunk(self, data: bytes, packer: _Packer | None) -> None:
        if packer is not None:
            packed = packer.pack(data)
            if packed:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(packed), packed))
            if data:
                return
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


class _Packer:
    """A gzip stream in pieces that can be read as they come."""

    def __init__(self) -> None:
        import zlib

        self._flush = zlib.Z_SYNC_FLUSH
        self._pack = zlib.compressobj(wbits=31)

    def pack(self, data: bytes) -> bytes:
        if not data:
            return self._pack.flush()
        return self._pack.compress(data) + self._pack.flush(self._flush)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave in the middle of an answer are what this is for."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@contextmanager
def provider() -> Iterator[Provider]:
    """Serve until the block ends."""
    one = Provider()
    handler: Any = type("Handler", (_Handler,), {"provider": one})
    server = _Server(("127.0.0.1", 0), handler)
    one.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="provider")
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
