"""Disk and memory by events, and memory by exported series, of a real ledger and its renderer.

    python tests/benchmarks/bench_sizing.py [--events 500000]

Events carry an id as providers give it, one of 500 users of 20 tenants, and three token
classes. The disk figure is the ledger's file after its log has been folded in.
"""

from __future__ import annotations

import argparse
import resource
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "exporter"))

from costmeter.ledger.booking import Booking
from costmeter.ledger.snapshot import SnapshotReader
from costmeter.ledger.store import Store, open_for_writing
from costmeter.ledger.terms import Terms
from costmeter.ledger.upkeep import start
from costmeter.model import MS_PER_DAY, Labels, Usage
from costmeter.pricing import load_price_book
from costmeter.tally import Tally
from fakes.clock import FakeClock

MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-5", "o3")
AT_ONCE = 1_000


def batches(events: int, tenants: int, clock: FakeClock) -> Iterator[list[Usage]]:
    """Calls of seven days, each sent as it happens."""
    began_ms = clock.now_ms()
    labels = [
        Labels(f"tenant-{t}", "llm_api", "inference", "openai", "", "", model, "prod", "search",
               "", "", "answers", "generation")
        for t in range(tenants) for model in MODELS
    ]  # fmt: skip
    for first in range(0, events, AT_ONCE):
        at_ms = began_ms + 7 * MS_PER_DAY * first // events
        clock.advance((at_ms - clock.now_ms()) / 1000 + 2)
        yield [
            Usage(
                f"p:openai:chatcmpl-{uuid.uuid4().hex[:29]}",
                at_ms + number,
                "http",
                labels[(first + number) % len(labels)],
                {"input": 1_200 + number, "cache_read": 300, "output": 150},
                latency_ms=812,
                user_id=f"user-{number % 500}",
                session_id=f"s-{first}-{number // 10}",
            )
            for number in range(AT_ONCE)
        ]


def filled(path: Path, events: int, tenants: int) -> tuple[Store, Booking]:
    store = open_for_writing(path)
    clock = FakeClock()
    booking = Booking(store, Terms(), load_price_book(), clock, Tally())
    start(booking, [])
    for number, batch in enumerate(batches(events, tenants, clock)):
        booking.transact(lambda batch=batch: booking.usages(batch), flush=number % 20 == 0)
    booking.transact(lambda: None)
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return store, booking


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=500_000)
    events: int = parser.parse_args().events
    print("$ python tests/benchmarks/bench_sizing.py", *sys.argv[1:])
    with tempfile.TemporaryDirectory() as name:
        for tenants in (20, 500):
            path = Path(name) / f"{tenants}.db"
            begun = time.perf_counter()
            store, _ = filled(path, events, tenants)
            size = path.stat().st_size
            snapshot = SnapshotReader(store.reader()).refresh()
            series = sum(len(c.labels) for chunks in snapshot.families.values() for c in chunks)
            cells = store.connection.execute("SELECT count(*) FROM cell").fetchone()[0]
            print(
                f"{events:,} events of {tenants} tenants: {size / 1e6:,.0f} MB, "
                f"{size / events:,.0f} bytes an event ({time.perf_counter() - begun:.0f} s); "
                f"{cells:,} cells, {series:,} exported series, {rss_mb():.0f} MB of memory"
            )
            for table, in_table in _tables(store):
                print(f"  {table:14} {in_table / events:6.1f} bytes an event")
            store.close()
            path.unlink()


def _tables(store: Store) -> list[tuple[str, int]]:
    """The largest tables with their indexes, by SQLite's own account; none without dbstat."""
    try:
        return store.connection.execute(
            "SELECT name, sum(pgsize) AS size FROM dbstat GROUP BY name ORDER BY size DESC LIMIT 4"
        ).fetchall()
    except sqlite3.OperationalError as error:  # not every build of SQLite has it
        print(f"  by table: {error}")
        return []


if __name__ == "__main__":
    main()
