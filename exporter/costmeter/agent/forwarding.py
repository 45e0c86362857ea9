"""The way of closed segments to the server: the spool's folder, its lock, and the sender."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from costmeter.agent.own import spool_samples
from costmeter.agent.page import Sample
from costmeter.agent.spool_file import take_folder
from costmeter.clock import Clock
from costmeter.config.agent import Forward
from costmeter.tally import Tally

if TYPE_CHECKING:
    from costmeter.agent.sender import Sender
    from costmeter.agent.spool import Spool
    from costmeter.segment import Segment

_log = logging.getLogger("costmeter.agent")


class Forwarding:
    """Without an address nothing is kept. Everything that is heavy waits for `start`.

    Raises InUse when another agent has the folder. One that cannot be made is no reason
    to end: segments then wait in memory.
    """

    def __init__(self, forward: Forward, clock: Clock, tally: Tally) -> None:
        self._settings = forward
        self._clock = clock
        self._tally = tally
        self._spool: Spool | None = None
        self._sender: Sender | None = None
        self._lock = -1
        self.on = bool(forward.url)
        self.folder: Path | None = forward.spool_folder if self.on else None
        if self.on:
            try:
                self._lock = take_folder(forward.spool_folder)
            except OSError as error:
                _log.error(
                    "the spool's folder %s cannot be used (%s): GPU time waits in memory",
                    forward.spool_folder,
                    error.strerror,
                )

    def start(self) -> None:
        if not self.on:
            _log.info("GPU time is not sent anywhere: forward.url is not set")
            return
        from costmeter.agent.rejects import Rejects
        from costmeter.agent.sender import Sender
        from costmeter.agent.transport import Tls, Transport
        from costmeter.agent.verdict import token_reader

        settings = self._settings
        spool = self._opened()
        tls = Tls(settings.ca_file, settings.cert_file, settings.key_file)
        self._sender = Sender(
            spool,
            Transport(settings.url, tls, settings.timeout_seconds),
            token_reader(settings.token_file),
            Rejects(settings.spool_folder),
            self._clock,
            self._tally,
            where=settings.url,
            interval_seconds=settings.interval_seconds,
        )
        self._sender.start()

    def _opened(self) -> Spool:
        if self._spool is None:
            from costmeter.agent.spool import Spool

            self._spool = Spool(
                self._settings.spool_folder, self._settings.spool_bytes, self._clock, self._tally
            )
        return self._spool

    def keep(self, segments: Sequence[Segment]) -> None:
        """To the disk, where there is one; dropped when nothing is sent anywhere."""
        if self.on:
            from costmeter.agent.wire import segment_line

            self._opened().append([segment_line(segment) for segment in segments])

    def flush(self) -> None:
        """Try the disk again for what waits in memory."""
        if self._spool is not None:
            self._spool.flush()

    def stop(self, seconds: float) -> None:
        """Send what can be sent within this time; the rest stays on the disk."""
        if self._spool is not None:
            self._spool.close()
            if self._sender is not None:
                self._sender.stop(seconds)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def samples(self) -> Iterator[Sample]:
        if self._spool is not None:
            yield from spool_samples(
                self._spool.state(), self._settings.spool_bytes, self._clock.now_ms()
            )

    def facts(self) -> Iterator[str]:
        if not self.on:
            yield "GPU time is shown and not sent: forward.url is not set."
            return
        yield f"GPU time is sent to {self._settings.url}."
        if self._spool is not None:
            state = self._spool.state()
            yield f"{state.segments} segments wait for the server."
            if not state.usable:
                yield "The spool's disk cannot be used; see the log."
