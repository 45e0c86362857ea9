"""Segments on the disk: kills, torn lines, full and read-only disks, and the bound."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from costmeter.agent.spool import Spool
from costmeter.agent.spool_file import InUse, numbered, take_folder
from costmeter.tally import Tally
from fakes.clock import FakeClock

MOST = 1 << 20


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "spool"
        self.clock = FakeClock()
        self.tally = Tally()
        self.opened: list[Spool] = []

    def spool(self, most: int = MOST, **sizes: int) -> Spool:
        self.opened.append(Spool(self.folder, most, self.clock, self.tally, **sizes))
        return self.opened[-1]

    def dropped(self, reason: str) -> float:
        return self.tally.read()["costmeter_agent_segments_dropped_total"][reason,]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for spool in made.opened:
        spool.close()


def lines(first: int, last: int) -> list[bytes]:
    return [b'{"sequence":%d}' % number for number in range(first, last)]


def drained(spool: Spool, most: int = 3) -> list[bytes]:
    found: list[bytes] = []
    while leased := spool.lease(most, MOST):
        found += leased
        spool.done(len(leased))
    return found


def test_what_went_in_comes_out_in_order_and_leaves_nothing(bench: Bench) -> None:
    spool = bench.spool(file_bytes=100)
    for first in range(0, 20, 5):
        spool.append(lines(first, first + 5))
    assert spool.state().segments == 20
    assert drained(spool) == lines(0, 20)
    assert list(bench.folder.iterdir()) == []
    assert spool.state()[:3] == (0, 0, 0)


def test_a_lease_stays_until_it_is_settled(bench: Bench) -> None:
    spool = bench.spool()
    spool.append(lines(0, 5))
    assert spool.lease(2, MOST) == spool.lease(2, MOST) == lines(0, 2)
    spool.done(1)
    assert spool.lease(2, MOST) == lines(1, 3)
    assert spool.lease(9, 16) == lines(1, 2)  # at least one, whatever its size
    assert spool.state().segments == 4


def test_the_next_process_finds_what_the_last_one_left(bench: Bench) -> None:
    bench.spool().append(lines(0, 5))
    spool = bench.spool()
    spool.append(lines(5, 7))
    assert spool.state().segments == 7
    assert drained(spool) == lines(0, 7)


def test_a_torn_line_was_never_relied_on_and_a_damaged_one_is_counted(bench: Bench) -> None:
    bench.spool().append(lines(0, 5))
    ((_, path, size),) = numbered(bench.folder)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"sequence":1', b'"sequence":8', 1)[: size - 4])
    spool = bench.spool()
    assert drained(spool) == [*lines(0, 1), *lines(2, 4)]
    assert bench.dropped("damaged") == 1


def test_when_it_is_full_the_oldest_are_kept(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    one = len(lines(0, 1)[0]) + 10
    spool = bench.spool(most=5 * one)
    spool.append(lines(0, 4))
    spool.append(lines(4, 9))
    spool.append(lines(9, 9 + 1))
    assert bench.dropped("spool_full") == 5
    assert "the oldest GPU time is kept" in caplog.text
    assert drained(spool) == lines(0, 5)
    spool.append(lines(10, 12))
    assert drained(spool) == lines(10, 12)


def test_without_a_disk_it_waits_in_memory_and_goes_to_the_disk_later(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.folder.write_text("a file where the folder should be")
    spool = bench.spool(memory_bytes=200)
    spool.append(lines(0, 5))
    state = spool.state()
    assert (state.segments, state.in_memory, state.usable) == (5, 5, False)
    assert "GPU time waits in memory" in caplog.text
    spool.append(lines(5, 50))
    kept = spool.state().in_memory
    assert 5 < kept < 20
    assert bench.dropped("memory_full") == 50 - kept
    bench.folder.unlink()
    spool.flush()
    assert not spool.state().usable  # left alone for a while
    bench.clock.advance(10)
    spool.flush()
    assert spool.state().usable
    assert spool.state().in_memory == 0
    assert drained(bench.spool()) == lines(0, kept)


def test_what_waits_in_memory_is_sent_from_there(bench: Bench) -> None:
    bench.folder.write_text("a file where the folder should be")
    spool = bench.spool()
    spool.append(lines(0, 3))
    assert spool.lease(2, MOST) == lines(0, 2)
    spool.append(lines(3, 4))
    spool.done(2)
    assert drained(spool) == lines(2, 4)
    spool.append(lines(4, 6))
    assert spool.lease(1, MOST) == lines(4, 5)
    bench.folder.unlink()
    bench.clock.advance(10)
    spool.flush()
    assert spool.state().in_memory == 2  # the sender has it
    spool.release()
    spool.flush()
    assert spool.state().in_memory == 0
    assert drained(spool) == lines(4, 6)


def _fill(folder: Path, most: int, tell: multiprocessing.connection.Connection) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    clock, tally = FakeClock(), Tally()
    spool = Spool(folder, most, clock, tally)
    spool.append(lines(0, 3))
    spool.append(lines(3, 9))
    tell.send((spool.state().segments, spool.state().in_memory, spool.state().usable))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    tell.send(drained(spool))
    tell.close()
    os._exit(0)


def test_a_disk_that_ends_in_the_middle_of_a_line_hides_no_line(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_fill, args=(tmp_path / "spool", MOST, there))
    process.start()
    there.close()
    try:
        assert here.recv() == (9, 6, False)
        assert here.recv() == lines(0, 9)
    finally:
        here.close()
        process.join(20)
        process.close()


def test_one_agent_has_a_folder(tmp_path: Path) -> None:
    first = take_folder(tmp_path)
    try:
        with pytest.raises(InUse, match="one agent runs on a node"):
            take_folder(tmp_path)
    finally:
        os.close(first)
    os.close(take_folder(tmp_path))
