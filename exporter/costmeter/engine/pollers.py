"""All configured sources, each in a thread of its own from `start` to `stop`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from costmeter.clock import Clock
from costmeter.config import Config
from costmeter.config import Source as Entry
from costmeter.engine.polling import Poller
from costmeter.ledger.polled import Polled
from costmeter.ledger.writer import Writer
from costmeter.sources.allowance import Allowance
from costmeter.sources.contract import OwnerRule, Settings, Source
from costmeter.sources.registry import make
from costmeter.sources.secret import Secret
from costmeter.tally import Tally

_log = logging.getLogger("costmeter.sources")

_TICK_SECONDS = 0.5
#: A thread that waits for its provider is left behind; it can write nothing any more.
_JOIN_SECONDS = 3


class Pollers:
    """All sources, from `start` to `stop`. `start` needs the writer's thread to run."""

    def __init__(self, pollers: Sequence[Poller], stopping: threading.Event) -> None:
        """`stopping` is the event that the pollers were made with."""
        self._pollers = {poller.name: poller for poller in pollers}
        self._stopping = stopping
        self._threads = [
            threading.Thread(target=self._loop, args=(poller,), name=f"source-{name}", daemon=True)
            for name, poller in self._pollers.items()
        ]

    @property
    def pollers(self) -> tuple[Poller, ...]:
        """For whoever asks them by hand, without `start`."""
        return tuple(self._pollers.values())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._pollers)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask all to end, and wait for none that waits for its provider."""
        self._stopping.set()
        until = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))

    def run_named(self, name: str) -> str | None:
        """Ask the source of a job `source:NAME`; what to say of it, None for another job.

        While the threads run the source is only made due: a poll may take minutes, and the
        jobs wait for none.
        """
        kind, _, source = name.partition(":")
        if kind != "source":
            return None
        poller = self._pollers.get(source)
        if poller is None:
            return f"there is no source {source!r}; choose from {', '.join(self._pollers)}"
        if any(thread.is_alive() for thread in self._threads):
            poller.hurry()
            return f"source {source} is asked now; the log and costmeter_source_up tell how it went"
        return poller.poll()

    def _loop(self, poller: Poller) -> None:
        try:
            poller.remember()
        except Exception as error:  # noqa: BLE001 - then it is due at once
            _log.error("source %s: its state cannot be read yet: %s", poller.name, error)
        while not self._stopping.wait(_TICK_SECONDS):
            if poller.due():
                said = poller.poll()
                _log.debug("source %s: %s", poller.name, said)


def pollers_of(
    config: Config, polled: Polled, writer: Writer, clock: Clock, tally: Tally
) -> Pollers:
    """The sources that the configuration enables; raises ValueError for one that cannot be."""
    stopping = threading.Event()
    return Pollers(
        [
            Poller(
                source_of(entry),
                polled,
                writer,
                clock,
                tally,
                Allowance(entry.calls_per_day or None, entry.usd_per_day),
                stopping,
            )
            for entry in config.sources
            if entry.enabled
        ],
        stopping,
    )


def source_of(entry: Entry) -> Source:
    """A source from its settings; raises ValueError with what to write instead."""
    settings = Settings(
        name=entry.name,
        secret=Secret(entry.key_file, entry.key_variable),
        base_url=entry.base_url,
        account=entry.account,
        tenant_id=entry.tenant_id,
        environment=entry.environment,
        owners=tuple(
            OwnerRule(
                rule.project, rule.api_key, rule.tenant_id, rule.environment, rule.team,
                rule.feature,
            )
            for rule in entry.owners
        ),
        timeout_seconds=entry.timeout_seconds,
        options=entry.by_option(),
    )  # fmt: skip
    source = make(entry.kind, settings)
    own = source.rhythm
    rhythm = replace(
        own,
        every_seconds=entry.every_seconds or own.every_seconds,
        restated_days=entry.restated_days or own.restated_days,
        lookback_days=entry.lookback_days or own.lookback_days,
    )
    return source if rhythm == own else make(entry.kind, replace(settings, rhythm=rhythm))
