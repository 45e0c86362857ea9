"""How fast the ledger books closed segments of GPUs.

    python tests/benchmarks/bench_segments.py [--agents 1000] [--minutes 10]

Books what so many agents with 8 GPUs each send: a segment a minute of every GPU, in two
shares (used and idle of one owner, or allocated to nobody), 1,000 records a transaction.
Beside it, as the measure of what the machine can do, as many plain calls to a model.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "exporter")]

from costmeter.model import Usage  # noqa: E402 - after the path
from costmeter.segment import Owner, Placement, Segment, Share, segment_usages  # noqa: E402
from fakes.clock import FakeClock  # noqa: E402
from faults.ledgers import HOUR, PRICES, Ledger, usage  # noqa: E402

GPUS = 8
BATCH = 1_000
GPU = "  - {provider: onprem, model: H100, source: test, usd_per_hour: {gpu: '2.99'}}\n"


def segments(agents: int, minutes: int, start_ms: int) -> Iterator[Segment]:
    places = [Placement("onprem", node=f"n{agent}") for agent in range(agents)]
    for minute in range(minutes):
        for agent, place in enumerate(places):
            owner = Owner(tenant_id=f"t{agent % 50}", team=f"team{agent % 7}")
            for gpu in range(GPUS):
                used = Share(owner, used_ms=20_000, idle_ms=25_000, energy_mj=9_000_000)
                shares = (used, Share(unallocated_ms=15_000, energy_mj=900_000))
                yield Segment(
                    f"r{agent}", minute * GPUS + gpu, start_ms + minute * 60_000, 60_000,
                    f"GPU-{agent}-{gpu}", "H100", place, shares,
                )  # fmt: skip


def calls(count: int, at_ms: int) -> list[Usage]:
    return [
        usage(number, at_ms, tokens=900 + number % 200, tenant_id=f"t{number % 50}")
        for number in range(count)
    ]


def booked(records: Sequence[Usage], name: str) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger(Path(folder), price_text=PRICES + GPU) as ledger,
    ):
        began, cpu = time.perf_counter(), time.process_time()
        rows = iter(records)
        number = 0
        while batch := list(islice(rows, BATCH)):
            # Totals go out about once a second, as in a running exporter.
            number += 1
            ledger.booking.transact(
                lambda batch=batch: ledger.booking.usages(batch), flush=number % 20 == 0
            )
        ledger.tick()
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
    count = len(records)
    print(
        f"{name}: {count:,} records in {took:.1f} s, {count / took:,.0f}/s, "
        f"{1e6 * cpu / count:.1f} us CPU each"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--agents", type=int, default=1_000)
    parser.add_argument("--minutes", type=int, default=10)
    asked = parser.parse_args()
    now_ms = FakeClock().now_ms()
    every = segments(asked.agents, asked.minutes, now_ms - HOUR)
    records = [one for segment in every for one in segment_usages(segment, "agent")]
    print(f"$ python {' '.join(sys.argv)}   (Python {sys.version.split()[0]})")
    booked(records, "segments of GPUs")
    booked(calls(len(records), now_ms), "calls to a model")


if __name__ == "__main__":
    main()
