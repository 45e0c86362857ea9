"""Repricing: the difference between what was booked and what the prices in force say.

It follows every change of prices by itself, and goes through the past once more for whoever
asks with `costmeter reprice`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping

from costmeter.ledger import upkeep
from costmeter.ledger.door import Unavailable
from costmeter.ledger.reprice_state import Asked, answer_repricing, asked_repricing, note_prices
from costmeter.ledger.store import LedgerError
from costmeter.ledger.writer import Writer
from costmeter.model import NANO_PER_USD

_log = logging.getLogger("costmeter.jobs")

JOB = "reprice-past"
OTHER_PRICES = (
    "failed: the running exporter has other prices than this configuration; reload it "
    "(SIGHUP, or POST /-/reload), which reprices everything too"
)
#: Events in one transaction: short, so that ingest hardly notices.
_AT_ONCE = 500
#: Models that an entry of the audit log names.
_NAMED = 20


def reprice(writer: Writer, longest_seconds: float = math.inf) -> str:
    """Book the difference for every event that the prices in force say otherwise.

    It goes on with the next call where it had to stop, and does nothing once the ledger
    has followed these prices: a price only appears with another book.
    """
    booking = writer.booking
    if writer.run(lambda: note_prices(booking, booking.prices.revision)).result() is None:
        return ""
    amendments = writer.amendments
    amendments.moved.clear()
    began = time.monotonic()
    after: int | None = 0
    priced = repriced = 0
    # First those that nobody sees in any figure yet; but they are not to take all the time.
    while after is not None and time.monotonic() - began < longest_seconds / 2:
        start = after
        done, after = writer.run(
            lambda start=start: amendments.reprice_unpriced(start, _AT_ONCE)  # type: ignore[misc]
        ).result()
        priced += done
    left = True
    while left and time.monotonic() - began < longest_seconds:
        done, left = writer.run(lambda: amendments.reprice_changed(_AT_ONCE)).result()
        repriced += done
    if not priced and not repriced:
        return ""
    said = f"{priced} unpriced events got a price, {repriced} events got another one"
    _audit(writer, f"{said}, by price book {writer.booking.prices.revision}")
    return said


class Past:
    """Goes through the past for whoever asked. While the exporter runs, `beside` the jobs:
    it may take long, and no other job waits for it. A stop ends it, and the next start
    begins anew."""

    def __init__(self, writer: Writer) -> None:
        self.beside = False
        self._writer = writer
        self._thread: threading.Thread | None = None

    def run(self) -> str:
        """What came of it; "" when nobody asked, or when it goes on beside the jobs."""
        if not self.beside:
            return reprice_past(self._writer)
        connection = self._writer.booking.connection
        if self._writer.run(lambda: asked_repricing(connection)).result() is None:
            return ""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._safely, name=JOB, daemon=True)
            self._thread.start()
        return ""

    def _safely(self) -> None:
        try:
            if said := reprice_past(self._writer):
                _log.info("job %s: %s", JOB, said)
        except (Unavailable, LedgerError) as error:
            _log.error("job %s stopped: %s; it begins anew when it is due again", JOB, error)


def reprice_past(writer: Writer) -> str:
    """Go through the past for whoever asked; "" when nobody did.

    Whoever asked has seen what it changes by the prices of a configuration; with other
    prices in force nothing is done.
    """
    booking, amendments = writer.booking, writer.amendments
    asked = writer.run(lambda: asked_repricing(booking.connection)).result()
    if asked is None:
        return ""
    if asked.revision != booking.prices.revision:
        return _answer(writer, asked, OTHER_PRICES)
    amendments.moved.clear()
    count, after = 0, 0
    while True:
        start = after
        done, last = writer.run(
            lambda start=start: amendments.reprice_since(asked.since_ms, start, _AT_ONCE)  # type: ignore[misc]
        ).result()
        count += done
        if last is None:
            break
        after = last
    said = f"{count} events of the past got another price"
    _audit(writer, f"{said}, by price book {asked.revision}")
    return _answer(writer, asked, said)


def _answer(writer: Writer, asked: Asked, said: str) -> str:
    writer.run(lambda: answer_repricing(writer.booking.connection, asked, said)).result()
    return said


def _audit(writer: Writer, said: str) -> None:
    moved: Mapping[tuple[str, str], tuple[int, int]] = dict(writer.amendments.moved)
    writer.amendments.moved.clear()
    largest = sorted(moved.items(), key=lambda item: (-abs(item[1][1]), item[0]))
    parts = [
        f"{provider}/{model} {count} events {_usd(nano)} USD"
        for (provider, model), (count, nano) in largest[:_NAMED]
    ]
    if len(largest) > _NAMED:
        parts.append(f"{len(largest) - _NAMED} more models")
    total = _usd(sum(nano for _, nano in moved.values()))
    text = f"{said}: {total} USD ({'; '.join(parts)})"
    writer.run(lambda: upkeep.audit(writer.booking, "reprice", text)).result()


def _usd(nano: int) -> str:
    """Exact, and with its sign."""
    whole, rest = divmod(abs(nano), NANO_PER_USD)
    return f"{'-' if nano < 0 else '+'}{whole}.{rest:09d}"
