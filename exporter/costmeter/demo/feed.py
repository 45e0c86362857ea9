"""Calls that happen now, sent to the exporter as an application would send them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from costmeter.demo.children import fetch
from costmeter.demo.costs import priced
from costmeter.demo.scene import RUNAWAY_EVERY_MS, Scene
from costmeter.demo.trace import Call, calls_of_hour, runaway, stamp
from costmeter.model import NANO_PER_USD
from costmeter.pricing import PriceBook

#: An hour of the day's rhythm; the whole day passes in ten minutes.
_HOUR_MS = 25_000
#: The live day begins in the morning: this hour, counted from 1970, is 09:00.
_FIRST_HOUR = 24 * 20_000 + 9
#: The agent goes on so far past the limit, until somebody stops it.
_EXCESS_NANO = 30 * NANO_PER_USD


class Feed:
    """Sends what is due whenever it is asked to; `run` makes this run's ids its own."""

    def __init__(self, url: str, play: Scene, book: PriceBook, run: str, now_ms: int) -> None:
        self._url = f"{url}/api/v1/usage"
        self._book = book
        self._run = run
        self._ordinary = _ordinary(now_ms)
        self._next = next(self._ordinary)
        self._agent = runaway()
        self._agent_at_ms: int | None = None
        self._left_nano = play.tight.limit_nano - play.spent_nano + _EXCESS_NANO
        self._unsent: list[dict[str, Any]] = []
        self.sent = 0

    @property
    def agent_started(self) -> bool:
        return self._agent_at_ms is not None

    def start_agent(self, now_ms: int) -> None:
        """From now on an agent calls its model in a loop, until it has spent enough."""
        self._agent_at_ms = now_ms

    def send(self, now_ms: int) -> bool:
        """Send what is due by now; what was not taken is sent again the next time."""
        while self._next.at_ms <= now_ms:
            self._add(self._next)
            self._next = next(self._ordinary)
        while self._agent_at_ms is not None and self._agent_at_ms <= now_ms:
            if self._left_nano <= 0:
                break
            call = Call(self._agent_at_ms, next(self._agent))
            self._left_nano -= sum(one.nano or 0 for one in priced([call], self._book))
            self._add(call)
            self._agent_at_ms += RUNAWAY_EVERY_MS
        if self._unsent:
            answer = fetch(self._url, json.dumps(self._unsent).encode())
            if answer is None:
                return False
            self.sent += len(self._unsent)
            self._unsent = []
        return True

    def _add(self, call: Call) -> None:
        number = self.sent + len(self._unsent)
        self._unsent.append(
            {"request_id": f"{self._run}-{number}", "timestamp": stamp(call.at_ms), **call.event}
        )


def _ordinary(start_ms: int) -> Iterator[Call]:
    """The ordinary calls from an instant on, without end."""
    hour = 0
    while True:
        for call in calls_of_hour(_FIRST_HOUR + hour, length_ms=_HOUR_MS):
            yield Call(start_ms + hour * _HOUR_MS + call.at_ms, call.event)
        hour += 1
