"""The writing thread outlives whatever its callers do, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from costmeter.ledger.door import Busy, Unavailable, Verdict
from costmeter.ledger.writer import LONGEST_UNFLUSHED_SECONDS, Writer
from faults.ledgers import Ledger, usage


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path) as opened:
        yield opened


def test_giving_up_does_not_end_the_thread(ledger: Ledger) -> None:
    writer, go = Writer(ledger.booking, ledger.tally, queue_events=2), threading.Event()
    writer.start()
    now = ledger.clock.now_ms()
    running = writer.run(lambda: go.wait(10))
    while not running.running():
        time.sleep(0.01)
    given_up = writer.submit([usage(1, now), usage(2, now)])
    assert given_up.cancel()
    assert not running.cancel()  # it has begun, and its commit is not taken back
    with pytest.raises(Busy):
        writer.submit([usage(3, now)])
    go.set()
    assert running.result(10)
    assert writer.submit([usage(1, now)]).result(10) == [Verdict.ACCEPTED]
    assert writer.queued_events == 0
    writer.close()
    with pytest.raises(Unavailable):
        writer.submit([usage(4, now)])


def test_what_is_queued_at_the_end_is_committed(ledger: Ledger) -> None:
    writer, go = Writer(ledger.booking, ledger.tally), threading.Event()
    writer.start()
    writer.run(lambda: go.wait(10))
    now = ledger.clock.now_ms()
    futures = [writer.submit([usage(number, now)]) for number in range(50)]
    closing = threading.Thread(target=writer.close)
    closing.start()
    go.set()
    closing.join(10)
    assert [future.result(0) for future in futures] == [[Verdict.ACCEPTED]] * 50
    assert ledger.total("llm_requests_total") == 50


def test_a_queue_that_never_empties_does_not_hold_totals_back(ledger: Ledger) -> None:
    writer = Writer(ledger.booking, ledger.tally)
    writer.start()
    now = ledger.clock.now_ms()
    writer.submit([usage(0, now)]).result(10)
    assert ledger.total("llm_requests_total") == 0
    time.sleep(LONGEST_UNFLUSHED_SECONDS + 0.1)  # no other work comes in the meantime
    writer.submit([usage(1, now)]).result(10)
    assert ledger.total("llm_requests_total") == 2
    writer.close()


def test_nobody_waits_for_a_thread_that_never_began(ledger: Ledger) -> None:
    writer = Writer(ledger.booking, ledger.tally)
    future = writer.submit([usage(1, ledger.clock.now_ms())])
    writer.close()
    with pytest.raises(Unavailable):
        future.result(0)
