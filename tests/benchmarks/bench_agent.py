"""What the agent costs its node: processor time, memory, its start, and its scrapes.

    python tests/benchmarks/bench_agent.py [--python PYTHON] [--gpus 8] [--seconds 20]

A real agent samples the stand-in driver once a second, in processes of its own. Its
processor time is shown beside the time that it spent in NVML's functions. The start is
timed from the process's creation to the first complete answer of /metrics.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fakes.nvml.build import H100, Machine, build_library, cut

PROJECT = Path(__file__).parents[2]
CPU = "costmeter_agent_cpu_seconds_total"
NVML = "costmeter_agent_nvml_seconds_total"
RSS = "costmeter_agent_resident_memory_bytes"
#: NVML's calls wait as well; here only the processor's time in them counts.
PROCESSOR_TIME = (
    "import sys, time; time.perf_counter = time.thread_time; "
    "from costmeter.cli import main; sys.exit(main(sys.argv[1:]))"
)
HEADERS = {"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--starts", type=int, default=11)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_library(folder / "driver")
        machine = Machine(
            folder / "scenario", [cut(dict(H100), index) for index in range(options.gpus)]
        )
        machine.write()
        bench = Bench(folder, options.python)
        starts = [bench.start() for _ in range(options.starts)]
        firsts, samples = zip(*starts, strict=True)
        print(f"python {options.python}, {options.gpus} GPUs x 7 MIG instances, 1 s")
        _say("start to first scrape", firsts, "ms", 1000)
        _say("start to first scrape with GPUs", samples, "ms", 1000)
        bench.steady(options.seconds)


def _say(what: str, values: tuple[float, ...], unit: str, scale: float) -> None:
    low, mid, high = min(values), statistics.median(values), max(values)
    print(f"{what}: {mid * scale:.0f} {unit} ({low * scale:.0f} to {high * scale:.0f})")


class Bench:
    def __init__(self, folder: Path, python: str) -> None:
        self._folder = folder
        self._python = python
        self._port = 0

    def _run(self, *, processor_time: bool = False) -> subprocess.Popen[bytes]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        environment = {
            **os.environ,
            "PYTHONPATH": str(PROJECT / "exporter"),
            "LD_LIBRARY_PATH": str(self._folder / "driver"),
            "FAKE_NVML_SCENARIO": str(self._folder / "scenario"),
            # Nobody listens there: the spool fills as it does while a server is away.
            "COSTMETER_FORWARD_URL": "http://127.0.0.1:9",
            "COSTMETER_GPU_OWNERS": "configured",
        }
        words = ["agent", "--web.listen-address", f"127.0.0.1:{self._port}"]
        call = ["-c", PROCESSOR_TIME, *words] if processor_time else ["-m", "costmeter", *words]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self._python, *call], cwd=self._folder, env=environment, stderr=log
            )

    def start(self) -> tuple[float, float]:
        """Seconds to the first page, and to the first one with GPUs."""
        began = time.perf_counter()
        process = self._run()
        first = 0.0
        try:
            while time.perf_counter() - began < 20:
                page = self._scrape()
                if page and not first:
                    first = time.perf_counter() - began
                if "gpu_power_watts{" in page:
                    return first, time.perf_counter() - began
                time.sleep(0.002)
            raise SystemExit((self._folder / "log").read_text())
        finally:
            process.terminate()
            process.wait(20)

    def steady(self, seconds: float) -> None:
        process = self._run(processor_time=True)
        try:
            time.sleep(5)
            before, began = self._values(), time.perf_counter()
            time.sleep(seconds)
            after, took = self._values(), time.perf_counter() - began
            cpu = (after[CPU] - before[CPU]) / took
            nvml = (after.get(NVML, 0) - before.get(NVML, 0)) / took
            print(
                f"processor: {100 * cpu:.2f} % of a core, in NVML's calls {100 * nvml:.2f} %,"
                f" the rest {100 * (cpu - nvml):.2f} %"
            )
            self._scrapes(300)
            print(f"resident memory: {self._values()[RSS] / 2**20:.1f} MiB")
        finally:
            process.terminate()
            process.wait(20)

    def _scrapes(self, rounds: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        times: list[float] = []
        size = 0
        for _ in range(rounds):
            began = time.perf_counter()
            connection.request("GET", "/metrics", headers=HEADERS)
            size = len(connection.getresponse().read())
            times.append(time.perf_counter() - began)
            time.sleep(0.01)
        connection.close()
        series = sum(not line.startswith("#") for line in self._scrape().splitlines())
        times.sort()
        print(
            f"scrape of {series} series, {size} bytes gzipped: p50 {times[rounds // 2] * 1e3:.1f}"
            f" ms, p99 {times[rounds * 99 // 100] * 1e3:.1f} ms"
        )

    def _scrape(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        except OSError:
            return ""
        finally:
            connection.close()

    def _values(self) -> dict[str, float]:
        rows = (line.rpartition(" ") for line in self._scrape().splitlines() if line[0] != "#")
        return {name: float(value) for name, _, value in rows if "{" not in name}


if __name__ == "__main__":
    main()
