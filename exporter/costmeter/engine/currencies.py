"""Rates of exchange in force, and lines of bills that get theirs late."""

from __future__ import annotations

from collections.abc import Sequence

from costmeter.config import Config
from costmeter.engine.jobs import Job
from costmeter.engine.schedule import Every
from costmeter.ledger.settle.settlements import Settlements
from costmeter.ledger.writer import Writer
from costmeter.pricing.exchange import DayRate, Exchange, day_number, read_rates

JOB = "currencies"
_EVERY_SECONDS = 30


def exchange_of(config: Config) -> Exchange:
    """The rates of the file, and before them those of the configuration. PriceFileError."""
    currencies = config.currencies
    rates = [] if currencies.rates_file is None else read_rates(currencies.rates_file)
    own = [DayRate(day_number(one.date), one.currency, one.rate) for one in currencies.rates]
    return Exchange([*rates, *own], currencies.max_age_days)


class Conversion:
    """Gives rates to lines that had none, once for each set of rates."""

    def __init__(self, writer: Writer, settlements: Settlements, exchange: Exchange) -> None:
        self._writer = writer
        self._settlements = settlements
        self._done: Exchange | None = None
        self.exchange = exchange
        settlements.exchange = exchange

    def jobs(self) -> Sequence[Job]:
        about = "converts lines of bills that got a rate of exchange"
        return (Job(JOB, Every(_EVERY_SECONDS), self.run, about),)

    def change(self, exchange: Exchange) -> None:
        """Convert by these from now on."""
        self.exchange = exchange
        self._settlements.exchange = exchange

    def run(self) -> str:
        exchange, number, more = self.exchange, 0, True
        while more and self._done is not exchange:
            done, more = self._writer.run(self._settlements.convert).result()
            number += done
        self._done = exchange
        return f"{number} lines of bills converted to USD" if number else ""
