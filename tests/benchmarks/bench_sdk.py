"""What tracking costs the thread that calls: microseconds a call, beside OpenTelemetry.

Run: python tests/benchmarks/bench_sdk.py
The peer is a span of the real OpenTelemetry SDK with the GenAI attributes of the same call,
in a BatchSpanProcessor. Both deliver, in the background, to a server of this program that
takes everything. Rounds of the contestants alternate; the figure is the median round of 250
calls, once as seen by the clock (with whatever the background takes of the interpreter) and
once as processor time of the calling thread alone.
"""

from __future__ import annotations

import gc
import statistics
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "exporter"))

from costmeter import Meter  # noqa: E402
from costmeter.sdk.event import encode  # noqa: E402

ROUNDS, CALLS = 60, 250
USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 150,
    "total_tokens": 1350,
    "prompt_tokens_details": {"cached_tokens": 800, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
RESPONSE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 900}}],
    "usage": USAGE,
}
TOKENS = {"input": 400, "cache_read": 800, "output": 150}


class Everything(BaseHTTPRequestHandler):
    """Takes whatever comes, and answers each as its sender expects."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        said = b""
        if self.path.endswith("/usage"):
            import zlib

            events = zlib.decompress(body, 31).count(b"\n") + 1
            said = b'{"accepted":%d,"duplicate":0,"observed":0,"rejected":[]}' % events
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        return


def contestants(url: str) -> tuple[dict[str, Callable[[], object]], Callable[[], object]]:
    """The calls to compare, and what ends them all."""
    meter = Meter(url, queue_events=10**6, environment="prod", service="answers")

    def track() -> None:
        meter.track(
            provider="openai", model="gpt-4o-mini", tokens=TOKENS, response_id="chatcmpl-1",
            latency_ms=812, tenant_id="acme", feature="answers",
        )  # fmt: skip

    def track_usage() -> None:
        meter.track(
            provider="openai", model="gpt-4o-mini", usage=USAGE, response_id="chatcmpl-1",
            latency_ms=812, tenant_id="acme", feature="answers",
        )  # fmt: skip

    def least() -> None:
        meter.track(provider="openai", model="gpt-4o-mini", tokens=TOKENS)

    def response() -> None:
        meter.record_response(RESPONSE, provider="openai", tenant_id="acme", feature="answers")

    def call() -> None:
        with meter.call(provider="openai", feature="answers") as one:
            one.record(RESPONSE)

    def within() -> None:
        with meter.attributes(tenant_id="acme", feature="answers"):
            meter.track(provider="openai", model="gpt-4o-mini", tokens=TOKENS)

    calls: dict[str, Callable[[], object]] = {
        "track(provider, model, tokens)": least,
        "track(... tokens, 4 more)": track,
        "track(... usage, 4 more)": track_usage,
        "record_response(body, 2 more)": response,
        "with attributes: track": within,
        "with call: record(body)": call,
    }
    span, end = opentelemetry(url)
    if span is not None:
        calls["OpenTelemetry span, 8 attributes"] = span
    return calls, lambda: (meter.close(60), end())


def opentelemetry(url: str) -> tuple[Callable[[], object] | None, Callable[[], object]]:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        return None, lambda: None
    provider = TracerProvider()
    exporter = OTLPSpanExporter(endpoint=f"{url}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=10**6))
    tracer = provider.get_tracer("bench")

    def span() -> None:
        with tracer.start_as_current_span("chat gpt-4o-mini") as current:
            current.set_attributes(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": "openai",
                    "gen_ai.request.model": "gpt-4o-mini",
                    "gen_ai.response.id": "chatcmpl-1",
                    "gen_ai.usage.input_tokens": 1200,
                    "gen_ai.usage.output_tokens": 150,
                    "tenant.id": "acme",
                    "feature": "answers",
                }
            )

    return span, provider.shutdown


def measure(calls: dict[str, Callable[[], object]]) -> dict[str, tuple[list[float], list[float]]]:
    """Microseconds a call by name, each round: wall clock, and the thread's own time."""
    figures: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in calls}
    for number in range(ROUNDS + 3):
        for name, work in calls.items():
            time.sleep(0.01)  # let the background catch up
            wall, own = time.perf_counter_ns(), time.thread_time_ns()
            for _ in range(CALLS):
                work()
            wall, own = time.perf_counter_ns() - wall, time.thread_time_ns() - own
            if number >= 3:  # warm
                figures[name][0].append(wall / CALLS / 1000)
                figures[name][1].append(own / CALLS / 1000)
    return figures


def encoding() -> float:
    """Microseconds of the background thread for an event."""
    raw = (
        time.time_ns(), "openai", "gpt-4o-mini", TOKENS, None, None, None, None, "chatcmpl-1",
        None, 812, "ok", None, {"tenant_id": "acme", "feature": "answers"},
    )  # fmt: skip
    rounds = []
    for _ in range(15):
        began = time.thread_time_ns()
        for number in range(500):
            encode(raw, f"p-{number}", {"environment": "prod"})
        rounds.append((time.thread_time_ns() - began) / 500 / 1000)
    return statistics.median(rounds)


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Everything)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    calls, end = contestants(f"http://127.0.0.1:{server.server_address[1]}")
    gc.collect()
    figures = measure(calls)
    title = f"us a call, median of {ROUNDS} rounds"
    print(f"{title:<36}{'wall':>8}{'thread':>8}{'best':>8}")
    for name, (wall, own) in figures.items():
        row = (statistics.median(wall), statistics.median(own), min(own))
        print(f"{name:<36}" + "".join(f"{figure:>8.2f}" for figure in row))
    print(f"{'encoding, in the background':<36}{'':>8}{encoding():>8.2f}")
    end()
    server.shutdown()


if __name__ == "__main__":
    main()
