"""The ledger's time: the wall clock, watched by one that nobody can set.

Counters are released by time and cells are closed by day, so a clock that is years
ahead for a second would spoil a ledger for good. A step is therefore refused until the
clock is right again or somebody who has looked at it restarts the exporter.
"""

from __future__ import annotations

from costmeter.clock import Clock
from costmeter.ledger.door import Unavailable
from costmeter.model import MS_PER_HOUR

#: Larger jumps than this against the steady clock are nobody's time synchronisation.
TOLERATED_STEP_MS = 600_000


class Timekeeper:
    """Gives the time to book by; never before `last_heartbeat_ms` minus the tolerance."""

    def __init__(self, clock: Clock, last_heartbeat_ms: int = 0) -> None:
        self._clock = clock
        self._wall = clock.now_ms()
        self._steady = clock.monotonic_ms()
        self._last_heartbeat_ms = last_heartbeat_ms
        self.step_ms = 0

    def now_ms(self) -> int:
        """The time now; raises Unavailable while the clock cannot be right."""
        wall, steady = self._clock.now_ms(), self._clock.monotonic_ms()
        self.step_ms = wall - (self._wall + steady - self._steady)
        behind = self._last_heartbeat_ms - wall
        if behind > TOLERATED_STEP_MS:
            raise Unavailable(
                f"the system clock is {behind // 1000} s behind the last entry of the ledger; "
                "set the clock right, and booking goes on by itself"
            )
        if abs(self.step_ms) > TOLERATED_STEP_MS:
            direction = "forward" if self.step_ms > 0 else "back"
            raise Unavailable(
                f"the system clock jumped {direction} by {abs(self.step_ms) // 1000} s; set it "
                "right, and booking goes on by itself, or restart the exporter if it is right now"
            )
        if abs(self.step_ms) < 1_000 or steady - self._steady > MS_PER_HOUR:
            # Follow corrections, or a year of them would look like a step.
            self._wall, self._steady = wall, steady
        return wall
