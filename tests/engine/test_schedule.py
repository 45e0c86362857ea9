"""When a job is due: time zones, downtime, clocks that were set back."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from costmeter.engine.schedule import Daily, Every, daily


def ms(zone: str, *when: int) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000


def test_every_waits_its_distance() -> None:
    job = Every(60)
    assert job.due(None, 0)
    assert not job.due(1_000_000, 1_059_999)
    assert job.due(1_000_000, 1_060_000)


def test_every_runs_after_the_clock_was_set_back() -> None:
    assert Every(60).due(9_000_000, 1_000_000)


def test_daily_runs_once_after_its_time_of_day() -> None:
    job, zone = daily("04:00", "Europe/Berlin"), "Europe/Berlin"
    last = ms(zone, 2026, 11, 21, 4, 0)
    assert not job.due(last, ms(zone, 2026, 11, 22, 3, 59))
    assert job.due(last, ms(zone, 2026, 11, 22, 4, 0))
    assert not job.due(ms(zone, 2026, 11, 22, 4, 1), ms(zone, 2026, 11, 22, 23, 59))


def test_daily_is_caught_up_after_a_week_away_and_only_once() -> None:
    job = daily("04:00", "UTC")
    last, now = ms("UTC", 2026, 11, 14, 4, 0), ms("UTC", 2026, 11, 22, 9, 0)
    assert job.due(last, now)
    assert not job.due(now, now + 60_000)


@pytest.mark.parametrize("day", [(2026, 3, 29), (2026, 10, 25)])
def test_daily_runs_once_on_days_with_a_clock_change(day: tuple[int, int, int]) -> None:
    """02:30 does not exist on the one day in Berlin and exists twice on the other."""
    zone = "Europe/Berlin"
    job = Daily(2, 30, zone)
    midnight = ms(zone, *day)
    last: int | None = midnight - 3_600_000
    runs = []
    for minute in range(0, 24 * 60, 10):
        now = midnight + minute * 60_000
        if job.due(last, now):
            runs.append(minute)
            last = now
    assert len(runs) == 1


def test_daily_runs_after_a_clock_that_was_ahead() -> None:
    nightly = daily("03:00", "UTC")
    now = ms("UTC", 2026, 11, 22, 10)
    assert nightly.due(ms("UTC", 2099, 1, 1, 4), now)
    assert not nightly.due(now, now)
