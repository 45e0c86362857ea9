"""Events on the disk: bounded, shared, delivered by exactly one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from costmeter import Meter
from costmeter.sdk.counts import Books
from costmeter.sdk.event import Line
from costmeter.sdk.notices import Notices
from costmeter.sdk.spool import SEGMENT_BYTES, Spool
from fakes.exporter import environment, free_port, wait_until
from sdk.balance import balanced
from sdk.collector import Collector, in_turn, refused

MakeMeter = Callable[..., Meter]

NOW_MS = 1_795_341_600_000
DAY_MS = 86_400_000

#: Tracks events 0 to N-1 with the given spool and says so; then it waits to be killed.
APPLICATION = """
import sys, time
from costmeter import Meter
url, spool, name, events = sys.argv[1:]
meter = Meter(url, spool=spool, linger_seconds=0.01, max_backoff_seconds=0.1)
for number in range(int(events)):
    meter.track(provider="x", model="m", tokens={"input": 1}, request_id=f"{name}-{number}")
while meter.stats.spooled < int(events):
    time.sleep(0.01)
print("spooled", flush=True)
time.sleep(60)
"""


def line(number: int, at_ms: int = NOW_MS, size: int = 0) -> Line:
    event = {"timestamp": at_ms, "request_id": str(number), "pad": "x" * size}
    return Line(at_ms, json.dumps(event).encode())


def spool(folder: Path, most_bytes: int = 1 << 24) -> Spool:
    return Spool(folder, most_bytes, 7 * DAY_MS, Books(), Notices())


def ids(lines: object) -> list[int]:
    return [int(json.loads(found.json)["request_id"]) for found in lines]  # type: ignore[attr-defined]


def drain(disk: Spool) -> list[int]:
    found: list[int] = []
    while lines := disk.lease(7, NOW_MS):
        found += ids(lines)
        assert disk.done(len(lines))
    return found


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_first_in_first_out(tmp_path: Path) -> None:
    disk = spool(tmp_path / "spool")
    assert list(disk.append([line(n) for n in range(5)])) == []
    assert list(disk.append([line(n) for n in range(5, 20)])) == []
    assert disk.events == 20
    assert ids(disk.lease(3, NOW_MS)) == [0, 1, 2]
    assert ids(disk.lease(3, NOW_MS)) == [0, 1, 2]  # until they are settled
    disk.done(2)
    assert ids(disk.lease(3, NOW_MS)) == [2, 3, 4]
    disk.append([line(20)])
    assert drain(disk) == list(range(2, 21))
    assert disk.events == 0
    disk.close()
    assert files(tmp_path / "spool") == []


def test_what_is_left_is_adopted(tmp_path: Path) -> None:
    first = spool(tmp_path)
    first.append([line(n) for n in range(10)])
    first.lease(4, NOW_MS)
    first.done(4)
    first.close()
    books = Books()
    second = Spool(tmp_path, 1 << 24, 7 * DAY_MS, books, Notices())
    second.adopt()
    # From the segment's start: the server knows what it has booked.
    assert second.events == 10
    assert books.stats(0, 10).adopted == 10
    assert drain(second) == list(range(10))
    second.close()
    assert files(tmp_path) == []


def test_a_living_process_keeps_its_own(tmp_path: Path) -> None:
    living, other, third = spool(tmp_path), spool(tmp_path), spool(tmp_path)
    living.append([line(1)])
    other.adopt()
    assert other.events == 0
    living.close()
    other.adopt()
    third.adopt()
    assert (other.events, third.events) == (1, 0)
    other.close()
    third.adopt()
    assert third.events == 1
    assert drain(third) == [1]
    third.close()
    assert files(tmp_path) == []


def test_a_torn_last_line_costs_only_itself(tmp_path: Path) -> None:
    first = spool(tmp_path)
    first.append([line(n) for n in range(3)])
    first.close()
    (segment,) = tmp_path.glob("*.ndjson")
    with segment.open("ab") as file:
        file.write(line(3).json[:-9])
    books = Books()
    second = Spool(tmp_path, 1 << 24, 7 * DAY_MS, books, Notices())
    second.adopt()
    assert drain(second) == [0, 1, 2]
    stats = books.stats(0, second.events)
    assert (stats.adopted, stats.dropped, second.events) == (4, {"damaged": 1}, 0)


@pytest.mark.parametrize("damage", [b"\0" * 40 + b"\n", b"\xff\xfe\n", b"[1]\n", b'{"a":1}\n'])
def test_a_damaged_line_in_the_middle(tmp_path: Path, damage: bytes) -> None:
    lock, segment = tmp_path / "dead.lock", tmp_path / "dead-000001.ndjson"
    lock.touch()
    segment.write_bytes(line(1).json + b"\n" + damage + line(2).json + b"\n")
    books = Books()
    disk = Spool(tmp_path, 1 << 24, 7 * DAY_MS, books, Notices())
    disk.adopt()
    assert drain(disk) == [1, 2]
    assert books.stats(0, 0).dropped == {"damaged": 1}
    disk.close()
    assert files(tmp_path) == []


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "dead-000001.ndjson").write_bytes(line(1).json + b"\n")  # its lock is gone
    disk = spool(tmp_path)
    disk.adopt()
    assert drain(disk) == [1]
    disk.close()
    assert files(tmp_path) == ["notes.txt"]


def test_old_events_are_counted_and_left_out(tmp_path: Path) -> None:
    books = Books()
    disk = Spool(tmp_path, 1 << 24, 7 * DAY_MS, books, Notices())
    disk.append([line(1, NOW_MS - 7 * DAY_MS - 1), line(2, NOW_MS - 7 * DAY_MS), line(3)])
    assert drain(disk) == [2, 3]
    assert disk.events == 0
    assert books.stats(0, 0).dropped == {"too_old": 1}


def test_a_full_folder_keeps_the_oldest(tmp_path: Path) -> None:
    disk = spool(tmp_path, most_bytes=10_000)
    rest = disk.append([line(n, size=900) for n in range(20)])
    kept = 20 - len(rest)
    assert ids(rest) == list(range(kept, 20))
    assert 5 < kept < 11
    assert sum(path.stat().st_size for path in tmp_path.glob("*.ndjson")) <= 10_000
    other = spool(tmp_path, most_bytes=10_000)
    assert len(other.append([line(99, size=900)])) == 1  # the bound is the folder's
    assert drain(disk) == list(range(kept))
    time.sleep(1.05)
    assert list(other.append([line(99, size=900)])) == []


def test_segments_are_small_and_deleted_one_by_one(tmp_path: Path) -> None:
    disk = spool(tmp_path)
    for start in range(0, 3000, 500):
        disk.append([line(n, size=1000) for n in range(start, start + 500)])
    segments = sorted(tmp_path.glob("*.ndjson"))
    assert len(segments) >= 3
    assert all(path.stat().st_size < 2 * SEGMENT_BYTES for path in segments)
    while segments[0].exists():
        disk.done(len(disk.lease(500, NOW_MS)))
    assert 0 < disk.events < 3000
    assert all(path.exists() for path in segments[1:])


def test_others_on_the_machine_cannot_read_it(tmp_path: Path) -> None:
    disk = spool(tmp_path / "spool")
    disk.append([line(1)])
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "spool").iterdir())
    disk.close()


def test_a_folder_that_cannot_be_one(
    tmp_path: Path, meter_for: MakeMeter, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    meter = meter_for(f"http://127.0.0.1:{free_port()}", spool=tmp_path / "file" / "spool")
    for _ in range(3):
        meter.track(provider="x", model="m", tokens={})
    assert not meter.close(0.3)
    assert meter.stats.dropped == {"exit": 3}
    assert balanced(meter.stats)
    assert "cannot be used: Not a directory" in caplog.text


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """A limit on the size of files fails a write in its middle, as a full disk does."""
    code = (
        "import resource, signal, sys; from pathlib import Path;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from costmeter.sdk.spool import Spool; from costmeter.sdk.counts import Books;"
        "from costmeter.sdk.notices import Notices; from costmeter.sdk.event import Line;"
        "disk = Spool(Path(sys.argv[1]), 1 << 24, 1e12, Books(), Notices());"
        'lines = [Line(1, b\'{"timestamp":1,"n":%d}\' % (100 + n)) for n in range(100)];'
        "assert not disk.append(lines[:50]);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "assert disk.append(lines[50:]) == lines[50:];"
        "assert [l.json for l in disk.lease(99, 1)] == []"  # after a failure it rests
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be used: File too large" in done.stderr
    left = spool(tmp_path)
    left._max_age_ms = float("inf")
    left.adopt()
    assert len(left.lease(99, NOW_MS)) == 50 == left.events


def test_a_server_that_is_away_fills_the_disk_not_the_memory(
    collector: Collector, meter_for: MakeMeter, tmp_path: Path
) -> None:
    collector.script = lambda _: refused(503)
    meter = meter_for(collector.url, spool=tmp_path, queue_events=600)
    for number in range(2000):
        meter.track(provider="x", model="m", tokens={}, request_id=str(number))
        if number % 50 == 0:
            time.sleep(0.01)
    wait_until(lambda: meter.stats.spooled == 2000, 10, "all on the disk")
    assert (meter.stats.queued, meter.stats.lost) == (0, 0)
    collector.script = None
    collector.sent.clear()
    assert meter.flush(20)
    assert sorted(int(e["request_id"]) for e in collector.events) == list(range(2000))
    assert (meter.stats.accepted, meter.stats.spooled) == (2000, 0)
    assert balanced(meter.stats)


def test_a_slow_server_and_a_disk_lose_nothing(
    collector: Collector, meter_for: MakeMeter, tmp_path: Path
) -> None:
    collector.gate.clear()  # requests hang
    meter = meter_for(collector.url, spool=tmp_path, queue_events=400, timeout_seconds=30)
    for _ in range(3000):
        meter.track(provider="x", model="m", tokens={})
        time.sleep(0.0001)
    wait_until(lambda: meter.stats.spooled > 2000, 10, "the rest on the disk")
    collector.gate.set()
    assert meter.flush(20)
    assert (meter.stats.accepted, meter.stats.lost) == (3000, 0)


def test_with_a_disk_a_wrong_token_costs_nothing(
    collector: Collector, meter_for: MakeMeter, tmp_path: Path
) -> None:
    collector.script = in_turn(*[refused(401)] * 6)
    meter = meter_for(collector.url, spool=tmp_path)
    for _ in range(5):
        meter.track(provider="x", model="m", tokens={})
    assert meter.flush(10)
    assert (meter.stats.accepted, meter.stats.lost) == (5, 0)


def test_the_end_of_a_program_leaves_the_rest_on_the_disk(
    collector: Collector, meter_for: MakeMeter, tmp_path: Path
) -> None:
    collector.gate.clear()
    meter = meter_for(collector.url, spool=tmp_path, timeout_seconds=30)
    for number in range(5):
        meter.track(provider="x", model="m", tokens={}, request_id=str(number))
    time.sleep(0.2)  # on its way, without an answer
    assert not meter.close(0.3)
    assert (meter.stats.spooled, meter.stats.lost, balanced(meter.stats)) == (5, 0, True)
    collector.gate.set()
    # Nothing is tracked: what lies there is reason enough to begin.
    after = meter_for(collector.url, spool=tmp_path)
    wait_until(lambda: after.stats.accepted == 5, 10, "delivered after a restart")
    assert after.stats.adopted == 5
    assert balanced(after.stats)
    times = {(e["request_id"], e["timestamp"]) for e in collector.events}
    assert len(times) == 5  # the same ids and times both times
    after.close()
    assert files(tmp_path) == []


def test_killed_applications_are_delivered_by_exactly_one(
    collector: Collector, meter_for: MakeMeter, tmp_path: Path
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    killed = [
        subprocess.Popen(
            [sys.executable, "-c", APPLICATION, nobody, str(tmp_path), name, "40"],
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        for name in ("a", "b", "c")
    ]  # fmt: skip
    for process in killed:
        assert process.stdout is not None
        assert process.stdout.readline() == b"spooled\n"
    living = killed.pop()
    for process in killed:
        process.send_signal(signal.SIGKILL)
        process.wait()
    meters = [meter_for(collector.url, spool=tmp_path) for _ in range(4)]
    wait_until(lambda: sum(m.stats.accepted for m in meters) == 80, 10, "two of three delivered")
    time.sleep(0.2)
    assert len(collector.events) == 80
    living.kill()
    living.wait()
    for process in (*killed, living):
        assert process.stdout is not None
        process.stdout.close()
    with Meter(collector.url, spool=tmp_path) as last:
        assert last.flush(10)
        assert last.stats.accepted == 40
    for meter in meters:
        meter.close()
    delivered = [event["request_id"] for event in collector.events]
    assert sorted(delivered) == sorted(f"{name}-{n}" for name in "abc" for n in range(40))
    assert files(tmp_path) == []


def test_a_forked_child_does_not_keep_its_parents_files(tmp_path: Path) -> None:
    disk = spool(tmp_path)
    disk.append([line(n) for n in range(3)])
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other tests' threads
        child = os.fork()
    if child == 0:
        disk.forget()
        os.write(writing, b"x")
        time.sleep(30)
        os._exit(0)
    try:
        os.read(reading, 1)
        assert disk.append([line(3)]) == []  # the parent still can
        disk.close()
        other = spool(tmp_path)
        other.adopt()  # though the child lives
        assert drain(other) == [0, 1, 2, 3]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


def test_an_end_without_time_puts_everything_on_the_disk(tmp_path: Path) -> None:
    meter = Meter("http://127.0.0.1:9", spool=tmp_path, linger_seconds=30)
    for _ in range(5_000):
        meter.track(provider="openai", model="m", tokens={"input": 1})
    assert not meter.close(0)
    assert (meter.stats.queued, meter.stats.spooled, meter.stats.lost) == (0, 5_000, 0)


def test_an_end_without_time_and_disk_counts_what_is_lost() -> None:
    meter = Meter("http://127.0.0.1:9", linger_seconds=30)
    for _ in range(5_000):
        meter.track(provider="openai", model="m", tokens={"input": 1})
    assert not meter.close(0)
    assert (meter.stats.queued, dict(meter.stats.dropped)) == (0, {"exit": 5_000})
