"""Everything that runs behind the web server, put together from the configuration."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from costmeter.clock import Clock
from costmeter.config import Config
from costmeter.engine.anomalies import Detecting, options_of
from costmeter.engine.budget_jobs import BudgetJobs
from costmeter.engine.currencies import Conversion, exchange_of
from costmeter.engine.fixed_costs import FixedCosts, entries_of
from costmeter.engine.forecasting import Forecasting
from costmeter.engine.forecasts import settings_of
from costmeter.engine.gpus import Gpus
from costmeter.engine.health import Health, disk, in_plain_words, staleness
from costmeter.engine.jobs import JobRunner
from costmeter.engine.overlap import Overlap
from costmeter.engine.plausible import Plausibility
from costmeter.engine.publisher import Publisher
from costmeter.engine.repricing import Past, reprice
from costmeter.engine.serving import ServingCosts
from costmeter.engine.terms import budgets_of, price_book, terms_of, thresholds_of
from costmeter.engine.upkeep import regular_jobs
from costmeter.ledger import upkeep
from costmeter.ledger.booking import Booking
from costmeter.ledger.door import Unavailable
from costmeter.ledger.jobstate import JobState
from costmeter.ledger.settle.settlements import Settlements
from costmeter.ledger.store import Checkpointer, LedgerError, open_for_writing
from costmeter.ledger.writer import Writer
from costmeter.metrics.collector import own_registry, snapshot_figures
from costmeter.metrics.exposition import Exposition
from costmeter.tally import Tally

if TYPE_CHECKING:
    from costmeter.engine.pollers import Pollers

_log = logging.getLogger("costmeter")

_SHUTDOWN_SECONDS = 30


class Service:
    """The writing exporter. Construct, `start`, `stop`; a replica is `Replica`."""

    def __init__(self, config: Config, clock: Clock) -> None:
        """Opens the ledger. Raises LedgerError or PriceFileError."""
        self.config = self._first = config
        self.tally = Tally()
        self._clock = clock
        self._reloading = threading.Lock()
        self._prices = price_book(config)
        exchange = exchange_of(config)
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
        settlements = Settlements(booking)
        self._conversion = Conversion(self.writer, settlements, exchange)
        try:
            self._fixed_costs = FixedCosts(self.writer, entries_of(config, self._prices, exchange))
        except ValueError as error:
            self._store.close()
            raise LedgerError(str(error)) from None
        try:
            self._sources = _sources(config, booking, settlements, self.writer, clock, self.tally)
        except ValueError as error:
            self._store.close()
            raise LedgerError(f"sources: {error}") from None
        self._budgets = BudgetJobs(config, self.writer, clock, self.tally)
        self._publisher = Publisher(
            self._store,
            clock,
            prices=lambda: booking.prices,
            exchange=lambda: self._conversion.exchange,
            thresholds=lambda: thresholds_of(self.config),
            alarms=self._budgets.alarms,
            budgets_seconds=config.jobs.budgets_seconds,
        )
        self._gpus = Gpus(config, clock) if config.gpu.enabled != "false" else None
        self._job_connection = self._store.reader()
        self._checkpointer = Checkpointer(self._store)
        self._past = Past(self.writer)
        self._overlap = Overlap(self._store, clock, self.tally)
        self._forecasts = Forecasting(
            self._store,
            self.writer,
            clock,
            settings_of(config),
            lambda: self._conversion.exchange,
            config.ledger.reporting_timezone,
        )
        self._detecting = Detecting(self._store, self.writer, clock, options_of(config))
        self._jobs = JobRunner(
            [
                *regular_jobs(
                    config,
                    self.writer,
                    self._checkpointer,
                    self._gpus,
                    settlements,
                    self._past,
                    self._assess_budgets,
                    self._forecasts,
                    self._detecting,
                    Plausibility(self._store, self.writer, clock),
                ),
                *self._budgets.jobs(),
                *self._conversion.jobs(),
                *self._fixed_costs.jobs(),
                self._overlap.job(),
                *ServingCosts(config.serving, self._store, clock, self.tally).jobs(),
            ],
            JobState(self._job_connection, self.writer),
            clock,
            self.tally,
            self._sources.run_named if self._sources is not None else lambda _: None,
        )
        registry = own_registry(self.tally, self._figures)
        if self._gpus is not None:
            registry.register(self._gpus.collector)
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
        self._budgets.start()
        self._past.beside = True
        self._jobs.start()
        # The price files may be others than when it stopped, or it stopped half-way.
        self._begin_repricing()
        if self._gpus is not None:
            self._gpus.start()
        if self._sources is not None:
            self._sources.start()

    def stop(self) -> None:
        """Book what is still open, then close the ledger."""
        if self._sources is not None:
            self._sources.stop()
        if self._gpus is not None:
            self._gpus.stop()
        self._forecasts.stop()
        self._detecting.stop()
        self._jobs.stop()
        self._budgets.stop()
        self._book_last_gpu_time()
        self.writer.close()
        self.close()

    def close(self) -> None:
        """Give back the ledger; the writer has ended."""
        self._overlap.close()
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
            prices, exchange = price_book(config), exchange_of(config)
            try:
                # By the zone and the scopes that the ledger goes by until the next start.
                running = replace(config, ledger=self._first.ledger, scopes=self._first.scopes)
                fixed_costs = entries_of(running, prices, exchange)
            except ValueError as error:
                raise LedgerError(str(error)) from None
            budgets = budgets_of(config)
            booking, old = self.writer.booking, self._prices
            upkeep.check_zones(booking, budgets)

            self._fixed_costs.catch_up()
            self.writer.run(lambda: upkeep.apply_budgets(booking, budgets)).result()
            self._fixed_costs.change(fixed_costs)
            self._conversion.change(exchange)
            self._publisher.assess()
            # Only after the commit: a reload that failed leaves the old prices in force. What
            # is booked in between is repriced below.
            booking.prices = self._prices = prices
            if prices.revision != old.revision:
                self._begin_repricing()
            if self._gpus is not None:
                self._gpus.reload(config)
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
        if self._gpus is None:
            return
        try:
            self._gpus.book(self.writer, _SHUTDOWN_SECONDS)
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


def _sources(
    config: Config,
    booking: Booking,
    settlements: Settlements,
    writer: Writer,
    clock: Clock,
    tally: Tally,
) -> Pollers | None:
    """What polls providers; imported only where somebody configured a source."""
    if not config.sources:
        return None
    from costmeter.engine.pollers import pollers_of
    from costmeter.ledger.polled import Polled

    return pollers_of(config, Polled(booking, settlements), writer, clock, tally)


def _needs_restart(old: Config, new: Config) -> str:
    fixed: dict[str, Callable[[Config], object]] = {
        "ledger": lambda c: c.ledger,
        "series": lambda c: c.series,
        "web.listen_address": lambda c: c.web.listen_address,
        "ingest": lambda c: c.ingest,
        "gpu": lambda c: c.gpu,
        "scopes": lambda c: c.scopes,
        "serving": lambda c: c.serving,
        "jobs": lambda c: c.jobs,
        "alertmanager": lambda c: c.alertmanager,
        "forecast": lambda c: c.forecast,
        "sources": lambda c: c.sources,
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
