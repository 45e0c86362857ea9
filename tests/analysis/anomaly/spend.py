"""Generated spend by the hour, and what tests ask of it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from costmeter.analysis.anomaly.detect import detect_many
from costmeter.analysis.anomaly.shapes import (
    HOURLY_MS,
    Acknowledgement,
    Detection,
    Finding,
    Series,
    Settings,
)
from costmeter.model import NANO_PER_USD

BERLIN = ZoneInfo("Europe/Berlin")
START_MS = int(datetime(2026, 2, 1, tzinfo=UTC).timestamp() * 1000)
SETTINGS = Settings(timezone="Europe/Berlin")
#: 60 days: two turns of a month and, at hour 1,345, the change to summer time.
HOURS = 60 * 24

Shape = Callable[[datetime, int], float]


def flat(_: datetime, hour: int) -> float:
    return 10.0


def business(at: datetime, hour: int) -> float:
    return 30.0 if 9 <= at.hour < 18 and at.weekday() < 5 else 3.0


def nightly(at: datetime, hour: int) -> float:
    return 200.0 if at.hour == 2 or (at.hour == 3 and at.day == 29 and at.month == 3) else 5.0


def nightly_utc(_: datetime, hour: int) -> float:
    return 200.0 if hour % 24 == 2 else 5.0


def growth(_: datetime, hour: int) -> float:
    return 10 * 1.15 ** (hour / 720)


def diurnal(at: datetime, hour: int) -> float:
    wave = 1 + 0.6 * math.sin(2 * math.pi * (at.hour - 9) / 24)
    return 10 * wave * (1.0 if at.weekday() < 5 else 0.6)


def month_start(at: datetime, hour: int) -> float:
    return 50.0 if at.day == 1 and at.hour < 6 else 10.0


SHAPES: dict[str, Shape] = {
    shape.__name__: shape
    for shape in (flat, business, nightly, nightly_utc, growth, diurnal, month_start)
}


def usd(shape: Shape, seed: int, hours: int = HOURS, noise: float = 0.1) -> list[float]:
    """Amounts with proportional noise: the same seed gives the same amounts."""
    chance = random.Random(f"{shape.__name__}-{seed}")
    return [
        shape(datetime.fromtimestamp(START_MS / 1000 + 3600 * hour, BERLIN), hour)
        * chance.lognormvariate(0, noise)
        for hour in range(hours)
    ]


def series(
    amounts: Sequence[float | None],
    name: str = "openai",
    step_ms: int = HOURLY_MS,
    final: int | None = None,
    late: Sequence[int] = (),
    planned: Sequence[int] = (),
) -> Series:
    until = len(amounts) if final is None else final
    return Series(
        (("provider", name),),
        START_MS,
        [None if one is None else round(one * NANO_PER_USD) for one in amounts],
        START_MS + until * step_ms,
        step_ms,
        frozenset(late),
        frozenset(planned),
    )


def by_day(amounts: Sequence[float]) -> list[float]:
    return [sum(amounts[at : at + 24]) for at in range(0, len(amounts), 24)]


def run(
    *given: Series, settings: Settings = SETTINGS, said: Sequence[Acknowledgement] = ()
) -> Detection:
    end = max(one.start_ms + len(one.nano) * one.step_ms for one in given)
    return detect_many(given, end, settings, said)


def found(amounts: Sequence[float | None], **more: object) -> tuple[Finding, ...]:
    return run(series(amounts, **more)).findings  # type: ignore[arg-type]


def hour_of(at_ms: int, step_ms: int = HOURLY_MS) -> int:
    return (at_ms - START_MS) // step_ms
