"""What the SDK says in the log: each kind of trouble once, and again after ten minutes."""

from __future__ import annotations

import logging
import time

LOG = logging.getLogger("costmeter.sdk")
AGAIN_SECONDS = 600.0
_MOST_KINDS = 200
_MOST_LETTERS = 300


def told(error: BaseException | None) -> str:
    """The end of a line about an error. Its repr may hold what was being read: prompts, answers."""
    return f": {type(error).__name__}: {error}"[:_MOST_LETTERS] if error is not None else ""


class Notices:
    """Rate-limited warnings by kind. Never raises, whatever the handlers do."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def say(self, kind: str, text: str, *values: object) -> None:
        """Warn, unless this kind was warned about within the last ten minutes."""
        now = time.monotonic()
        said = self._said.get(kind)
        if said is not None and now - said < AGAIN_SECONDS:
            return
        if len(self._said) >= _MOST_KINDS:
            self._said.clear()
        self._said[kind] = now
        self._log(logging.WARNING, f"costmeter: {text} (said once in ten minutes)", values)

    def over(self, kind: str, text: str, *values: object) -> None:
        """The trouble of this kind has ended; quiet when there was none."""
        if self._said.pop(kind, None) is not None:
            self._log(logging.INFO, f"costmeter: {text}", values)

    @staticmethod
    def _log(level: int, text: str, values: tuple[object, ...]) -> None:
        try:
            LOG.log(level, text, *values)
        except Exception:  # noqa: BLE001 - a broken handler must not reach the application
            return
