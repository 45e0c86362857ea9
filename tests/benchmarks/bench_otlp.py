"""OTLP spans from protobuf to usage, ready for the queue: microseconds of one core an event.

Run: python tests/benchmarks/bench_otlp.py
The peer is the plain way: the official messages of opentelemetry-proto in the same protobuf
runtime, and a dictionary of each span's attributes, without any check or normalising.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "exporter"), str(ROOT / "tests")]

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: E402
    ExportTraceServiceRequest,
)

from costmeter.ingest.otlp.traces import TraceReader  # noqa: E402
from costmeter.ingest.window import Window  # noqa: E402
from fakes.calls import NOW_MS  # noqa: E402
from otlp.bodies import CALLER, as_json, request, span  # noqa: E402

SPANS, ROUNDS = 128, 300
RESOURCE = {
    "service.name": "search",
    "deployment.environment.name": "prod",
    "telemetry.sdk.language": "python",
    "telemetry.sdk.name": "opentelemetry",
    "telemetry.sdk.version": "1.45.2",
    "host.name": "node-1",
}


def attributes(number: int, chance: random.Random) -> dict[str, object]:
    """18 attributes of a chat span, 11 of which matter; figures as calls have them."""
    fresh = int(chance.lognormvariate(7, 1))
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.id": f"chatcmpl-{number:024d}",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": fresh + 800,
        "gen_ai.usage.cache_read.input_tokens": 800,
        "gen_ai.usage.output_tokens": int(chance.lognormvariate(5, 0.8)),
        "gen_ai.request.temperature": 0.7,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.max_tokens": 512,
        "gen_ai.output.type": "text",
        "server.address": "api.openai.com",
        "server.port": 443,
        "openai.api.type": "chat_completions",
        "tenant.id": f"tenant-{number % 20}",
        "user.id": f"u{number % 1000}",
    }


def plain(body: bytes) -> list[tuple[bytes, dict[str, object]]]:
    found = []
    for outer in ExportTraceServiceRequest.FromString(body).resource_spans:
        for inner in outer.scope_spans:
            for one in inner.spans:
                said: dict[str, object] = {}
                for pair in one.attributes:
                    kind = pair.value.WhichOneof("value")
                    said[pair.key] = getattr(pair.value, kind) if kind else None
                found.append((one.span_id, said))
    return found


def best(work: Callable[[bytes], object], bodies: list[bytes]) -> float:
    """Microseconds an event, of the best body: other programs only ever add."""
    shortest = float("inf")
    for body in bodies:
        began = time.perf_counter()
        work(body)
        shortest = min(shortest, time.perf_counter() - began)
    return shortest / SPANS * 1e6


def main() -> None:
    chance = random.Random(1)
    made = [
        request([span(n, attributes(n, chance)) for n in range(first, first + SPANS)], RESOURCE)
        for first in range(1, ROUNDS * SPANS, SPANS)
    ]
    bodies = [one.SerializeToString() for one in made]
    # As `costmeter serve` sets it.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    reader, ours = TraceReader(Window()), TraceReader(Window())
    ours._quick = None

    def read(body: bytes) -> None:
        assert len(reader.read(body, CALLER, NOW_MS, as_json=False).batch.items) == SPANS

    def read_without(body: bytes) -> None:
        assert len(ours.read(body, CALLER, NOW_MS, as_json=False).batch.items) == SPANS

    def read_json(body: bytes) -> None:
        assert len(reader.read(body, CALLER, NOW_MS, as_json=True).batch.items) == SPANS

    print(f"python {sys.version.split()[0]}, {SPANS} spans of {len(bodies[0]) // SPANS} bytes")
    print(f"costmeter, with protobuf        {best(read, bodies):6.2f} us an event")
    print(f"costmeter, without protobuf     {best(read_without, bodies):6.2f} us an event")
    print(f"costmeter, JSON                 {best(read_json, [as_json(made[0])] * 9):6.2f} us")
    print(f"peer: official messages, a dict {best(plain, bodies):6.2f} us an event")


if __name__ == "__main__":
    main()
