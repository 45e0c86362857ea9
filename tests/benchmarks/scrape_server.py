"""The servers that bench_scrape.py compares; it starts each in a process of its own.

    python scrape_server.py ours|counter|collector SERIES

prints its port, then obeys words on stdin: all, near, far, none (which values to change) and
stall (the longest wait of the event loop so far, in milliseconds).
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "exporter"))

NAME = "llm_cost_total"
LABELS = ("category", "provider", "model", "tenant_id", "environment")
CHUNK_SIZE = 256


def rows(series: int) -> Iterator[tuple[str, ...]]:
    """Label values: 7 providers, 90 models, a tenant for every 10 series."""
    providers = [f"provider-{i}" for i in range(7)]
    models = [f"model-{i}-2026-11-22" for i in range(90)]
    tenant = ""
    for i in range(series):
        if i % 10 == 0:
            tenant = f"tenant-{i // 10:06d}"
        yield "llm_api", providers[i % 7], models[i % 90], tenant, "prod" if i % 2 else "staging"


def first_nano(i: int) -> int:
    return 1_000_000_007 * (i % 1000 + 1) + i


STEP_NANO = 1_500_000


def changed(word: str, series: int) -> range:
    """The positions whose value moves at this word."""
    return {
        "all": range(series),
        "near": range(series // 100),
        "far": range(0, series, 100),
        "none": range(0),
    }[word]


class Ours:
    """The exporter's own stack under uvicorn, fed with snapshots as the ledger makes them."""

    def __init__(self, series: int) -> None:
        from costmeter.clock import SystemClock
        from costmeter.metrics.collector import own_registry
        from costmeter.metrics.exposition import Exposition
        from costmeter.model import Chunk, Snapshot
        from costmeter.tally import Tally

        self._series, self._clock = series, SystemClock()
        self._chunk, self._snapshot_type = Chunk, Snapshot
        labels = list(rows(series))
        nanos = [first_nano(i) for i in range(series)]
        self._chunks = [
            Chunk(tuple(labels[i : i + CHUNK_SIZE]), tuple(nanos[i : i + CHUNK_SIZE]))
            for i in range(0, series, CHUNK_SIZE)
        ]
        tally = Tally()
        self._exposition = Exposition(self._snapshot, own_registry(tally), self._clock, tally=tally)
        self._loop_waited = 0.0

    def _snapshot(self) -> Any:
        now = self._clock.now_ms()
        return self._snapshot_type(1, "bench", 1, now, now, {NAME: tuple(self._chunks)})

    def obey(self, word: str) -> str:
        if word == "stall":
            return f"{self._loop_waited * 1e3:.2f}"
        touched: dict[int, list[int]] = {}
        for i in changed(word, self._series):
            touched.setdefault(i // CHUNK_SIZE, []).append(i % CHUNK_SIZE)
        for index, positions in touched.items():
            chunk = self._chunks[index]
            values = list(chunk.values)
            for position in positions:
                values[position] += STEP_NANO
            self._chunks[index] = self._chunk(chunk.labels, tuple(values))
        return "done"

    async def _app(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        headers = {name: value.decode() for name, value in scope["headers"]}
        answer = await asyncio.to_thread(
            self._exposition.respond,
            headers.get(b"accept", ""),
            headers.get(b"accept-encoding", ""),
        )
        start = {"type": "http.response.start", "status": answer.status}
        await send({**start, "headers": list(answer.headers)})
        await send({"type": "http.response.body", "body": answer.body})

    async def _watch_loop(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            self._loop_waited = max(self._loop_waited, time.perf_counter() - before - 0.001)

    def serve(self) -> None:
        import socket

        import uvicorn

        listener = socket.create_server(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            lifespan="off",
            access_log=False,
            log_level="warning",
        )

        async def run() -> None:
            watch = asyncio.create_task(self._watch_loop())
            await uvicorn.Server(config).serve([listener])
            watch.cancel()

        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())


class Peer:
    """prometheus_client's own server over its own counters, or over a custom collector."""

    def __init__(self, series: int, kind: str) -> None:
        from prometheus_client import CollectorRegistry, Counter
        from prometheus_client.core import CounterMetricFamily

        self._series = series
        self._registry = CollectorRegistry()
        if kind == "counter":
            counter = Counter(NAME, "Spend in USD.", LABELS, registry=self._registry)
            self._children = [counter.labels(*values) for values in rows(series)]
            for i, child in enumerate(self._children):
                child.inc(first_nano(i) / 1e9)
            self._change = lambda i: self._children[i].inc(STEP_NANO / 1e9)
        else:
            labels = list(rows(series))
            nanos = [first_nano(i) for i in range(series)]

            def change(i: int) -> None:
                nanos[i] += STEP_NANO

            class FromList:
                def collect(self) -> Iterator[Any]:
                    family = CounterMetricFamily(NAME, "Spend in USD.", labels=LABELS)
                    for values, nano in zip(labels, nanos, strict=True):
                        family.add_metric(values, nano / 1e9)
                    yield family

            self._registry.register(FromList())
            self._change = change

    def obey(self, word: str) -> str:
        for i in changed(word, self._series):
            self._change(i)
        return "done"

    def serve(self) -> None:
        from prometheus_client import disable_created_metrics, start_http_server

        disable_created_metrics()  # its second line for every series would count against it
        server, thread = start_http_server(0, addr="127.0.0.1", registry=self._registry)
        print(server.server_port, flush=True)
        thread.join()


def main() -> None:
    kind, series = sys.argv[1], int(sys.argv[2])
    server = Ours(series) if kind == "ours" else Peer(series, kind)

    def listen() -> None:
        for line in sys.stdin:
            print(server.obey(line.strip()), flush=True)

    threading.Thread(target=listen, daemon=True).start()
    server.serve()


if __name__ == "__main__":
    main()
