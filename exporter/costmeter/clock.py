"""Time as an argument: the system's clock, and the shape that tests replace."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time and steady time. The two disagree when somebody sets the clock."""

    def now_ms(self) -> int:
        """Unix time in milliseconds, UTC."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary start; never goes back."""
        ...


#: Linux' CLOCK_MONOTONIC stands still while a machine is suspended, and a night's sleep
#: would look like a step of the wall clock; CLOCK_BOOTTIME goes on.
_STEADY = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        if _STEADY is None:
            return time.monotonic_ns() // 1_000_000
        return time.clock_gettime_ns(_STEADY) // 1_000_000
