"""Calendar periods of a time zone: which day and month an instant falls in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


class Calendar:
    """Days and months of one zone. A day is yyyymmdd, a month is yyyymm."""

    def __init__(self, zone: str) -> None:
        self.zone_name = zone
        self._zone = ZoneInfo(zone)
        self._cache: dict[int, tuple[int, int]] = {}

    def day_and_month(self, at_ms: int) -> tuple[int, int]:
        found = self._cache.get(at_ms)
        if found is None:
            local = datetime.fromtimestamp(at_ms / 1000, self._zone)
            month = local.year * 100 + local.month
            found = (month * 100 + local.day, month)
            if len(self._cache) > 10_000:
                self._cache.clear()
            self._cache[at_ms] = found
        return found

    def start_of_month(self, month: int) -> int:
        """The first instant of the month yyyymm, in milliseconds."""
        return self._instant(datetime(month // 100, month % 100, 1, tzinfo=self._zone))

    def month_bounds(self, at_ms: int) -> tuple[int, int]:
        """First instant of the month of `at_ms` and of the next one, in milliseconds."""
        month = self.day_and_month(at_ms)[1]
        return self.start_of_month(month), self.start_of_month(shift_month(month, 1))

    def previous_day(self, day: int) -> int:
        date = datetime(day // 10_000, day // 100 % 100, day % 100, tzinfo=UTC) - timedelta(days=1)
        return date.year * 10_000 + date.month * 100 + date.day

    def fits(self, cell_ms: int, at_ms: int) -> bool:
        """Whether the zone's days begin on a cell boundary, in any season of that year."""
        year = self.day_and_month(at_ms)[1] // 100
        return all(self.start_of_month(year * 100 + m) % cell_ms == 0 for m in range(1, 13))

    def _instant(self, local: datetime) -> int:
        return int(local.timestamp()) * 1000


def shift_month(month: int, by: int) -> int:
    """yyyymm moved by a number of months."""
    index = month // 100 * 12 + month % 100 - 1 + by
    return index // 12 * 100 + index % 12 + 1


def quarter_months(month: int) -> tuple[int, ...]:
    """The months of the quarter of `month`, as yyyymm."""
    first = month // 100 * 100 + (month % 100 - 1) // 3 * 3 + 1
    return (first, first + 1, first + 2)
