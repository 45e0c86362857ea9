"""The real exporter away, slow, killed; the application forked, ended, killed.

Nothing blocks, nothing is booked twice, what was lost is counted, what was spooled arrives.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from costmeter import Meter
from fakes.exporter import Exporter, environment, free_port, wait_until
from sdk.balance import balanced, booked
from sdk.collector import BlackHole, Collector

MakeMeter = Callable[..., Meter]

#: A call that waited for the network would take the five seconds of its timeout. A machine
#: that is busy with other things stops any thread for a second or three now and then: what
#: is usual is judged by quantiles.
LONGEST_SECONDS = 4.0


def track(meter: Meter, events: int, pause: float = 0) -> float:
    """Track calls; the longest that one of them took, in seconds."""
    longest = 0.0
    for _ in range(events):
        began = time.perf_counter()
        meter.track(
            provider="openai", model="gpt-4o-mini", tokens={"input": 1200, "output": 150},
            tenant_id="acme", feature="answers",
        )  # fmt: skip
        longest = max(longest, time.perf_counter() - began)
        if pause:
            time.sleep(pause)
    return longest


def url(exporter: Exporter) -> str:
    return f"http://{exporter.address}"


def program(code: str, *arguments: object, seconds: float = 30) -> str:
    """An application of its own: what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, *map(str, arguments)],
        env=environment(), capture_output=True, text=True, timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_call_is_booked(exporter: Exporter, meter_for: MakeMeter) -> None:
    meter = meter_for(url(exporter))
    track(meter, 3)
    with meter.attributes(tenant_id="acme"):
        with meter.call(provider="openai") as call:
            call.record(
                {
                    "id": "chatcmpl-1", "model": "gpt-4o-mini-2024-07-18",
                    "usage": {"prompt_tokens": 10, "completion_tokens": 2},
                }
            )  # fmt: skip
        meter.track(provider="openai", model="gpt-4o-mini", tokens={}, response_id="chatcmpl-1")
    assert meter.flush(10)
    stats = meter.stats
    assert (stats.accepted, stats.duplicate, stats.lost) == (4, 1, 0)
    assert booked(exporter) == 4


def test_the_server_away_and_back(exporter: Exporter, meter_for: MakeMeter) -> None:
    meter = meter_for(url(exporter))
    track(meter, 100)
    assert meter.flush(10)
    exporter.terminate()
    longest = track(meter, 500, pause=0.0005)
    assert not meter.flush(0.2)
    exporter.start()
    assert meter.flush(15)
    assert longest < LONGEST_SECONDS
    assert (meter.stats.accepted, meter.stats.lost) == (600, 0)
    assert booked(exporter) == 600


@pytest.mark.slow
def test_killed_in_the_middle_again_and_again(exporter: Exporter, meter_for: MakeMeter) -> None:
    """Answers get lost after their commit; the repeats are recognised."""
    meter = meter_for(url(exporter))
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            track(meter, 20)
            time.sleep(0.005)

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(3):
        time.sleep(0.5)
        exporter.kill9()
        exporter.start()
    stop.set()
    thread.join()
    assert meter.flush(30)
    stats = meter.stats
    assert balanced(stats)
    assert stats.tracked == stats.accepted + stats.duplicate + stats.lost
    assert booked(exporter) == stats.tracked - stats.lost
    assert stats.lost == stats.dropped.get("queue_full", 0)
    assert stats.tracked > 1000


def test_a_repeat_after_a_lost_answer_is_booked_once(
    exporter: Exporter, meter_for: MakeMeter
) -> None:
    """A server between that passes bodies on and then drops the connection."""
    lost = [True, True, False]

    def forward_and_forget(sent: object) -> None:
        exporter.send(sent.events)  # type: ignore[attr-defined]
        if lost.pop(0):
            raise ConnectionResetError

    with Collector(forward_and_forget) as between:
        meter = meter_for(between.url)
        track(meter, 50)
        assert meter.flush(10)
        assert len(between.sent) == 3
    assert booked(exporter) == 50


@pytest.mark.parametrize("spooling", [False, True])
def test_a_server_that_takes_but_never_answers(
    tmp_path: Path, meter_for: MakeMeter, *, spooling: bool
) -> None:
    with BlackHole() as hole:
        meter = meter_for(hole.url, spool=tmp_path if spooling else None, queue_events=1000)
        longest = track(meter, 5000, pause=0.0002)
        assert longest < LONGEST_SECONDS
        began = time.monotonic()
        meter.close(0.5)
        assert time.monotonic() - began < 2
    stats = meter.stats
    assert balanced(stats)
    if spooling:
        assert (stats.spooled, stats.lost) == (5000, 0)
    else:
        assert stats.lost == 5000
        assert set(stats.dropped) == {"queue_full", "exit"}


