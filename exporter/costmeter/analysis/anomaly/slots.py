"""Which hour of the week a step is, and which step of last month looks like it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from costmeter.model import MS_PER_DAY

Ints = NDArray[np.intp]

#: 1970-01-01 was a Thursday; a week begins on Monday, 0.
_THURSDAY, _SATURDAY = 3, 5
#: Days at the start and at the end of a month on which last month is asked, too.
_EDGE = 3


@dataclass(frozen=True, slots=True)
class Slots:
    """One row a step: `day`, `kind` (of day) and `week` are the slots of three profiles.

    `last_month` is the position of the same local time a month before on the first and last
    days of a month, -1 elsewhere and where the series does not reach back so far.
    """

    per_day: int
    day: Ints
    kind: Ints
    week: Ints
    last_month: Ints
    offset: Ints
    """Milliseconds of local time ahead of UTC."""
    in_utc: tuple[Ints, Ints, Ints]
    """`day`, `kind` and `week` by UTC: for what follows a clock that never changes."""


def slots_of(start_ms: int, step_ms: int, steps: int, timezone: str) -> Slots:
    """The slots of `steps` steps from `start_ms` on, in the local time of `timezone`.

    Local time is what people and their schedules follow when clocks change. A day of a daily
    series is the UTC day itself.
    """
    per_day = MS_PER_DAY // step_ms
    zone = ZoneInfo(timezone) if per_day > 1 else UTC
    offsets, edges = [], [-1] * steps
    seen: dict[tuple[int, int, int, int, int], int] = {}
    for index in range(steps):
        at = datetime.fromtimestamp((start_ms + index * step_ms) / 1000, zone)
        ahead = at.utcoffset() or timedelta()
        offsets.append(ahead // timedelta(milliseconds=1))
        key = (at.year, at.month, at.day, at.hour, at.minute)
        seen.setdefault(key, index)
        left = ((at.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)).day
        left -= at.day
        first = at.replace(day=1)
        before = first - timedelta(days=1)
        if at.day <= _EDGE:
            key = (before.year, before.month, at.day, at.hour, at.minute)
        elif left < _EDGE:
            key = (before.year, before.month, before.day - left, at.hour, at.minute)
        else:
            continue
        edges[index] = seen.get(key, -1)
    offset = np.array(offsets, np.int64)
    utc = start_ms + step_ms * np.arange(steps, dtype=np.int64)
    return Slots(
        per_day,
        *_slots(utc + offset, step_ms),
        np.array(edges, np.intp),
        offset,
        _slots(utc, step_ms),
    )


def _slots(at_ms: Ints, step_ms: int) -> tuple[Ints, Ints, Ints]:
    per_day = MS_PER_DAY // step_ms
    step = at_ms % MS_PER_DAY // step_ms
    weekday = (at_ms // MS_PER_DAY + _THURSDAY) % 7
    weekend = (weekday >= _SATURDAY).astype(np.intp)
    return step, step + per_day * weekend, step + per_day * weekday
