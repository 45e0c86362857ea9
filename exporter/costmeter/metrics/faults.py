"""What could not be shown: counted every time, logged once, and never the end of a scrape."""

from __future__ import annotations

import logging
from threading import Lock

from costmeter.tally import Tally

FAILURES = "costmeter_collector_failures_total"

_log = logging.getLogger(__name__)


class Faults:
    """Notes failures by the part of the page that is missing because of them."""

    def __init__(self, tally: Tally | None = None) -> None:
        self._tally = tally or Tally()
        self._logged: set[tuple[str, str]] = set()
        self._lock = Lock()

    def note(self, part: str, error: Exception) -> None:
        """Count that `part` is missing from a page; say why the first time it is so."""
        self._tally.add(FAILURES, part)
        kind = (part, type(error).__name__)
        with self._lock:
            if kind in self._logged:
                return
            self._logged.add(kind)
        _log.error("%s is missing from /metrics: %s", part, error, exc_info=error)