KILLED = """
import sys, time
from costmeter import Meter
url, spool = sys.argv[1:]
meter = Meter(url, spool=spool, linger_seconds=0.01, max_backoff_seconds=0.1)
number = 0
while True:
    for _ in range(10):
        meter.track(provider="openai", model="gpt-4o-mini", tokens={"input": 1})
        number += 1
    time.sleep(0.002)
    if number % 500 == 0:
        print(number, meter.stats.spooled + meter.stats.accepted, flush=True)
"""


def test_a_killed_application_is_delivered_once_from_the_disk(
    exporter: Exporter, meter_for: MakeMeter, tmp_path: Path
) -> None:
    exporter.terminate()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, url(exporter), str(tmp_path / "spool")],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    safe = 0
    while safe < 1500:
        safe = int(process.stdout.readline().split()[1])
    exporter.start()  # it is back, and some of the spool is on its way
    wait_until(lambda: booked(exporter) > 200, 10, "a part was delivered")
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    before = booked(exporter)
    meter = meter_for(url(exporter), spool=tmp_path / "spool")
    assert meter.flush(20)
    stats = meter.stats
    assert stats.adopted == stats.accepted + stats.duplicate + stats.lost
    assert stats.lost <= 1  # the line that the kill tore
    assert booked(exporter) == before + stats.accepted >= safe
    meter.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_fork_sends_each_event_once(exporter: Exporter) -> None:
    code = """
import os, sys
from costmeter import Meter
meter = Meter(sys.argv[1], linger_seconds=0.5)
def track(name, events):
    for number in range(events):
        meter.track(provider="x", model="m", tokens={"input": 1}, feature=name)
track("parent", 300)
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        assert meter.stats.tracked == 0
        track("child", 50)
        assert meter.flush(10) and meter.stats.accepted == 50, meter.stats
        os._exit(0)
    children.append(child)
track("parent", 200)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
assert meter.flush(10) and meter.stats.accepted == 500, meter.stats
"""
    program(code, url(exporter))
    assert booked(exporter) == 650


@pytest.mark.parametrize("way", ["fork", "spawn", "forkserver"])
def test_workers_of_multiprocessing_deliver_at_their_end(exporter: Exporter, way: str) -> None:
    code = """
import multiprocessing, sys
from costmeter import Meter
METER = None
def work(url):
    meter = METER or Meter(url)
    for _ in range(40):
        meter.track(provider="x", model="m", tokens={"input": 1})
if __name__ == "__main__":
    METER = Meter(sys.argv[1])
    METER.track(provider="x", model="m", tokens={"input": 1})
    context = multiprocessing.get_context(sys.argv[2])
    workers = [context.Process(target=work, args=(sys.argv[1],)) for _ in range(2)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
"""
    script = exporter.folder / "workers.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", script, url(exporter), way],
        env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert booked(exporter) == 81


def test_a_fork_while_all_threads_work(exporter: Exporter) -> None:
    code = """
import os, sys, threading, time
from costmeter import Meter
meter = Meter(sys.argv[1], linger_seconds=0.01, spool=sys.argv[2])
stop = threading.Event()
def work():
    while not stop.is_set():
        meter.track(provider="x", model="m", tokens={"input": 1})
        time.sleep(0.0005)
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
for _ in range(15):
    time.sleep(0.02)
    child = os.fork()
    if child == 0:
        meter.track(provider="x", model="m", tokens={"input": 1})
        os._exit(0 if meter.close(10) and meter.stats.accepted == 1 else 7)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
[thread.join() for thread in threads]
assert meter.close(10), meter.stats
print(meter.stats.accepted + 15)
"""
    told = program(code, url(exporter), exporter.folder / "spool", seconds=60)
    assert booked(exporter) == int(told)


@pytest.mark.parametrize(
    "end", ["", "sys.exit(3)", "raise KeyboardInterrupt", "1 / 0"], ids=lambda end: end or "plain"
)
def test_the_end_of_a_program_delivers(exporter: Exporter, end: str) -> None:
    code = f"""
import sys
from costmeter import Meter
meter = Meter(sys.argv[1], linger_seconds=30)
for _ in range(25):
    meter.track(provider="x", model="m", tokens={{"input": 1}})
{end}
"""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", code, url(exporter)], env=environment(), capture_output=True,
        timeout=30,
    )  # fmt: skip
    assert time.monotonic() - began < 10
    assert booked(exporter) == 25


def test_the_end_of_a_program_is_bounded() -> None:
    code = """
import sys
from costmeter import Meter
meters = [Meter(sys.argv[1], exit_seconds=1) for _ in range(3)]
for meter in meters:
    meter.track(provider="x", model="m", tokens={"input": 1})
"""
    with BlackHole() as hole:
        began = time.monotonic()
        program(code, hole.url)
        assert time.monotonic() - began < 4


