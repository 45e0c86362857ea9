"""The pods of this node as the API server has them: listed once, then watched."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from costmeter.clock import Clock
from costmeter.gpu.backoff import Notices
from costmeter.gpu.owners.json_stream import ListReader
from costmeter.gpu.owners.kube_api import ApiError, KubeApi
from costmeter.gpu.owners.pods import PodBook, pod_of
from costmeter.gpu.owners.worker import Worker, log

_PATH = "/api/v1/pods"
#: The server ends a watch after this long; spread, so that nodes do not come back together.
_WATCH_SECONDS = (300, 600)
_LAST_WAIT_SECONDS = 60.0
#: A watch that is well says something about once a minute, be it a bookmark.
_WELL_MS = 180_000
#: An ordinary watch lasts for minutes.
_TOO_SHORT_MS = 1_000
_LONGEST_LINE = 8 << 20


class PodWatch:
    """Fills a PodBook. `settled` is true as soon as it is known whether it can be filled.

    `changed` is called in the watch's thread after a change.
    """

    def __init__(
        self, api: KubeApi, node: str, names: frozenset[str], clock: Clock,
        changed: Callable[[], None], *, first_wait_seconds: float = 1.0,
    ) -> None:  # fmt: skip
        self._api = api
        self._node = node
        self._names = names
        self._clock = clock
        self._changed = changed
        self._first_wait = self._wait = first_wait_seconds
        self._version: str | None = None
        self._expired = False
        self._heard_ms: int | None = None
        self._notices = Notices(log)
        self._worker = Worker("gpu-owners-pods", self._round)
        self.book = PodBook()
        self.success_ms: int | None = None
        self.restarts = 0
        self.problem = ""
        self.settled = False
        self.refused = False
        """The server answered that it will not tell: no label will ever be known so."""

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        # The worker stops first, so that what breaks off is not begun again.
        self._worker.stop_soon()
        self._api.cancel()
        self._worker.stop()

    def is_well(self) -> bool:
        """Whether the book is as good as new."""
        heard = self._heard_ms
        return heard is not None and self._clock.monotonic_ms() - heard <= _WELL_MS

    def _round(self) -> float:
        """One watch, with the list before it where one is needed; the seconds to wait."""
        try:
            if self._version is None:
                self._version = self._list()
                self._well()
            self._watch(self._version)
            return 0.0
        except ApiError as error:
            if self._worker.stopped:
                return 0.0
            if error.reason == "expired":
                self._expired = True
            if error.reason in ("expired", "forbidden", "unauthorized", "malformed"):
                self._version = None
            self.refused = error.reason == "forbidden"
            self.settled = True
            if error.reason != "expired":
                self.problem = f"pods' labels are not known: {error}"
                self._notices.say(error.reason, self.problem)
            # Spread, so that the agents of a cluster do not come back all at once.
            wait = self._wait * random.uniform(0.5, 1)  # noqa: S311
            self._wait = min(_LAST_WAIT_SECONDS, 2 * self._wait)
            return wait

    def _list(self) -> str:
        query = {"fieldSelector": f"spec.nodeName={self._node}"}
        if not self._expired:
            # Any state will do to begin with, and comes from memory; but not the one
            # that the watch has just been told is too old.
            query["resourceVersion"] = "0"
        with self._api.get("pods", _PATH, query) as response:
            reader = ListReader(response.read1)
            try:
                pods = [pod_of(item, self._names) for item in reader]
                version = str(reader.fields["metadata"]["resourceVersion"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                text = f"the list of pods is unreadable: {error}"
                raise self._api.error("pods", "malformed", text) from None
        self._expired = False
        before = self.book.version
        self.book.replace(pods, self._clock.monotonic_ms())
        self.success_ms = self._clock.now_ms()
        self.settled = True
        if self.book.version != before:
            self._changed()
        return version

    def _watch(self, version: str) -> None:
        seconds = random.randint(*_WATCH_SECONDS)  # noqa: S311
        query = {
            "fieldSelector": f"spec.nodeName={self._node}",
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        self.restarts += 1
        began_ms = self._clock.monotonic_ms()
        with self._api.get("watch", _PATH, query, timeout_seconds=seconds + 30) as response:
            self._heard_ms = began_ms
            while line := response.readline(_LONGEST_LINE):
                if not line.endswith(b"\n"):
                    raise self._api.error("watch", "closed", "the watch broke off")
                self._event(self._read(line))
                self._well()
        if self._clock.monotonic_ms() - began_ms < _TOO_SHORT_MS:
            # Not to be begun again and again without a pause.
            raise self._api.error("watch", "closed", "the API server closes the watch at once")

    def _read(self, line: bytes) -> tuple[str, Any]:
        try:
            event = json.loads(line)
            return str(event["type"]), event["object"]
        except (ValueError, KeyError, TypeError):
            raise self._api.error("watch", "malformed", "an unreadable event") from None

    def _event(self, event: tuple[str, Any]) -> None:
        kind, item = event
        if kind == "ERROR":
            reason = "expired" if item.get("code") == 410 else "watch_error"
            raise self._api.error("watch", reason, f"the watch: {item.get('message', '')}")
        before = self.book.version
        try:
            if kind != "BOOKMARK":
                pod = pod_of(item, self._names)
                if kind == "DELETED":
                    self.book.drop(pod, self._clock.monotonic_ms())
                else:
                    self.book.put(pod)
            self._version = str(item["metadata"]["resourceVersion"])
        except (KeyError, TypeError, AttributeError):
            raise self._api.error("watch", "malformed", "an event without a pod") from None
        if self.book.version != before:
            self._changed()

    def _well(self) -> None:
        self._heard_ms = self._clock.monotonic_ms()
        self.success_ms = self._clock.now_ms()
        self._wait = self._first_wait
        self.refused = False
        self.problem = ""
        self._notices.forget_all()
