"""A platform's life on a clock of its own: calls arrive, exporters restart, pages are scraped."""

from __future__ import annotations

import gc
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

from costmeter.config import Config, load_config
from costmeter.metrics.exposition import Exposition
from costmeter.model import MS_PER_DAY
from costmeter.pricing import load_price_book
from fakes.clock import FakeClock
from simulation.archive import Page, Scraper
from simulation.bills import SCOPES, Providers
from simulation.calls import Caller, body
from simulation.exporters import FEEDS, SteppedReplica, SteppedService
from simulation.fleet import fleet
from simulation.gpus import MACHINES, Node
from simulation.money import MISTYPED, fixed_costs, goodwill, history, settings
from simulation.scenario import Scenario
from simulation.workloads import workloads_of

#: When the writing exporter goes away, in shares of the time. It comes back with one own price
#: more, the second time on the other machine where there is one.
OUTAGES = (0.345, 0.66)
_OUTAGE_TICKS = 2
#: Northwind's team finds that its newest calls went to a smaller model than it said.
_CORRECTIONS, _CORRECTED_CALLS = (0.5, 0.985), 60
_CREDIT = 0.74
#: Somebody tries a model whose price was mistyped.
_MISTYPED = 0.8
_FIXED_COSTS_AFTER_MS = 25 * 60_000
_INSTANCES = ("costmeter-0:9952", "costmeter-1:9952")
_STARTED = re.compile(rb"(?m)^process_start_time_seconds .*$")


@dataclass
class _Process:
    """An exporter that runs, and since when."""

    exporter: SteppedService | SteppedReplica
    since_ms: int


