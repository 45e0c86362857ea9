"""Durable, deduplicated, priced ingest on one core, beside what a good team writes.

    python tests/benchmarks/bench_ingest.py [--rounds 5] [--events 100000] [--prefill 0]

Each server runs on one core, the client on another where there is one. All get the same
bodies over HTTP on two connections, from an empty ledger on; rounds alternate between the
servers, medians are printed. `BATCH=20` in the environment sends bodies of 20 events instead
of 100.
`--prefill 10000000` first fills the ledger with that many events spread over seven days
(about ten minutes) and measures the rate before and after.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

BATCH = int(os.environ.get("BATCH", "100"))
CONNECTIONS = 2
MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-5", "o3")
_REQUEST = (
    b"POST /api/v1/usage HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
)
_LENGTH = re.compile(rb"(?i)content-length: (\d+)")
_ACCEPTED = b'"accepted":%d,' % BATCH
HERE = Path(__file__).resolve().parent
EXPORTER = HERE.parents[1] / "exporter"


def bodies(events: int, seed: int) -> list[bytes]:
    """Bodies of `BATCH` events, as a gateway of twenty tenants would send them."""
    rng = random.Random(seed)
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return [
        json.dumps(
            [
                {
                    **owner(rng),
                    "request_id": uuid.UUID(int=rng.getrandbits(128)).hex,
                    "timestamp": stamp,
                    "provider": "openai",
                    "model": rng.choice(MODELS),
                    "team": "search",
                    "feature": "answers",
                    "latency_ms": rng.randrange(2_000),
                    "tokens": {
                        "input": rng.randrange(5_000),
                        "cache_read": rng.randrange(800),
                        "output": rng.randrange(900),
                    },
                }
                for _ in range(BATCH)
            ]
        ).encode()
        for _ in range(events // BATCH)
    ]


def owner(rng: random.Random) -> dict[str, str]:
    """One of twenty tenants, and one of its twenty-five users."""
    tenant = rng.randrange(20)
    return {"tenant_id": f"tenant-{tenant}", "user_id": f"user-{tenant}-{rng.randrange(25)}"}


@contextmanager
def server(command: Sequence[str], environment: dict[str, str], port: int) -> Iterator[int]:
    """A server on one core; its process id once it is ready."""
    process = subprocess.Popen(
        [*_pinned(0), *command],
        env={**os.environ, "PYTHONPATH": str(EXPORTER), **environment},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(400):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/-/ready")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                time.sleep(0.05)
        else:
            raise SystemExit(f"{command} did not become ready")
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def drive(port: int, sent: Sequence[bytes]) -> tuple[float, list[float]]:
    """Events a second, and the seconds each body took."""
    # The client shall cost little, so requests are made before and answers are not decoded.
    requests = [_REQUEST % (len(body), body) for body in sent]
    shares = [requests[number::CONNECTIONS] for number in range(CONNECTIONS)]
    latencies: list[float] = []
    failures: list[object] = []

    def run(share: Sequence[bytes]) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for body in share:
                started = time.perf_counter()
                connection.sendall(body)
                answer = _answer(connection)
                latencies.append(time.perf_counter() - started)
                if not answer.startswith(b"HTTP/1.1 200") or _ACCEPTED not in answer:
                    failures.append(answer)
                    return

    started = time.perf_counter()
    threads = [threading.Thread(target=run, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"an event was not taken: {failures[0]}")
    return len(sent) * BATCH / (time.perf_counter() - started), latencies


def _answer(connection: socket.socket) -> bytes:
    """A whole answer with its head; answers have a length and are small."""
    received = b""
    while True:
        piece = connection.recv(65_536)
        if not piece:
            return received
        received += piece
        head, found, body = received.partition(b"\r\n\r\n")
        if found and len(body) >= int(_LENGTH.search(head)[1]):
            return received


def ours(folder: Path, port: int, ledger: Path) -> tuple[list[str], dict[str, str]]:
    command = [sys.executable, "-m", "costmeter", "serve", "--ledger.path", str(ledger)]
    return (
        [*command, "--web.listen-address", f"127.0.0.1:{port}", "--log.level", "error"],
        {"COSTMETER_GPU_ENABLED": "false", "HOME": str(folder)},
    )


def peer(folder: Path, port: int, *, priced: bool) -> tuple[list[str], dict[str, str]]:
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), "peer_ingest:app"]
    return (
        [*command, "--port", str(port), "--log-level", "error", "--no-access-log"],
        {"PEER_DB": str(folder / "peer.db"), "PEER_PRICES": "1" if priced else "0"},
    )


def compare(rounds: int, events: int) -> None:
    rates: dict[str, list[float]] = {}
    latencies: list[float] = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            folder, port = Path(name), _free_port()
            commands = {
                "costmeter": ours(folder, port, folder / "ledger.db"),
                "peer": peer(folder, port, priced=False),
                "peer with genai-prices": peer(folder, port, priced=True),
            }
            for label, (command, environment) in commands.items():
                (folder / "peer.db").unlink(missing_ok=True)
                with server(command, environment, port):
                    drive(port, bodies(10 * BATCH, seed=10_000))
                    rate, taken = drive(port, bodies(events, seed=number))
                rates.setdefault(label, []).append(rate)
                if label == "costmeter":
                    latencies += taken
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)
    medians = {label: statistics.median(found) for label, found in rates.items()}
    for label, rate in medians.items():
        ratio = statistics.median(
            mine / other for mine, other in zip(rates["costmeter"], rates[label], strict=True)
        )
        print(f"{label:24} {rate:10,.0f} events/s   costmeter is {ratio:5.1f}x")
    latencies.sort()
    for share in (50, 99):
        at = latencies[len(latencies) * share // 100]
        print(f"p{share} of {BATCH} events at {CONNECTIONS} connections: {at * 1e3:.1f} ms")


def prefilled(count: int, events: int, rounds: int) -> None:
    """The rate on an empty ledger and on one that holds `count` events of seven days."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), _free_port()
        results = {}
        for label, ledger in (("empty", folder / "empty.db"), ("full", folder / "full.db")):
            if label == "full":
                fill(ledger, count)
            command, environment = ours(folder, port, ledger)
            with server(command, environment, port):
                drive(port, bodies(10 * BATCH, seed=10_000))
                results[label] = statistics.median(
                    drive(port, bodies(events, seed=number))[0] for number in range(rounds)
                )
            print(f"{label:6} {results[label]:10,.0f} events/s")
        print(f"with {count:,} events: {results['full'] / results['empty']:.0%} of the empty rate")


