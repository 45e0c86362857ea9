"""The two routes of OTLP over HTTP: its content types, its answers, its idea of an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from costmeter.clock import Clock
from costmeter.ingest.events import Batch
from costmeter.ingest.otlp.reading import Read, Rules
from costmeter.ingest.otlp.reply import partial, status
from costmeter.ingest.owner import Caller
from costmeter.ingest.window import Window
from costmeter.model import Usage
from costmeter.tally import Tally
from costmeter.web.access import OPEN_FEED
from costmeter.web.exchange import JSON, Problem, Request, Response
from costmeter.web.writes import Writes

if TYPE_CHECKING:
    from costmeter.ingest.otlp.metrics import MetricReader
    from costmeter.ingest.otlp.traces import TraceReader

PROTOBUF = "application/x-protobuf"
_KINDS = {PROTOBUF: False, "application/protobuf": False, JSON: True}
#: Senders of OTLP repeat after 429, 502, 503 and 504 only; a slow body is worth repeating.
_REPEAT_SECONDS = 1


class _Readers(NamedTuple):
    traces: TraceReader
    metrics: MetricReader


class Otlp:
    """Answers in the encoding of the request, errors as google.rpc.Status."""

    def __init__(
        self,
        writes: Writes,
        clock: Clock,
        tally: Tally,
        window: Window,
        max_events: int,
        rules: Rules,
    ) -> None:
        self._writes = writes
        self._clock = clock
        self._tally = tally
        self._window, self._max_events, self._rules = window, max_events, rules
        self._loaded: _Readers | None = None
        self._loading = asyncio.Lock()

    async def traces(self, request: Request, writer: Callable[[Request], Caller]) -> Response:
        """Spans. `writer` says who sends, or raises Problem."""
        return await self._answer(request, writer, of_spans=True)

    async def metrics(self, request: Request, writer: Callable[[Request], Caller]) -> Response:
        """Data points. `writer` says who sends, or raises Problem."""
        return await self._answer(request, writer, of_spans=False)

    async def _answer(
        self, request: Request, writer: Callable[[Request], Caller], *, of_spans: bool
    ) -> Response:
        try:
            return await self._take(request, writer(request), of_spans=of_spans)
        except Problem as problem:
            return self._refused(problem, as_json=_kind(request) == JSON)

    async def _take(self, request: Request, sender: Caller, *, of_spans: bool) -> Response:
        readers = await self._readers()
        reader = readers.traces if of_spans else readers.metrics
        caller = Caller(feed_of(sender.feed, of_spans=of_spans), sender.tenant_id)
        now_ms = self._clock.now_ms()
        found: list[Read] = []

        def read(body: bytes, as_json: bool) -> Batch[Usage]:
            found.append(reader.read(body, caller, now_ms, as_json=as_json))
            return found[0].batch

        outcome = await self._writes.take_usage(request, caller, read, _is_json)
        self._count(caller, found[0], "spans" if of_spans else "points")
        as_json = _is_json(request)
        name = "rejectedSpans" if of_spans else "rejectedDataPoints"
        body = partial(outcome.rejections, name, as_json=as_json)
        return Response(200, body, JSON if as_json else PROTOBUF)

    async def _readers(self) -> _Readers:
        """The readers, and protobuf with them: an exporter without OTLP never loads it."""
        if self._loaded is None:
            async with self._loading:
                if self._loaded is None:
                    self._loaded = await asyncio.to_thread(self._load)
        return self._loaded

    def _load(self) -> _Readers:
        from costmeter.ingest.otlp.metrics import MetricReader
        from costmeter.ingest.otlp.traces import TraceReader

        terms = (self._window, self._max_events, self._rules)
        return _Readers(TraceReader(*terms), MetricReader(*terms))

    def _count(self, caller: Caller, read: Read, pieces: str) -> None:
        for reason, number in read.ignored.items():
            self._tally.add(
                f"costmeter_otlp_{pieces}_ignored_total", caller.feed, reason, by=number
            )
        for scope, number in read.observed.items():
            self._tally.add("costmeter_events_observed_total", caller.feed, scope, by=number)

    def _refused(self, problem: Problem, *, as_json: bool) -> Response:
        number, headers = problem.status, problem.headers
        if number == 429:
            self._tally.add("costmeter_ingest_throttled_total")
        if number == 408:
            number, headers = 503, (*headers, ("retry-after", str(_REPEAT_SECONDS)))
        body = status(number, problem.text, as_json=as_json)
        return Response(number, body, JSON if as_json else PROTOBUF, headers)


def feed_of(credential: str, *, of_spans: bool) -> str:
    """The feed of what a credential sends over OTLP, which scopes know apart from its events."""
    feed = "otlp" if credential == OPEN_FEED else f"{credential}-otlp"
    return feed if of_spans else f"{feed}-metrics"


def _kind(request: Request) -> str:
    return (request.header("content-type") or "").partition(";")[0].strip().lower()


def _is_json(request: Request) -> bool:
    """True for JSON and false for protobuf; raises Problem 415 for anything else."""
    found = _KINDS.get(_kind(request))
    if found is None:
        accepted = f"{PROTOBUF}, {JSON}"
        raise Problem(
            415,
            f"unknown content type; OTLP is sent as {accepted.replace(', ', ' or ')}",
            headers=(("accept-post", accepted),),
        )
    return found
