"""A fleet of agents sending to one server: nothing lost, what it costs the server.

    python tests/benchmarks/bench_agents.py [--agents 1000] [--seconds 30] [--every 10]

Each simulated agent stands for a node of eight GPUs and sends the closed segments of the
last `--every` seconds, each over a connection of its own as a real one does. A real
`costmeter serve` takes them; its processor time and the time to its acknowledgement are
measured, and the ledger is counted afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from costmeter.agent.transport import pack
from costmeter.agent.wire import body_of, segment_line
from costmeter.segment import Owner, Placement, Segment, Share

PROJECT = Path(__file__).parents[2]
GPUS = 8
HOUR = 3_600_000


class Fleet:
    def __init__(self, port: int, every: float) -> None:
        self.port = port
        self.every = every
        self.latencies: list[float] = []
        self.sent = self.accepted = self.retried = 0

    async def agent(self, number: int, until: float) -> None:
        sequence = 0
        await asyncio.sleep(random.uniform(0, self.every))
        while time.monotonic() < until:
            began = time.monotonic()
            sequence += 1
            body = pack(body_of(self._segments(number, sequence)))
            self.sent += GPUS
            while True:
                try:
                    answer = await self._post(body)
                    break
                except (OSError, ValueError, EOFError):
                    self.retried += 1
                    await asyncio.sleep(random.uniform(0.5, 1))
            self.accepted += answer["accepted"] + answer["duplicate"]
            self.latencies.append(time.monotonic() - began)
            await asyncio.sleep(max(0, self.every - (time.monotonic() - began)))

    def _segments(self, number: int, sequence: int) -> list[bytes]:
        length = round(1000 * self.every)
        # An hour that is over: the fleet's clock is not what is measured.
        start = (int(time.time() * 1000) // HOUR - 1) * HOUR + (sequence - 1) * length
        place = Placement(
            "aws", region="us-east-1", instance_type="p5.48xlarge", node=f"node-{number}"
        )
        owner = Owner(tenant_id=f"tenant-{number % 50}", namespace="ml", pod=f"train-{number}")
        return [
            segment_line(
                Segment(
                    f"run{number}", sequence, start, length, f"GPU-{number}-{gpu}",
                    "NVIDIA H100 80GB HBM3", place,
                    (Share(owner, used_ms=length // 2, idle_ms=length - length // 2,
                           energy_mj=700 * length),),
                )
            )
            for gpu in range(GPUS)
        ]  # fmt: skip

    async def _post(self, body: bytes) -> dict[str, int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(
                b"POST /api/v1/usage HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            answer = await reader.read()
        finally:
            writer.close()
        head, _, text = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError(head[:80])
        found: dict[str, int] = json.loads(text)
        return found


async def drive(fleet: Fleet, agents: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    await asyncio.gather(*(fleet.agent(number, until) for number in range(agents)))


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--every", type=float, default=10)
    options = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(PROJECT / "exporter")}
        server = subprocess.Popen(
            [sys.executable, "-m", "costmeter", "serve", "--web.listen-address",
             f"127.0.0.1:{port}", "--log.level", "error"],
            cwd=folder, env={**environment, "COSTMETER_GPU_ENABLED": "false"},
        )  # fmt: skip
        try:
            _wait(port)
            fleet = Fleet(port, options.every)
            before, began = cpu_seconds(server.pid), time.monotonic()
            asyncio.run(drive(fleet, options.agents, options.seconds))
            took, cpu = time.monotonic() - began, cpu_seconds(server.pid) - before
            resident = resident_mib(server.pid)
        finally:
            server.terminate()
            server.wait(30)
        ledger = sqlite3.connect(Path(folder) / "costmeter-data" / "ledger.db")
        booked = ledger.execute("SELECT count(*) FROM usage_event").fetchone()[0]
        ledger.close()
    report(options.agents, fleet, booked, took, cpu, resident)


def report(
    agents: int, fleet: Fleet, booked: int, took: float, cpu: float, resident: float
) -> None:
    lags = sorted(fleet.latencies)
    print(f"{agents} agents x {GPUS} GPUs, a body every {fleet.every:g} s, for {took:.0f} s")
    print(f"sent {fleet.sent}, acknowledged {fleet.accepted}, in the ledger {booked}")
    print(f"retried bodies: {fleet.retried}")
    print(
        f"acknowledged after p50 {lags[len(lags) // 2] * 1e3:.0f} ms, "
        f"p99 {lags[len(lags) * 99 // 100] * 1e3:.0f} ms, at most {lags[-1] * 1e3:.0f} ms"
    )
    print(f"server: {100 * cpu / took:.0f} % of a core, {resident:.0f} MiB resident")
    each = cpu / (fleet.sent / GPUS)
    print(
        f"a body of {GPUS} segments costs the server {each * 1e3:.2f} ms: 10,000 agents with "
        f"segments of 60 s are {10_000 / 60:.0f} bodies a second, "
        f"{100 * each * 10_000 / 60:.0f} % of a core"
    )
    if not fleet.sent == fleet.accepted == booked:
        raise SystemExit("something was lost or booked twice")


def _wait(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    main()