def fill(ledger: Path, count: int) -> None:
    """Book events straight into the ledger, spread over the last seven days."""
    sys.path.insert(0, str(EXPORTER))
    from costmeter.clock import SystemClock
    from costmeter.ledger.booking import Booking
    from costmeter.ledger.store import open_for_writing
    from costmeter.ledger.terms import Terms
    from costmeter.ledger.upkeep import start
    from costmeter.model import MS_PER_DAY, Labels, Usage
    from costmeter.pricing import load_price_book
    from costmeter.tally import Tally

    store = open_for_writing(ledger)
    booking = Booking(store, Terms(), load_price_book(), SystemClock(), Tally())
    start(booking, [])
    now_ms = SystemClock().now_ms()
    labels = [
        Labels(f"tenant-{t}", "llm_api", "inference", "openai", "", "", model, "", "search", "", "",
               "answers", "generation")
        for t in range(20) for model in MODELS
    ]  # fmt: skip
    quantities = {"input": 1_200, "cache_read": 300, "output": 150}
    at_once = 5_000
    for first in range(0, count, at_once):
        day_ms = now_ms - (7 * MS_PER_DAY - 60_000) * (count - first) // count
        batch = [
            Usage(f"f:http:{uuid.uuid4().hex}", day_ms, "http", labels[number % 80], quantities)
            for number in range(at_once)
        ]
        booking.transact(lambda batch=batch: booking.usages(batch))
        if first % 500_000 == 0:
            print(f"{first:,} of {count:,} filled in", file=sys.stderr)
    store.close()


def _pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > 1 else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--prefill", type=int, default=0)
    arguments = parser.parse_args()
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    print("$ python tests/benchmarks/bench_ingest.py", *sys.argv[1:])
    if arguments.prefill:
        prefilled(arguments.prefill, arguments.events, arguments.rounds)
    else:
        compare(arguments.rounds, arguments.events)


if __name__ == "__main__":
    main()
