"""When it happened: which instants are open for booking."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from costmeter.ingest.refusal import Refused
from costmeter.model import MS_PER_DAY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The year 10000. An integer from here on cannot be meant as milliseconds.
_NEVER_MS = 253_402_300_800_000
#: An integer under this (March 1973) that is old is most likely meant as seconds.
_SECONDS_LIKE = 10**11


class Window(NamedTuple):
    """Open from `open_days` ago to `ahead_ms` from now (clocks disagree a little)."""

    open_days: int = 7
    ahead_ms: int = 30_000


class Bounds(NamedTuple):
    """A window at one moment, in Unix milliseconds, both ends included."""

    oldest_ms: int
    newest_ms: int
    now_ms: int
    open_days: int


def bounds(window: Window, now_ms: int) -> Bounds:
    return Bounds(
        now_ms - window.open_days * MS_PER_DAY,
        now_ms + window.ahead_ms,
        now_ms,
        window.open_days,
    )


def unix_ms(instant: datetime | int) -> int:
    """Unix milliseconds of an instant as it was sent; fractions of one are cut."""
    if isinstance(instant, int):
        return instant
    since = instant - _EPOCH
    return since.days * MS_PER_DAY + since.seconds * 1000 + since.microseconds // 1000


def refuse_outside(at_ms: int, limits: Bounds) -> Refused:
    """Why an instant outside the bounds is refused, and what to do about it."""
    if at_ms > limits.newest_ms:
        if at_ms >= _NEVER_MS:
            return Refused("timestamp", "expected Unix milliseconds; this looks like a finer unit")
        ahead = _span(at_ms - limits.now_ms)
        return Refused(
            "timestamp",
            f"{ahead} in the future; set the sender's clock, or send it again then",
            code="future",
            retriable=True,
        )
    if 0 <= at_ms < _SECONDS_LIKE:
        return Refused("timestamp", "expected Unix milliseconds; this looks like seconds")
    return Refused(
        "timestamp",
        f"{_span(limits.now_ms - at_ms)} old; only the last {limits.open_days} days are open. "
        "Load older usage as history with `costmeter import`",
        code="too_old",
    )


def _span(ms: int) -> str:
    minutes = ms // 60_000
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 2880:
        return f"{minutes // 60} h"
    return f"{minutes // 1440} days"
