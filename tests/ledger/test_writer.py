"""The writing thread outlives whatever its callers do, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from costmeter.ledger.door import Busy, Unavailable, Verdict
from costmeter.ledger.logsync import LogSync
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


class Disk:
    """Stands for the disk under the log: slow while `free` is not set, failing by number."""

    def __init__(self, *failing: int) -> None:
        self.free, self.asked, self.failing = threading.Event(), 0, failing
        self.free.set()

    def sync(self, file: int) -> None:
        self.asked += 1
        assert self.free.wait(10)
        if self.asked in self.failing:
            raise OSError(errno.EIO, "Input/output error")
        os.fsync(file)


@pytest.fixture
def writer_on(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Disk], Writer]]:
    # However slow the machine is, no batch of events is turned into a flush, which waits itself.
    monkeypatch.setattr("costmeter.ledger.writer.LONGEST_UNFLUSHED_SECONDS", 1_000)
    writers: list[Writer] = []

    def make(disk: Disk) -> Writer:
        log = LogSync(ledger.booking.store.path, disk.sync)
        writers.append(Writer(ledger.booking, ledger.tally, log=log))
        writers[-1].start()
        return writers[-1]

    yield make
    for writer in writers:
        writer.close()


def test_answers_wait_for_the_disk_and_the_next_batch_does_not(
    ledger: Ledger, writer_on: Callable[[Disk], Writer]
) -> None:
    disk, now = Disk(), ledger.clock.now_ms()
    writer = writer_on(disk)
    writer.submit([usage(1, now)]).result(10)
    disk.free.clear()
    before = disk.asked
    waiting = [writer.submit([usage(number, now)]) for number in (2, 2, 3)]
    while disk.asked == before:
        time.sleep(0.01)
    later = writer.submit([usage(4, now)])
    # Other work does not wait for the log: its transaction is on the disk when it ends.
    booked = "SELECT count(*) FROM usage_event"
    read = writer.run(lambda: ledger.booking.connection.execute(booked).fetchone()[0])
    assert read.result(10) == 4
    assert not any(future.done() for future in [*waiting, later])
    disk.free.set()
    assert later.result(10) == [Verdict.ACCEPTED]
    verdicts = [future.result(10) for future in waiting]
    assert verdicts == [[Verdict.ACCEPTED], [Verdict.DUPLICATE], [Verdict.ACCEPTED]]
    # One sync for all that had gathered behind the slow one.
    assert disk.asked <= before + 3


def test_a_log_that_cannot_be_synced_is_emptied_before_anything_is_answered(
    ledger: Ledger, writer_on: Callable[[Disk], Writer], tmp_path: Path
) -> None:
    disk, now = Disk(2, 3), ledger.clock.now_ms()
    writer = writer_on(disk)
    writer.submit([usage(1, now)]).result(10)
    with pytest.raises(Unavailable, match="refused a write"):
        writer.submit([usage(2, now)]).result(10)
    assert writer.problem is not None
    with pytest.raises(Unavailable, match="refused a write"):
        writer.submit([usage(3, now)]).result(10)
    assert writer.submit([usage(2, now), usage(3, now), usage(4, now)]).result(10) == [
        Verdict.DUPLICATE, Verdict.DUPLICATE, Verdict.ACCEPTED,
    ]  # fmt: skip
    assert writer.problem is None
    assert disk.asked == 4
    # Nobody trusts a log again whose sync failed once: its content went into the database first.
    alone = tmp_path / "alone.db"
    shutil.copy(ledger.booking.store.path, alone)
    with contextlib.closing(sqlite3.connect(alone)) as database:
        assert database.execute("SELECT count(*) FROM usage_event").fetchone() == (3,)
    assert ledger.tally.read()["costmeter_ledger_write_failures_total"] == {("other",): 2}
