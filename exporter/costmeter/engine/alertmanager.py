"""Sends alerts to the Alertmanager's API, for budgets that no metric and so no rule shows.

A thread of its own: a slow or absent Alertmanager holds up nothing, and shows as a metric.
"""

from __future__ import annotations

import http.client
import json
import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from costmeter.clock import Clock
from costmeter.engine.budget_alarms import Firing
from costmeter.tally import Tally

_log = logging.getLogger("costmeter.alertmanager")
_AT_ONCE = 500
_TIMEOUT_SECONDS = 10
#: An alert that is not sent again ends by itself after so many rounds.
_ROUNDS = 4


class Alertmanager:
    """Posts what fires to every address, again and again, from `start` to `stop`."""

    def __init__(
        self,
        urls: Sequence[str],
        alerts: Callable[[], list[Firing]],
        clock: Clock,
        tally: Tally,
        *,
        resend_seconds: int = 60,
        token_file: Path | None = None,
    ) -> None:
        self._urls = tuple(urls)
        self._alerts = alerts
        self._clock = clock
        self._tally = tally
        self._resend_seconds = resend_seconds
        self._token_file = token_file
        self._problems: dict[str, str] = {}
        self._ended: dict[str, list[Firing]] = {url: [] for url in self._urls}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="alertmanager", daemon=True)

    def start(self) -> None:
        if self._urls:
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def send(self) -> None:
        """One round: everything that fires, and the end of what does no more."""
        firing = self._alerts()
        self._tally.set("costmeter_alertmanager_alerts", to=sum(not one.ended for one in firing))
        for url in self._urls:
            # The end of an alert is told until it was heard.
            batch = [*self._ended[url], *firing]
            try:
                # Also when there is nothing to tell: whether it listens is worth knowing.
                for start in range(0, max(len(batch), 1), _AT_ONCE):
                    self._post(url, batch[start : start + _AT_ONCE])
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._failed(url, error)
                self._ended[url] = [one for one in batch if one.ended][-_AT_ONCE * 20 :]
                continue
            self._ended[url] = []
            self._tally.set("costmeter_alertmanager_up", _name(url), to=1)
            if self._problems.pop(url, ""):
                _log.info("%s takes alerts again", _name(url))

    def _failed(self, url: str, error: Exception) -> None:
        name, text = _name(url), str(error) or type(error).__name__
        self._tally.set("costmeter_alertmanager_up", name, to=0)
        self._tally.add("costmeter_alertmanager_errors_total", name)
        if self._problems.get(url) != text:
            self._problems[url] = text
            _log.error("alerts of budgets cannot be sent to %s: %s", name, text)

    def _post(self, url: str, batch: Sequence[Firing]) -> None:
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        until = now + timedelta(seconds=_ROUNDS * self._resend_seconds)
        body = json.dumps(
            [{**one.body, "endsAt": (now if one.ended else until).isoformat()} for one in batch]
        )
        headers = {"Content-Type": "application/json"}
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {self._token_file.read_text('utf-8').strip()}"
        parts = urlsplit(url)
        connection = _connection(parts.scheme, parts.hostname or "", parts.port)
        try:
            path = f"{parts.path.rstrip('/')}/api/v2/alerts"
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            text = answer.read(2_000)
            if answer.status != 200:
                said = text.decode("utf-8", "replace").strip()
                raise ValueError(f"it answered {answer.status}: {said[:200]}")
        finally:
            connection.close()

    def _loop(self) -> None:
        while not self._stopping.wait(self._resend_seconds):
            try:
                self.send()
            except Exception:  # noqa: BLE001 - the next round comes
                _log.exception("alerts of budgets could not be sent")


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(
            host, port, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)


def _name(url: str) -> str:
    """An address without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