class Platform:
    """Call `run` once."""

    def __init__(self, folder: Path, scenario: Scenario, scraper: Scraper) -> None:
        self._folder = folder
        self._scenario = scenario
        self._scraper = scraper
        self._workloads = workloads_of(scenario.tenants)
        self._callers = [Caller(n, w, scenario) for n, w in enumerate(self._workloads)]
        self._clock = FakeClock(scenario.start_ms)
        self._nodes = [Node(machine, self._clock, scenario.seed) for machine in MACHINES]
        self._agents = fleet(self._clock, scenario.seed, scenario.trace)
        self._pick = random.Random(f"{scenario.seed}/platform")
        self._waiting: dict[str, list[bytes]] = {feed: [] for feed in FEEDS}
        self._sent_before: dict[str, list[bytes]] = {feed: [] for feed in FEEDS}
        self._outages = [scenario.at(share) for share in OUTAGES]
        self._down = 0
        self._reviews: list[bytes] = []
        self._done: set[str] = set()
        self._processes: dict[str, _Process] = {}
        self._writing = _INSTANCES[0]
        self._prices = 0
        self._providers = Providers(scenario)

    def run(self, say: Callable[[str], None]) -> None:
        """From the first scrape to the last; then every process has ended cleanly."""
        before_ms, day = self._scenario.start_ms, 0
        # As `costmeter serve` does: what is alive now stays alive.
        gc.freeze()
        thresholds = gc.get_threshold()
        gc.set_threshold(50_000, 20, 100)
        self._providers.__enter__()
        try:
            self._import_history()
            self._start_writer()
            for at_ms in self._scenario.ticks():
                self._clock.advance((at_ms - self._clock.now_ms()) / 1000)
                self._tick(before_ms, at_ms)
                if at_ms // MS_PER_DAY != before_ms // MS_PER_DAY:
                    day += 1
                    say(f"day {day} of {self._scenario.days}")
                before_ms = at_ms
        finally:
            # A replica reads beside the writer, which therefore ends last.
            for instance in sorted(self._processes, key=lambda name: name == self._writing):
                self._processes[instance].exporter.stop()
            self._providers.__exit__(None, None, None)
            gc.set_threshold(*thresholds)
            gc.unfreeze()

    def _tick(self, from_ms: int, to_ms: int) -> None:
        self._change_processes(to_ms)
        for caller in self._callers:
            self._take_calls(caller, caller.between(from_ms, to_ms))
        for node in self._nodes:
            node.sample()
        for agent in self._agents:
            agent.sample()
        writer = self._writer()
        if writer is not None:
            self._send(writer, to_ms)
            for node in self._nodes:
                writer.book_gpu_time(node.meter)
            self._book_entries(writer, to_ms)
            self._providers.go_on(writer.reader, to_ms)
            writer.step()
        pages: dict[str, Page | None] = {}
        for instance in _INSTANCES[: self._scenario.replicas]:
            process = self._processes.get(instance)
            if process is not None:
                if isinstance(process.exporter, SteppedReplica):
                    process.exporter.step()
                pages[instance] = _page(process.exporter.exposition, process.since_ms)
            else:
                pages[instance] = None
        for node in self._nodes:
            pages[node.instance] = _page(node.exposition, self._scenario.start_ms)
        for agent in self._agents:
            began = time.perf_counter()
            text = agent.page()
            pages[agent.instance] = Page(text, time.perf_counter() - began)
        self._scraper.scrape(to_ms, pages)

    def _writer(self) -> SteppedService | None:
        process = self._processes.get(self._writing)
        if process is None or not isinstance(process.exporter, SteppedService):
            return None
        return process.exporter

    def _config(self, *, scoped: bool = True) -> Config:
        found = settings(self._folder, self._scenario, self._workloads, self._prices)
        if scoped:
            found["scopes"] = [dict(scope) for scope in SCOPES]
            found["sources"] = self._providers.entries(self._folder)
        path = self._folder / "costmeter.yml"
        path.write_text(yaml.safe_dump(found), "utf-8")
        return load_config(path, {})

    def _start_writer(self) -> None:
        service = SteppedService(self._config(), self._clock)
        self._processes[self._writing] = _Process(service, self._clock.now_ms())

    def _import_history(self) -> None:
        """Before there are scopes: what is imported would only be observed where a feed books."""
        service = SteppedService(self._config(scoped=False), self._clock)
        try:
            usages = history(self._scenario, self._workloads, load_price_book())
            service.writer.import_history(usages).result()
        finally:
            service.stop()

    def _change_processes(self, now_ms: int) -> None:
        """Outages and returns. The ledger's life is the same with one replica and with two."""
        if self._outages and now_ms >= self._outages[0]:
            self._outages.pop(0)
            self._processes.pop(self._writing).exporter.stop()
            self._down = _OUTAGE_TICKS
        elif self._down:
            self._down -= 1
            if not self._down:
                self._prices += 1
                if not self._outages and self._scenario.replicas == 2:
                    replica = self._processes.pop(_INSTANCES[1], None)
                    if replica is not None:
                        replica.exporter.stop()
                    self._writing = _INSTANCES[1]
                self._start_writer()
        elif self._scenario.replicas == 2 and len(self._processes) < 2:
            (other,) = set(_INSTANCES) - set(self._processes)
            self._processes[other] = _Process(SteppedReplica(self._config(), self._clock), now_ms)

    def _take_calls(self, caller: Caller, calls: list[bytes]) -> None:
        workload = caller.workload
        self._waiting[workload.feed] += calls
        if workload.provider == "openai" and workload.feed == "gateway":
            # Some applications also report what the gateway sees anyway.
            self._waiting["sdk"] += [call for call in calls if self._pick.random() < 0.08]
        if workload.feature == "review":
            self._reviews = (self._reviews + calls)[-_CORRECTED_CALLS:]

    def _send(self, writer: SteppedService, now_ms: int) -> None:
        for feed in FEEDS:
            calls = self._waiting[feed]
            # A sender that missed the answer sends again; now and then one sends nonsense.
            again = [call for call in self._sent_before[feed] if self._pick.random() < 0.004]
            wrong = [self._broken(now_ms)] if self._pick.random() < 0.03 else []
            sent = calls + again + wrong
            if sent:
                writer.post("/api/v1/usage", feed, body(sent))
            self._sent_before[feed], self._waiting[feed] = calls, []

    def _broken(self, now_ms: int) -> bytes:
        kind = self._pick.randrange(3)
        at_ms = now_ms + (3_600_000 if kind == 0 else 0)
        tokens = b'{"input":-4}' if kind == 1 else b'{"input":4}'
        request_id = b"" if kind == 2 else b'"request_id":"broken-%d",' % now_ms
        return b'{%b"timestamp":%d,"provider":"openai","model":"gpt-4o","tokens":%b}' % (
            request_id, at_ms, tokens,
        )  # fmt: skip

    def _book_entries(self, writer: SteppedService, now_ms: int) -> None:
        """What comes from no call: fixed costs of each new day, a correction, a credit."""
        day_ms = now_ms - now_ms % MS_PER_DAY
        # Not at the full hour: what is booked between the last scrape before it and the first
        # after it is in no increase over a whole hour.
        if self._once(f"day {day_ms}", day_ms + _FIXED_COSTS_AFTER_MS):
            writer.book(*fixed_costs(day_ms))
        for share in _CORRECTIONS:
            if self._reviews and self._once(f"correction {share}", self._scenario.at(share)):
                writer.post("/api/v1/corrections", "sdk", _corrections(self._reviews))
                self._reviews.clear()
        if self._once("mistyped price", self._scenario.at(_MISTYPED)):
            writer.post("/api/v1/usage", "sdk", body([_dear_call(now_ms)]))
        if self._once("credit", self._scenario.at(_CREDIT)):
            writer.book(goodwill(now_ms))

    def _once(self, name: str, from_ms: int) -> bool:
        """True at the first time of asking that is not before this instant."""
        if name in self._done or self._clock.now_ms() < from_ms:
            return False
        self._done.add(name)
        return True


def _page(exposition: Exposition, since_ms: int) -> Page:
    began = time.perf_counter()
    page = exposition.respond("", "").body
    seconds = time.perf_counter() - began
    # The process is this one, which has not run since then.
    started = b"process_start_time_seconds %d" % (since_ms // 1000)
    return Page(_STARTED.sub(started, page), seconds)


def _dear_call(at_ms: int) -> bytes:
    return msgspec.json.encode(
        {
            "request_id": "contract-1",
            "timestamp": at_ms - 1_000,
            "provider": MISTYPED["provider"],
            "model": MISTYPED["model"],
            "tenant_id": "stellar",
            "environment": "prod",
            "team": "risk",
            "feature": "contracts",
            "tokens": {"input": 3_000, "output": 100},
        }
    )


def _corrections(calls: Sequence[bytes]) -> bytes:
    records = []
    for call in calls:
        event: Mapping[str, object] = msgspec.json.decode(call)
        records.append(
            {
                "correction_id": f"model-{event['request_id']}",
                "request_id": event["request_id"],
                "timestamp": event["timestamp"],
                "tenant_id": event["tenant_id"],
                "set": {"model": "gemini-2.5-flash"},
            }
        )
    return msgspec.json.encode({"corrections": records})
