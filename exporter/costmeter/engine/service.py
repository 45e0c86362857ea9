"""Everything that runs behind the web server, put together from the configuration."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping

from costmeter.clock import Clock
from costmeter.config import Config
from costmeter.engine.health import Health, disk, in_plain_words, staleness
from costmeter.engine.jobs import JobRunner
from costmeter.engine.publisher import Publisher
from costmeter.engine.terms import budgets_of, placement_of, terms_of
from costmeter.engine.upkeep import regular_jobs, reprice
from costmeter.gpu.meter import GpuMeter
from costmeter.gpu.sampler import Sampler
from costmeter.ledger import upkeep
from costmeter.ledger.booking import Booking
from costmeter.ledger.door import Unavailable
from costmeter.ledger.jobstate import JobState
from costmeter.ledger.store import Checkpointer, open_for_writing
from costmeter.ledger.writer import Writer
from costmeter.metrics.collector import own_registry, snapshot_figures
from costmeter.metrics.exposition import Exposition
from costmeter.metrics.gpu import GpuCollector
from costmeter.pricing import load_price_book
from costmeter.tally import Tally

_log = logging.getLogger("costmeter")

_SHUTDOWN_SECONDS = 30


class Service:
    """The writing exporter. Construct, `start`, `stop`; a replica is `Replica`."""

    def __init__(self, config: Config, clock: Clock) -> None:
        """Opens the ledger. Raises LedgerError or PriceFileError."""
        self.config = config
        self.tally = Tally()
        self._clock = clock
        self._reloading = threading.Lock()
        self._prices = load_price_book(config.prices.files)
        self._store = open_for_writing(config.ledger.path, config.ledger.cell_minutes * 60_000)
        try:
            booking = Booking(self._store, terms_of(config), self._prices, clock, self.tally)
            self.writer = Writer(
                booking,
                self.tally,
                queue_events=config.ingest.queue_events,
                retry_after=config.ingest.retry_after_seconds,
            )
            with in_plain_words(config.ledger.path):
                upkeep.start(booking, budgets_of(config))
        except BaseException:
            self._store.close()
            raise
        self._publisher = Publisher(
            self._store,
            lambda: booking.budgets.active,
            clock,
            budgets_seconds=config.jobs.budgets_seconds,
        )
        self._sampler, self._meter = _gpu(config, clock)
        self._job_connection = self._store.reader()
        self._checkpointer = Checkpointer(self._store)
        self._jobs = JobRunner(
            regular_jobs(
                config, self.writer, self._checkpointer, self._meter, self._assess_budgets
            ),
            JobState(self._job_connection, self.writer),
            clock,
            self.tally,
        )
        registry = own_registry(self.tally, self._figures)
        if self._sampler is not None:
            registry.register(GpuCollector(self._sampler.state, socket.gethostname()))
        self.exposition = Exposition(
            self._publisher.snapshot, registry, clock, ("team", "feature"), self.tally
        )
        self.configured(succeeded=True)

    def start(self) -> None:
        """Raises LedgerError when the ledger can be opened and not used."""
        with in_plain_words(self.config.ledger.path):
            self.writer.start()
            self.writer.run(lambda: None).result()
            self._publisher.start()
        self._jobs.start()
        # The price files may be others than when it stopped, or it stopped half-way.
        self._begin_repricing()
        if self._sampler is not None:
            self._sampler.start()

    def stop(self) -> None:
        """Book what is still open, then close the ledger."""
        if self._sampler is not None and self._meter is not None:
            self._sampler.stop()
            self._meter.close()
        self._jobs.stop()
        self._book_last_gpu_time()
        self.writer.close()
        self.close()

    def close(self) -> None:
        """Give back the ledger; the writer has ended."""
        self._publisher.stop()
        self._job_connection.close()
        self._checkpointer.close()
        self._store.close()

    def run_job(self, name: str) -> str:
        """Run one job now; what it said."""
        return self._jobs.run_named(name)

    def health(self) -> Health:
        reasons = []
        if self.writer.problem is not None:
            reasons.append(self.writer.problem)
        reasons.extend(staleness(self._publisher.snapshot(), self._clock.now_ms()))
        alive = self.writer.alive
        if not alive:
            reasons.append("the ledger's writer has ended; restart the exporter")
        return Health(healthy=alive, ready=not reasons, reasons=tuple(reasons))

    def reload(self, config: Config) -> str:
        """Put new prices and budgets in force; one line about what needs a restart.

        Raises PriceFileError, LedgerError or Unavailable, and then nothing has changed.
        """
        with self._reloading:
            prices = load_price_book(config.prices.files)
            budgets = budgets_of(config)
            booking, old = self.writer.booking, self._prices
            upkeep.check_zones(booking, budgets)

            self.writer.run(lambda: upkeep.apply_budgets(booking, budgets)).result()
            # Only after the commit: a reload that failed leaves the old prices in force. What
            # is booked in between is repriced below.
            booking.prices = self._prices = prices
            if prices.revision != old.revision:
                self._begin_repricing()
            fixed = _needs_restart(self.config, config)
            self.config = config
            self.configured(succeeded=True)
        return fixed

    def configured(self, *, succeeded: bool) -> None:
        """Tell in a metric whether the newest configuration is the running one."""
        self.tally.set("costmeter_config_reload_success", to=float(succeeded))
        if succeeded:
            self.tally.set(
                "costmeter_config_reload_success_timestamp_seconds",
                to=self._clock.now_ms() / 1000,
            )

    def _begin_repricing(self) -> None:
        # A large ledger takes a while; ingest goes on between the steps.
        threading.Thread(target=self._reprice, name="repricing", daemon=True).start()

    def _reprice(self) -> None:
        try:
            if said := reprice(self.writer):
                _log.info("new prices: %s", said)
        except Unavailable as error:
            _log.error("repricing stopped: %s; the job of that name goes on with it", error)

    def _assess_budgets(self) -> str:
        self._publisher.assess()
        return ""

    def _book_last_gpu_time(self) -> None:
        if self._meter is None:
            return
        try:
            segments = self._meter.drain()
            if segments:
                self.writer.submit(segments).result(timeout=_SHUTDOWN_SECONDS)
                self._meter.confirm(len(segments))
        except Exception as error:  # noqa: BLE001 - a shutdown goes on
            _log.error("the last GPU time could not be booked: %s", error)

    def _figures(self) -> Mapping[str, Mapping[tuple[str, ...], float]]:
        snapshot, now_ms = self._publisher.snapshot(), self._clock.now_ms()
        figures = dict(snapshot_figures(snapshot, now_ms))
        figures["costmeter_ledger_up"] = {(): float(self.writer.problem is None)}
        figures["costmeter_ingest_queue_events"] = {(): float(self.writer.queued_events)}
        figures["costmeter_clock_step_seconds"] = {(): self.writer.booking.time.step_ms / 1000}
        figures["costmeter_prices_age_seconds"] = {(): (now_ms - self._prices.as_of_ms) / 1000}
        figures["costmeter_unpriced_requests"] = {
            (item.provider, item.model): float(item.requests) for item in self._publisher.unpriced
        }
        figures.update(disk(self._store))
        return figures


def _gpu(config: Config, clock: Clock) -> tuple[Sampler | None, GpuMeter | None]:
    gpu = config.gpu
    if gpu.enabled == "false":
        return None, None
    sampler = Sampler(clock, interval_seconds=gpu.sample_seconds)
    meter = GpuMeter(clock, placement_of(config), segment_seconds=gpu.segment_seconds)
    sampler.subscribe(meter.observe)
    return sampler, meter


def _needs_restart(old: Config, new: Config) -> str:
    fixed: dict[str, Callable[[Config], object]] = {
        "ledger": lambda c: c.ledger,
        "series": lambda c: c.series,
        "web.listen_address": lambda c: c.web.listen_address,
        "ingest": lambda c: c.ingest,
        "gpu": lambda c: c.gpu,
        "scopes": lambda c: c.scopes,
        "jobs": lambda c: c.jobs,
    }
    changed_keys = [key for key, part in fixed.items() if part(old) != part(new)]
    if not changed_keys:
        return ""
    return f"changes of {', '.join(changed_keys)} take effect at the next start"


def run_once(config: Config, clock: Clock, name: str) -> str:
    """Run one regular job on a ledger that no exporter writes now; what it said.

    Raises LedgerError when the ledger is in use.
    """
    service = Service(config, clock)
    try:
        service.writer.start()
        return service.run_job(name)
    finally:
        service.writer.close()
        service.close()
