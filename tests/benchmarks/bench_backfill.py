"""A year of daily bills in 200 services, from the ledger to blocks of Prometheus' database.

    python tests/benchmarks/bench_backfill.py [--services 200] [--days 365] [--hours]

The ledger is filled by settling a bill of one final line a service and day. Then `costmeter
backfill` writes a file a block, and promtool makes each of them into a block. Every service
has series of its own. Times are of whole processes; memory is the largest of each. With `--hours`
also hour by hour, which a year of daily bills does not need.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "exporter"))

from costmeter.attribution import Scope
from costmeter.ledger.booking import Booking
from costmeter.ledger.settle.settlements import Settlements
from costmeter.ledger.store import open_for_writing
from costmeter.ledger.terms import Terms
from costmeter.ledger.upkeep import start
from costmeter.model import MS_PER_DAY, BillLine, Labels
from costmeter.pricing import load_price_book
from costmeter.tally import Tally
from fakes.clock import FakeClock

CATEGORIES = ("cpu_compute", "storage", "network", "managed_services", "data_processing")


def bill(day: int, services: int) -> list[BillLine]:
    lines = []
    for number in range(services):
        nano = 1_000_000_007 * (number + 1) + day % 7 * 123_456_789
        owner = Labels(
            f"tenant-{number % 20}", CATEGORIES[number % len(CATEGORIES)], "", "aws", "1234", "",
            f"service-{number}", "prod", "", "", f"service-{number}", "", "",
        )  # fmt: skip
        lines.append(
            BillLine("", day, f"{number}", 1, str(nano), "USD", nano, owner, maturity="final")
        )
    return lines


def filled(path: Path, services: int, days: int) -> int:
    """A ledger whose bills go back so many days; the end of the last one in ms."""
    store = open_for_writing(path)
    clock = FakeClock()
    scope = Scope("aws", provider="aws", detail_from="none", amount_from="bill")
    booking = Booking(store, Terms(scopes=(scope,)), load_price_book(), clock, Tally())
    start(booking, [])
    settlements = Settlements(booking)
    today = clock.now_ms() // MS_PER_DAY
    for day in range(today - days, today):
        lines = bill(day, services)
        booking.transact(lambda lines=lines: settlements.take(lines, None, source="bill"))
    booking.transact(lambda: None)
    store.close()
    return today * MS_PER_DAY


def run(*words: str) -> tuple[float, float]:
    """Seconds, and MB of memory at most."""
    begun = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{words[0]} failed: {said}")
    if "samples from" in said:
        print(f"  {said.splitlines()[-1]}")
    return time.perf_counter() - begun, usage.ru_maxrss / 1000


def measure(folder: Path, ledger: Path, until_ms: int, words: Sequence[str]) -> None:
    files, blocks = folder / "files", folder / "blocks"
    print(f"costmeter backfill {' '.join(words)}")
    until = datetime.fromtimestamp(until_ms / 1000, UTC).isoformat()
    wrote, wrote_mb = run(
        sys.executable, "-m", "costmeter", "backfill", "--ledger.path", str(ledger),
        "--until", until, "--output", f"{files}/", *words,
    )  # fmt: skip
    size = sum(file.stat().st_size for file in files.iterdir())
    made, made_mb = 0.0, 0.0
    for file in sorted(files.glob("*.om")):
        seconds, mb = run(
            "promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet",
            "--max-block-duration=744h", str(file), str(blocks),
        )  # fmt: skip
        made, made_mb = made + seconds, max(made_mb, mb)
    stored = sum(file.stat().st_size for file in blocks.rglob("*") if file.is_file())
    print(
        f"  wrote {size / 1e6:,.0f} MB of text in {wrote:.1f} s ({wrote_mb:.0f} MB of memory), "
        f"promtool made {stored / 1e6:.1f} MB of blocks in {made:.1f} s ({made_mb:.0f} MB); "
        f"together {wrote + made:.1f} s"
    )
    for place in (files, blocks):
        subprocess.run(["rm", "-r", str(place)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--hours", action="store_true")
    parsed = parser.parse_args()
    print("$ python tests/benchmarks/bench_backfill.py", *sys.argv[1:])
    with tempfile.TemporaryDirectory() as name:
        ledger = Path(name) / "ledger.db"
        begun = time.perf_counter()
        until_ms = filled(ledger, parsed.services, parsed.days)
        took = time.perf_counter() - begun
        print(f"{parsed.days} bills of {parsed.services} services ({took:.0f} s)")
        measure(Path(name), ledger, until_ms, ["--by", "day"])
        if parsed.hours:
            measure(Path(name), ledger, until_ms, ["--by", "hour", "--raw"])
            measure(Path(name), ledger, until_ms, ["--by", "hour"])


if __name__ == "__main__":
    main()
