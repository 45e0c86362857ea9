"""Model servers are asked for their counters in a thread of its own, away from the scrape."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from costmeter.clock import Clock
from costmeter.gpu.backoff import Backoff, Notices
from costmeter.gpu.figures import Figures
from costmeter.gpu.serving.economics import Economics, Match, Part, Served, served
from costmeter.gpu.serving.engines import COUNTERS, Page, UnknownPage, read_page
from costmeter.gpu.serving.fetch import TooSlow, Unanswered, fetch

log = logging.getLogger("costmeter.gpu")

Sample = tuple[str, tuple[str, ...], float]

#: After so many rounds without an answer a server's figures are absent.
ROUNDS_KEPT = 5
#: One that keeps us waiting is asked less and less often, up to this.
_SLOW_MS = 120_000
#: A server that was not found any more for this long starts anew.
_FORGET_MS = 3_600_000


class Target(NamedTuple):
    """A model server and whose GPUs it works on. `model` stands for what the page says."""

    url: str
    engine: str = "auto"
    model: str = ""
    match: Match = Match()


class Source(Protocol):
    """A model server of the configuration; its ServingSource is one."""

    @property
    def url(self) -> str: ...
    @property
    def engine(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def pod(self) -> str: ...
    @property
    def container(self) -> str: ...
    @property
    def uuids(self) -> tuple[str, ...]: ...


class Pod(Protocol):
    """A pod with GPUs that shows metrics; attribution's ServingPod is one."""

    @property
    def namespace(self) -> str: ...
    @property
    def pod(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def model(self) -> str: ...


def target_of(source: Source) -> Target:
    match = Match(source.namespace, source.pod, source.container, frozenset(source.uuids))
    return Target(source.url, source.engine, source.model, match)


def target_of_pod(pod: Pod) -> Target:
    """Names of pods and namespaces have no character that a pattern knows."""
    return Target(pod.url, "auto", pod.model, Match(pod.namespace, pod.pod))


def reading(
    sources: Iterable[Source],
    pods: Callable[[], Sequence[Pod]] | None,
    figures: Callable[[], Figures],
    clock: Clock,
    interval_seconds: float,
    window_seconds: float,
) -> Serving:
    """Of the servers of a configuration, and of the pods that there are at each time."""
    return Serving(
        [target_of(source) for source in sources],
        figures,
        clock,
        discover=None if pods is None else lambda: [target_of_pod(pod) for pod in pods()],
        interval_seconds=interval_seconds,
        window_seconds=window_seconds,
    )


@dataclass(slots=True)
class _Server:
    target: Target
    economics: Economics
    patience: Backoff
    wanted_ms: int
    answered_ms: int | None = None
    engine: str = ""
    holder: tuple[str, str, str] = ("", "", "")


class _Row(NamedTuple):
    """What stands under one set of labels. `fresh` are the parts whose servers answer."""

    parts: tuple[Part, ...]
    fresh: tuple[Part, ...]


class Serving:
    """Asks `targets` and what `discover` finds, every `interval_seconds`, and sets them
    against `figures`. `samples` answers from memory.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        figures: Callable[[], Figures],
        clock: Clock,
        *,
        discover: Callable[[], Sequence[Target]] | None = None,
        interval_seconds: float = 15,
        window_seconds: float = 3600,
        get: Callable[[str, tuple[str, ...]], str] = fetch,
    ) -> None:
        self._targets = targets
        self._figures = figures
        self._clock = clock
        self._discover = discover
        self._interval_seconds = interval_seconds
        self._window_ms = round(1000 * window_seconds)
        self._get = get
        self._servers: dict[Target, _Server] = {}
        self._unpriced: Mapping[str, float] = {}
        self._notices = Notices(log)
        self._rows: Mapping[tuple[str, ...], _Row] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-serving", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """A request that runs ends with its timeout, or with the process."""
        self._stop.set()

    def samples(self, node: str) -> Iterator[Sample]:
        """(family, label values, value), the samples of a family together."""
        families: dict[str, list[tuple[tuple[str, ...], float]]] = defaultdict(list)
        for labels, row in self._rows.items():
            for name, more, value in _shown(row):
                families[name].append(((node, *labels, *more), value))
        for name, found in families.items():
            for key, value in found:
                yield name, key, value

    def facts(self) -> Iterator[str]:
        """What is read, in sentences."""
        for labels, row in self._rows.items():
            if row.fresh:
                yield f"Tokens of {labels[0] or 'a model without a name'} are read ({labels[1]})."

    def tick(self) -> None:
        """One round over all servers; a failure of one is none of another."""
        now_ms = self._clock.monotonic_ms()
        wanted = [*self._targets, *(self._discover() if self._discover is not None else ())]
        for target in wanted:
            server = self._servers.get(target)
            if server is None:
                economics = Economics(target.match, self._window_ms)
                patience = Backoff(round(1000 * self._interval_seconds), _SLOW_MS)
                server = self._servers[target] = _Server(target, economics, patience, now_ms)
            server.wanted_ms = now_ms
        answers = []
        for server in list(self._servers.values()):
            if now_ms - server.wanted_ms > _FORGET_MS:
                self._notices.forget(server.target.url)
                del self._servers[server.target]
            elif server.wanted_ms == now_ms and not self._stop.is_set():
                page = self._page(server)
                if page is not None:
                    answers.append((server, page))
        self._spend()
        for server, page in answers:
            server.answered_ms = self._clock.monotonic_ms()
            server.economics.take(server.answered_ms, page)
            server.engine = page.engine
            server.holder = server.economics.holder()
        self._rows = self._known()

    def _spend(self) -> None:
        figures = self._figures()
        before = self._unpriced
        self._unpriced = {uuid: gpu.unpriced_ms for uuid, gpu in figures.gpus.items()}
        unpriced = {uuid for uuid, ms in self._unpriced.items() if ms > before.get(uuid, 0)}
        for server in self._servers.values():
            server.economics.spend(figures.owners, unpriced)

    def _page(self, server: _Server) -> Page | None:
        target = server.target
        asked_ms = self._clock.monotonic_ms()
        if not server.patience.due(asked_ms):
            return None
        try:
            page = read_page(self._get(target.url, COUNTERS), target.engine)
        except (Unanswered, UnknownPage) as problem:
            if isinstance(problem, TooSlow):
                server.patience.tried(asked_ms)
            # Not every pod that shows metrics is a model server.
            expected = isinstance(problem, UnknownPage) and target not in self._targets
            self._notices.say(
                target.url,
                f"tokens of {target.url} are not known: {problem}. It is tried again",
                logging.INFO if expected else logging.WARNING,
            )
            return None
        if self._notices.was_said(target.url):
            self._notices.forget(target.url)
            log.info("tokens of %s are read again", target.url)
        return _named(page, target.model)

    def _known(self) -> Mapping[tuple[str, ...], _Row]:
        now_ms = self._clock.monotonic_ms()
        kept_ms = 1000 * ROUNDS_KEPT * self._interval_seconds
        rows: dict[tuple[str, ...], _Row] = {}
        for server in self._servers.values():
            if server.answered_ms is None:
                continue
            fresh = now_ms - server.answered_ms <= kept_ms
            for part in server.economics.parts():
                labels = (part.model, server.engine, *server.holder)
                row = rows.get(labels, _Row((), ()))
                rows[labels] = _Row((*row.parts, part), (*row.fresh, part) if fresh else row.fresh)
        return rows

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self.tick()
            except Exception:
                # A dead thread would look like servers without traffic.
                log.exception("tokens of model servers cannot be read; it is tried again")
            self._stop.wait(max(1.0, self._interval_seconds - (time.monotonic() - began)))


def _named(page: Page, model: str) -> Page:
    """Under the configured name; a server of several models keeps theirs."""
    if not model or len(page.models) != 1:
        return page
    return page._replace(models={model: next(iter(page.models.values()))})


def _shown(row: _Row) -> Iterator[tuple[str, tuple[str, ...], float]]:
    totals = [part.total for part in row.parts]
    yield "gpu_serving_tokens_total", ("prompt",), sum(total.input for total in totals)
    yield "gpu_serving_tokens_total", ("output",), sum(total.output for total in totals)
    requests = [total.requests for total in totals if total.requests is not None]
    if requests:
        yield "gpu_serving_requests_total", (), sum(requests)
    yield from _ratios(served(row.fresh))


def _ratios(figures: Served) -> Iterator[tuple[str, tuple[str, ...], float]]:
    for basis, nano in (
        ("allocation", figures.nano_per_million_held),
        ("usage", figures.nano_per_million_used),
    ):
        if nano is not None:
            yield "gpu_cost_per_million_tokens", (basis,), nano / 10**9
    if figures.joules_per_token is not None:
        yield "gpu_energy_joules_per_token", (), figures.joules_per_token
    if figures.requests_per_gpu_hour is not None:
        yield "gpu_requests_per_gpu_hour", (), figures.requests_per_gpu_hour
