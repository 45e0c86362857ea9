"""The answer to a scrape: the ledger's families and the exporter's own, as the client asked.

`respond` computes for milliseconds to tenths of a second and is called in a worker thread; the
renderer's and compressor's work is shared by concurrent scrapes of the same state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import NamedTuple

from costmeter.clock import Clock
from costmeter.metrics.blocks import Block, gzipped, joined
from costmeter.metrics.faults import Faults
from costmeter.metrics.negotiate import OPENMETRICS_TYPE, TEXT_TYPE, wants_gzip, wants_openmetrics
from costmeter.metrics.registry import EOF, GuardedRegistry
from costmeter.metrics.render import Renderer
from costmeter.model import Snapshot
from costmeter.tally import Tally

SCRAPE_SECONDS = "costmeter_scrape_seconds"


class Response(NamedTuple):
    """An answer in the shape of ASGI: header names are in lower case."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Exposition:
    """Answers scrapes from the newest snapshot; safe to call from several threads."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot | None],
        registry: GuardedRegistry,
        clock: Clock,
        extra_labels: tuple[str, ...] = (),
        tally: Tally | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._registry = registry
        self._clock = clock
        self._tally = tally or Tally()
        self._faults = Faults(self._tally)
        self._renderer = Renderer(extra_labels, self._faults)
        self._lock = Lock()

    def respond(self, accept: str, accept_encoding: str, names: Sequence[str] = ()) -> Response:
        """The page for these request headers and `name[]` parameters; always with status 200.

        Families that cannot be shown are absent; an empty page is a page.
        """
        openmetrics = wants_openmetrics(accept)
        compressed = wants_gzip(accept_encoding)
        wanted = frozenset(name for name in names if name) or None
        started = time.perf_counter()
        # Whoever waits here finds the page rendered and compressed by the one before.
        with self._lock:
            page = self._renderer.render(
                self._snapshot(), self._clock.now_ms(), wanted, openmetrics
            )
            own = self._registry.page(wanted, openmetrics, self._faults)
            page.append(Block(own + EOF if openmetrics else own))
            body = gzipped(page) if compressed else joined(page)
        self._tally.set(SCRAPE_SECONDS, to=time.perf_counter() - started)
        headers = [
            (b"content-type", (OPENMETRICS_TYPE if openmetrics else TEXT_TYPE).encode()),
            (b"content-length", b"%d" % len(body)),
            (b"vary", b"accept, accept-encoding"),
        ]
        if compressed:
            headers.append((b"content-encoding", b"gzip"))
        return Response(200, tuple(headers), body)
