"""The exporter that only reads: the same figures from the same ledger, beside its writer."""

from __future__ import annotations

from collections.abc import Mapping

from costmeter.clock import Clock
from costmeter.config import Config
from costmeter.engine.currencies import exchange_of
from costmeter.engine.health import Health, disk, in_plain_words, staleness
from costmeter.engine.publisher import Publisher
from costmeter.engine.terms import price_book, thresholds_of
from costmeter.ledger.store import open_for_reading
from costmeter.metrics.collector import own_registry, snapshot_figures
from costmeter.metrics.exposition import Exposition
from costmeter.tally import Tally


class Replica:
    """Shows the same ledger beside its writer; it takes no usage and runs no jobs."""

    def __init__(self, config: Config, clock: Clock) -> None:
        """Raises LedgerError or PriceFileError."""
        self.config = config
        self.tally = Tally()
        self._clock = clock
        prices = price_book(config)
        self._store = open_for_reading(config.ledger.path)
        exchange = exchange_of(config)
        self._publisher = Publisher(
            self._store,
            clock,
            prices=lambda: prices,
            exchange=lambda: exchange,
            thresholds=lambda: thresholds_of(config),
            budgets_seconds=config.jobs.budgets_seconds,
        )
        registry = own_registry(self.tally, self._figures)
        self.exposition = Exposition(
            self._publisher.snapshot, registry, clock, ("team", "feature"), self.tally
        )
        self.configured(succeeded=True)

    def start(self) -> None:
        """Raises LedgerError when the ledger cannot be read."""
        with in_plain_words(self.config.ledger.path):
            self._publisher.start()

    def stop(self) -> None:
        self._publisher.stop()
        self._store.close()

    def health(self) -> Health:
        reasons = staleness(self._publisher.snapshot(), self._clock.now_ms())
        return Health(healthy=True, ready=not reasons, reasons=tuple(reasons))

    def reload(self, config: Config) -> str:
        """A replica has nothing to reload: what it shows lies in the ledger."""
        del config
        self.configured(succeeded=True)
        return "a replica reads its budgets and prices at the start: restart it"

    def configured(self, *, succeeded: bool) -> None:
        self.tally.set("costmeter_config_reload_success", to=float(succeeded))

    def _figures(self) -> Mapping[str, Mapping[tuple[str, ...], float]]:
        figures = dict(snapshot_figures(self._publisher.snapshot(), self._clock.now_ms()))
        # 0 and not absent: somebody answers for this ledger, and it is not the writer.
        figures["costmeter_ledger_up"] = {(): 0.0}
        figures.update(disk(self._store))
        return figures
