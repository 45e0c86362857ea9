"""When a job is due, as pure functions of the last success and the time now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct


class Every(Struct, frozen=True):
    """At a steady distance from the last run."""

    seconds: int

    def due(self, last_ms: int | None, now_ms: int) -> bool:
        # A clock that was set back must not silence a job until it has caught up.
        return last_ms is None or now_ms - last_ms >= self.seconds * 1_000 or now_ms < last_ms


class Daily(Struct, frozen=True):
    """Once a day at a time of day in a time zone; caught up after downtime.

    On the day on which that time does not exist it is the same distance from midnight;
    on the day on which it exists twice, the first counts.
    """

    hour: int
    minute: int
    zone: str

    def due(self, last_ms: int | None, now_ms: int) -> bool:
        # A last run in the future was that of a clock which was ahead.
        return last_ms is None or last_ms < self.latest(now_ms) or now_ms < last_ms

    def latest(self, now_ms: int) -> int:
        """The newest instant at or before `now_ms` for which this was scheduled."""
        zone = ZoneInfo(self.zone)
        now = datetime.fromtimestamp(now_ms / 1000, zone)
        at = now.replace(hour=self.hour, minute=self.minute, second=0, microsecond=0, fold=0)
        if at.astimezone(UTC) > now.astimezone(UTC):
            at = (at - timedelta(days=1)).replace(fold=0)
        return int(at.timestamp()) * 1_000


class ByHand(Struct, frozen=True):
    """Never by itself."""

    def due(self, last_ms: int | None, now_ms: int) -> bool:
        del last_ms, now_ms
        return False


BY_HAND = ByHand()
Schedule = Every | Daily | ByHand


def daily(text: str, zone: str) -> Daily:
    """`HH:MM` in a time zone."""
    hour, _, minute = text.partition(":")
    return Daily(int(hour), int(minute), zone)