def test_event_loops_that_close(exporter: Exporter, meter_for: MakeMeter) -> None:
    meter = meter_for(url(exporter))

    async def handler() -> None:
        async with meter.call(provider="x", model="m") as call:
            await asyncio.sleep(0)
            call.count(tokens={"input": 1})

    async def several() -> None:
        await asyncio.gather(*(handler() for _ in range(10)))

    for _ in range(5):
        asyncio.run(several())
    loop = asyncio.new_event_loop()
    task = loop.create_task(handler())
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    assert meter.flush(10)
    assert meter.stats.accepted == 51
    assert booked(exporter) == 51


def test_tracking_from_a_signal_handler(exporter: Exporter) -> None:
    code = """
import os, signal, sys
from costmeter import Meter
meter = Meter(sys.argv[1], linger_seconds=0.001)
def handler(*_):
    meter.track(provider="x", model="m", tokens={"input": 1})
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
for _ in range(3000):
    meter.track(provider="x", model="m", tokens={"input": 1})
    meter.stats
signal.setitimer(signal.ITIMER_REAL, 0)
assert meter.flush(10)
print(meter.stats.accepted)
"""
    told = int(program(code, url(exporter)))
    assert told > 3000
    assert booked(exporter) == told


def flood(meter: Meter, seconds: float, rate: int = 10_000) -> tuple[int, list[float]]:
    """Track at a steady rate; how many, and the duration of each call, sorted."""
    events, durations = int(rate * seconds), []
    began = time.perf_counter()
    for number in range(events):
        if number % 100 == 0:
            ahead = began + number / rate - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
        before = time.perf_counter()
        meter.track(provider="openai", model="gpt-4o-mini", tokens={"input": 1200, "output": 150})
        durations.append(time.perf_counter() - before)
    return events, sorted(durations)


def flooded(exporter: Exporter, meter: Meter, seconds: float) -> None:
    events, durations = flood(meter, seconds)
    assert meter.flush(60)
    stats = meter.stats
    assert balanced(stats)
    assert stats.tracked == events == stats.accepted + stats.duplicate + stats.lost
    assert booked(exporter) == stats.accepted + stats.duplicate
    assert stats.rejected == {}
    middle, rare, rarest = (durations[int(events * part)] for part in (0.5, 0.999, 0.9999))
    longest = durations[-1]
    print(
        f"median {middle * 1e6:.2f} us, p99.9 {rare * 1e3:.2f} ms, "
        f"p99.99 {rarest * 1e3:.1f} ms, longest {longest * 1e3:.1f} ms"
    )
    print(stats)
    assert middle < 30e-6
    assert rare < 0.05
    assert rarest < 0.5
    assert longest < LONGEST_SECONDS


def test_ten_thousand_a_second(exporter: Exporter, meter_for: MakeMeter) -> None:
    flooded(exporter, meter_for(url(exporter), linger_seconds=1.0), 2)


@pytest.mark.slow
def test_ten_thousand_a_second_for_a_minute(exporter: Exporter, meter_for: MakeMeter) -> None:
    flooded(exporter, meter_for(url(exporter), linger_seconds=1.0), 60)


@pytest.mark.slow
def test_a_flood_while_the_server_is_away(
    exporter: Exporter, meter_for: MakeMeter, tmp_path: Path
) -> None:
    exporter.terminate()
    meter = meter_for(url(exporter), spool=tmp_path / "spool", linger_seconds=1.0)
    events, durations = flood(meter, 10)
    wait_until(lambda: meter.stats.queued == 0, 20, "all on the disk")
    assert meter.stats.spooled == events
    exporter.start()
    assert meter.flush(60)
    assert (meter.stats.accepted, meter.stats.lost) == (events, 0)
    assert booked(exporter) == events
    assert durations[-1] < LONGEST_SECONDS


def test_an_address_that_does_not_exist(meter_for: MakeMeter) -> None:
    meter = meter_for(f"http://costmeter.invalid:{free_port()}")
    assert track(meter, 10) < LONGEST_SECONDS
    meter.close(0.5)
    assert meter.stats.dropped == {"exit": 10}


def test_a_machine_without_threads_delivers_at_the_end(exporter: Exporter) -> None:
    """A limit that no new thread fits into, as in a container that has used up its own."""
    code = """
import sys, threading
from costmeter import Meter
meter = Meter(sys.argv[1])
class None_(threading.Thread):
    def start(self):
        raise RuntimeError("can't start new thread")
threading.Thread = None_
for _ in range(30):
    meter.track(provider="x", model="m", tokens={"input": 1})
"""
    program(code, url(exporter))
    assert booked(exporter) == 30
