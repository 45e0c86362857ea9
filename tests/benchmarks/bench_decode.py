"""Decode and validate: microseconds of one core an event, for bodies as senders shape them.

Run: python tests/benchmarks/bench_decode.py
The peer is plain `json.loads` of the same body, without any check.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "exporter"))

from costmeter.ingest.events import EventReader  # noqa: E402
from costmeter.ingest.inflate import gunzip  # noqa: E402
from costmeter.ingest.owner import Caller  # noqa: E402
from costmeter.ingest.window import Window  # noqa: E402

NOW_MS = 1_763_805_600_000
TENANTS, FEATURES = 20, 10


def event(number: int) -> dict[str, object]:
    """One call as a gateway reports it, every usual field filled."""
    return {
        "request_id": f"r-{number:012d}",
        "response_id": f"chatcmpl-{number:020d}",
        "timestamp": f"2025-11-22T09:{number % 60:02d}:{number % 59:02d}.{number % 1000:03d}Z",
        "provider": "openai",
        "account": "org-1",
        "region": "",
        "model": "gpt-4o-mini",
        "tenant_id": f"tenant-{number % TENANTS}",
        "environment": "prod",
        "team": "search",
        "project": "p1",
        "feature": f"feature-{number % FEATURES}",
        "user_id": f"u{number % 1000}",
        "session_id": f"s{number % 5000}",
        "operation": "generation",
        "status": "ok",
        "latency_ms": 812,
        "processing": "standard",
        "prompt_hash": None,
        "complexity": None,
        "tags": {},
        "tokens": {
            "input": 1200 + number % 100,
            "cache_read": 800,
            "cache_write_5m": 0,
            "cache_write_1h": 0,
            "output": 150,
            "reasoning": 0,
        },
        "units": {"web_searches": 1},
    }


def small_event(number: int) -> dict[str, object]:
    return {
        "request_id": f"r-{number:012d}",
        "timestamp": "2025-11-22T09:10:11Z",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "tokens": {"input": 1200, "output": 150},
    }


def microseconds(work: Callable[[], object], events: int, rounds: int = 15) -> float:
    """The best of several rounds: what the code costs when nothing disturbs it."""
    best = min(_seconds(work) for _ in range(rounds))
    return best / events * 1e6


def _seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main() -> None:
    caller = Caller("bench")
    print(f"{'body':<42}{'us/event':>10}{'json.loads':>12}")
    for name, make, count, spoil in (
        ("100 full events", event, 100, False),
        ("1,000 full events", event, 1000, False),
        ("10,000 full events", event, 10_000, False),
        ("1,000 small events", small_event, 1000, False),
        ("1,000 full events, one in ten bad", event, 1000, True),
    ):
        events = [make(number) for number in range(count)]
        if spoil:
            for bad in events[::10]:
                bad["latency_ms"] = "slow"
        body = json.dumps(events).encode()
        reader = EventReader(Window())
        batch = reader.read(body, caller, NOW_MS)
        assert len(batch.items) == (count - count // 10 if spoil else count)
        mine = microseconds(lambda: reader.read(body, caller, NOW_MS), count)  # noqa: B023
        peer = microseconds(lambda: json.loads(body), count)  # noqa: B023
        print(f"{name:<42}{mine:>10.2f}{peer:>12.2f}")
    body = json.dumps([event(number) for number in range(1000)]).encode()
    packed = gzip.compress(body)
    print(f"{'unpacking 1,000 full events':<42}", end="")
    print(f"{microseconds(lambda: b''.join(gunzip(packed, 1 << 25)), 1000):>10.2f}")


if __name__ == "__main__":
    main()
