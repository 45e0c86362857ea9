"""Small corrections of the clock, one after the other."""

from __future__ import annotations

import pytest

from costmeter.ledger.door import Unavailable
from costmeter.ledger.timekeeper import Timekeeper
from fakes.clock import FakeClock


def test_steps_that_were_right_each_time_never_add_up() -> None:
    clock = FakeClock()
    keeper = Timekeeper(clock)
    for _ in range(100):  # a machine that is paused and set right every two hours
        clock.step_wall(30)
        for _ in range(120):
            clock.advance(minutes=1)
            assert keeper.now_ms() == clock.now_ms()
    for _ in range(19):
        clock.step_wall(30)
        keeper.now_ms()
    clock.step_wall(60)
    with pytest.raises(Unavailable, match="forward"):  # but not within a moment
        keeper.now_ms()
