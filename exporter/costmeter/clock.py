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


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000
