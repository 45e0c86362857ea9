"""A process with the real pynvml and a Sampler on a clock that the test moves.

It takes one JSON list a line, [command, argument], and answers with one JSON value.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from costmeter.gpu.meter import GpuMeter
from costmeter.gpu.sampler import Sampler
from costmeter.segment import Owner, Placement, segment_usages
from fakes.clock import FakeClock


class Remembering(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


def own_threads() -> list[str]:
    return sorted(t.name for t in threading.enumerate() if t.name.startswith("costmeter"))


def main() -> None:
    remembered = Remembering()
    logging.getLogger("costmeter.gpu").addHandler(remembered)
    logging.getLogger("costmeter.gpu").setLevel(logging.DEBUG)
    imported_early = "pynvml" in sys.modules
    clock = FakeClock()
    sampler = Sampler(clock, call_timeout_seconds=float(sys.argv[1]))
    meter = GpuMeter(clock, Placement(owner=Owner(tenant_id="acme")), run_id="run")
    sampler.subscribe(meter.observe)

    def tick(seconds: float = 1) -> object:
        clock.advance(seconds)
        sampler.tick()
        return state()

    def state(_: object = None) -> object:
        started = time.perf_counter()
        seen = sampler.state()
        took = time.perf_counter() - started
        if seen is None:
            return None
        return {
            "readings": {r.uuid: dataclasses.asdict(r) for r in seen.readings},
            "age": seen.age_seconds,
            "problem": seen.problem,
            "lost": dict(seen.lost),
            "xids": seen.xids,
            "took": took,
        }

    def log(_: object = None) -> object:
        lines, remembered.lines = remembered.lines, []
        return lines

    def usages(_: object = None) -> object:
        meter.close()
        return [
            usage._asdict() for segment in meter.drain() for usage in segment_usages(segment, "gpu")
        ]

    def run_for(seconds: float) -> object:
        sampler.start()
        time.sleep(seconds)
        sampler.stop()
        until = time.monotonic() + 5
        while (names := own_threads()) and time.monotonic() < until:
            time.sleep(0.01)
        return names

    def metrics(_: object) -> object:
        # Late: most tests do without, and it is half of the start.
        from prometheus_client import CollectorRegistry, generate_latest

        from costmeter.metrics.gpu import GpuCollector

        registry = CollectorRegistry()
        registry.register(GpuCollector(sampler.state, node="n1"))
        return generate_latest(registry).decode()

    def advance(seconds: float) -> object:
        clock.advance(seconds)
        return state()

    commands: dict[str, Callable[[Any], object]] = {
        "tick": tick,
        "state": state,
        "advance": advance,
        "log": log,
        "usages": usages,
        "run_for": run_for,
        "metrics": metrics,
        "imported": lambda _: [imported_early, "pynvml" in sys.modules],
        "sleep": time.sleep,
        "threads": lambda _: own_threads(),
    }
    for line in sys.stdin:
        name, argument = json.loads(line)
        answer = commands[name](argument)
        print(json.dumps(answer, default=sorted), flush=True)


if __name__ == "__main__":
    main()
