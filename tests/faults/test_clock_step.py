"""Somebody sets the clock: refused in plain words, nothing published changes, it recovers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from costmeter.clock import SystemClock
from costmeter.ledger.door import Unavailable, Verdict
from costmeter.ledger.terms import Terms
from costmeter.ledger.timekeeper import TOLERATED_STEP_MS, Timekeeper
from costmeter.ledger.writer import Writer
from fakes.clock import FakeClock
from fakes.exporter import environment
from faults.ledgers import HOUR, Ledger, usage

PAID = 2_500_000_000


def counters(ledger: Ledger) -> dict:
    snapshot = ledger.snapshot()
    return {
        (family, labels): value
        for family in snapshot.families
        if family.endswith("_total")
        for labels, value in snapshot.samples(family)
    }


@pytest.mark.parametrize(("seconds", "words"), [(3 * 3_600, "forward"), (-3 * 3_600, "back")])
def test_a_large_step_is_refused_until_the_clock_is_right(
    tmp_path: Path, seconds: int, words: str
) -> None:
    with Ledger(tmp_path) as ledger:
        late = usage("late", ledger.clock.now_ms() - 6 * HOUR)
        ledger.book(usage(1, ledger.clock.now_ms()), late)
        ledger.clock.advance(minutes=5)
        ledger.tick()
        before = ledger.snapshot()
        shown = counters(ledger)
        ledger.clock.step_wall(seconds)
        for _ in range(3):
            with pytest.raises(Unavailable, match=f"jumped {words} by 10800 s"):
                ledger.book(usage(2, ledger.clock.now_ms()))
            ledger.clock.advance(1)
        after = ledger.snapshot()
        assert counters(ledger) == shown
        assert after.revision == before.revision
        assert after.release_clock_ms == before.release_clock_ms
        ledger.clock.step_wall(-seconds)
        assert ledger.book(usage(2, ledger.clock.now_ms())) == [Verdict.ACCEPTED]
        assert ledger.total("llm_cost_day_to_date") == 3 * PAID


def test_a_clock_before_the_last_entry_is_refused_at_the_start_too(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(usage(1, ledger.clock.now_ms()))
        ledger.close()
        right = ledger.clock
        wrong = FakeClock(right.now_ms() - 3 * HOUR)
        ledger.clock = wrong
        with pytest.raises(Unavailable, match="10800 s behind the last entry of the ledger"):
            ledger.open()
        ledger.clock = right
        ledger.open()
        assert ledger.total("llm_cost_total") == PAID


@pytest.mark.parametrize("seconds", [-30, 30, -500, 500])
def test_a_small_step_goes_on_and_no_counter_falls(tmp_path: Path, seconds: int) -> None:
    with Ledger(tmp_path) as ledger:
        late = usage("late", ledger.clock.now_ms() - 6 * HOUR)
        ledger.book(usage(1, ledger.clock.now_ms()), late)
        ledger.clock.advance(minutes=20)
        ledger.tick()
        shown, clock_ms = counters(ledger), ledger.snapshot().release_clock_ms
        ledger.clock.step_wall(seconds)
        for number in range(20):
            ledger.book(usage(f"n{number}", ledger.clock.now_ms()))
            now = counters(ledger)
            assert all(now[key] >= value for key, value in shown.items())
            assert ledger.snapshot().release_clock_ms >= clock_ms
            shown, clock_ms = now, ledger.snapshot().release_clock_ms
            ledger.clock.advance(60)
        assert ledger.total("llm_cost_month_to_date") == 22 * PAID


def test_a_counter_does_not_fall_when_a_restart_follows_a_step_back(tmp_path: Path) -> None:
    with Ledger(tmp_path, terms=Terms(birth_hold_ms=60_000)) as ledger:
        ledger.book(usage(1, ledger.clock.now_ms()))
        ledger.clock.advance(61)
        ledger.tick()
        assert ledger.total("llm_cost_total") == PAID
        ledger.clock.step_wall(-300)
        ledger.tick()  # the heartbeat lies before the end of the hold now
        ledger.restart()
        assert ledger.total("llm_cost_total") == PAID


def test_a_series_born_after_a_step_back_is_held_all_the_same(tmp_path: Path) -> None:
    with Ledger(tmp_path, terms=Terms(birth_hold_ms=60_000)) as ledger:
        ledger.tick()
        ledger.clock.step_wall(-300)
        ledger.book(usage(1, ledger.clock.now_ms()))
        assert ledger.total("llm_cost_total") == 0
        ledger.clock.advance(361)
        ledger.tick()
        assert ledger.total("llm_cost_total") == PAID


def test_slow_corrections_never_add_up_to_a_step() -> None:
    clock = FakeClock()
    time_keeper = Timekeeper(clock)
    for _ in range(3_000):
        clock.advance(60)
        clock.step_wall(0.5)
        time_keeper.now_ms()
    assert abs(time_keeper.step_ms) <= 500
    clock.step_wall(TOLERATED_STEP_MS / 1000 + 1)
    with pytest.raises(Unavailable, match="forward"):
        time_keeper.now_ms()


def test_the_writer_says_why_and_goes_on_by_itself(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        writer = Writer(ledger.booking, ledger.tally)
        writer.start()
        ledger.clock.step_wall(-3 * 3_600)
        with pytest.raises(Unavailable, match="jumped back by 10800 s"):
            writer.submit([usage(1, ledger.clock.now_ms())]).result(10)
        assert writer.problem is not None
        assert "jumped back" in writer.problem
        failures = ledger.tally.read()["costmeter_ledger_write_failures_total"]
        assert failures == {("clock",): 1}
        ledger.clock.step_wall(3 * 3_600)
        assert writer.submit([usage(1, ledger.clock.now_ms())]).result(10) == [Verdict.ACCEPTED]
        assert writer.problem is None
        writer.close()


def test_steady_time_goes_on_while_the_machine_sleeps() -> None:
    """In a time namespace the clock that counts sleep can be told a day of it."""
    unshare = shutil.which("unshare")
    command = [str(unshare), "--time", "--boottime", "86400", "--fork"]
    if unshare is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("no time namespace can be made here (Linux, by root)")
    code = "from costmeter.clock import SystemClock; print(SystemClock().monotonic_ms())"
    here = SystemClock().monotonic_ms()
    slept = subprocess.run(
        [*command, sys.executable, "-c", code],
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 0 <= int(slept.stdout) - here - 86_400_000 < 60_000
