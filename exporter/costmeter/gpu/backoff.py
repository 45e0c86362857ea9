"""When to try again, and what to say about it: once."""

from __future__ import annotations

import logging


class Backoff:
    """Waits double from `first_ms` to `last_ms`; quiet times as long as the last reset them."""

    def __init__(self, first_ms: int, last_ms: int) -> None:
        self._first_ms = first_ms
        self._last_ms = last_ms
        self._wait_ms = first_ms
        self._due_ms: int | None = None

    def due(self, now_ms: int) -> bool:
        return self._due_ms is None or now_ms >= self._due_ms

    def tried(self, now_ms: int) -> None:
        """A try was made, whatever came of it: the next is due only after the wait."""
        if self._due_ms is not None and now_ms - self._due_ms >= self._last_ms:
            self._wait_ms = self._first_ms
        self._due_ms = now_ms + self._wait_ms
        self._wait_ms = min(self._last_ms, 2 * self._wait_ms)


class Notices:
    """Logs each subject once, until it is forgotten."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: set[str] = set()

    def say(self, subject: str, text: str, level: int = logging.WARNING) -> None:
        if subject not in self._said:
            self._said.add(subject)
            self._log.log(level, "%s", text)

    def was_said(self, subject: str) -> bool:
        return subject in self._said

    def forget(self, *subjects: str) -> None:
        self._said.difference_update(subjects)

    def forget_all(self) -> None:
        self._said.clear()
