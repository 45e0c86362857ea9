"""A FOCUS file of a month into the ledger, against only reading it with the same reader.

    python tests/benchmarks/bench_bills.py [--rows 1000000] [--csv]

Each part is a process of its own: the file is written (hourly rows of 40 services, 25 accounts
and 6 regions, tags as JSON), read by pyarrow (or csv) in the same batches and columns with
nothing made of the rows but Python values, and polled into an empty ledger that settles it.
Memory is the largest resident set of the process. The sums in the ledger must equal those that
were written, to the nano.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "exporter"))

FIRST = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp())
DAYS, HOUR = 31, 3_600
CHUNK = 50_000
COSTS = ("EffectiveCost", "BilledCost", "ListCost", "ContractedCost")


def write(path: Path, rows: int) -> dict[str, object]:
    """The file, and what it sums up to."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    chance = random.Random(4)
    money = pa.decimal128(24, 11)
    total, writer = 0, None
    for begin in range(0, rows, CHUNK):
        count = min(CHUNK, rows - begin)
        hours = [FIRST + chance.randrange(DAYS * 24) * HOUR for _ in range(count)]
        units = [chance.randrange(10**11) for _ in range(count)]
        total += sum(units)
        costs = [Decimal(unit).scaleb(-11) for unit in units]
        listed = [cost * 2 for cost in costs]
        services = [chance.randrange(40) for _ in range(count)]
        accounts = [chance.randrange(25) for _ in range(count)]
        stamp = pa.timestamp("us", "UTC")
        columns = {
            "BilledCost": pa.array(costs, money),
            "BillingAccountId": ["111122223333"] * count,
            "BillingCurrency": ["USD"] * count,
            "ChargeCategory": ["Usage"] * count,
            "ChargeClass": pa.nulls(count, pa.string()),
            "ChargeDescription": [f"usage {n}" for n in range(begin, begin + count)],
            "ChargeFrequency": ["Usage-Based"] * count,
            "ChargePeriodEnd": pa.array([(at + HOUR) * 1_000_000 for at in hours], stamp),
            "ChargePeriodStart": pa.array([at * 1_000_000 for at in hours], stamp),
            "ContractedCost": pa.array(listed, money),
            "EffectiveCost": pa.array(costs, money),
            "ListCost": pa.array(listed, money),
            "ProviderName": ["AWS"] * count,
            "RegionId": [f"us-east-{account % 6}" for account in accounts],
            "ResourceId": [f"arn:aws:x:{n % 70_001}" for n in range(begin, begin + count)],
            "ServiceCategory": ["Compute"] * count,
            "ServiceName": [f"Service {service}" for service in services],
            "SkuId": [f"SKU{service * 7}" for service in services],
            "SubAccountId": [f"{account:012d}" for account in accounts],
            "Tags": [json.dumps({"team": f"t{a % 5}", "n": str(s)}) for a, s in
                     zip(accounts, services, strict=True)],
        }  # fmt: skip
        table = pa.table(columns)
        if writer is None:
            makes = arrow_csv.CSVWriter if path.suffix == ".csv" else parquet.ParquetWriter
            writer = makes(str(path), table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return {"units": total}


def only_read(path: Path) -> dict[str, object]:
    """The same columns in the same batches, as Python values."""
    from costmeter.sources.contract import Settings
    from costmeter.sources.files.reading import shape_of
    from costmeter.sources.files.shapes import Whose
    from costmeter.sources.files.tables import Pick, tables
    from costmeter.sources.secret import Secret
    from costmeter.sources.tags import TagKeys

    whose = Whose(Settings("bill", Secret()), TagKeys(team="team"))
    began, count = time.perf_counter(), 0
    with tables(path, path.name) as held:
        for table in held:
            shape = shape_of(table.columns, path.name, ("focus",), whose)
            pick = Pick(shape.keys, shape.start, shape.end, shape.costs)
            for _ in table.rows(pick, lambda *_: None):
                count += 1
    return {"rows": count, "seconds": time.perf_counter() - began}


def into_ledger(path: Path, folder: Path) -> dict[str, object]:
    from costmeter.attribution import Scope
    from costmeter.engine.polling import Poller
    from costmeter.ledger.booking import Booking
    from costmeter.ledger.polled import Polled
    from costmeter.ledger.settle.settlements import Settlements
    from costmeter.ledger.store import open_for_writing
    from costmeter.ledger.terms import Terms
    from costmeter.ledger.upkeep import start
    from costmeter.ledger.writer import Writer
    from costmeter.pricing import load_price_book
    from costmeter.sources.contract import Settings
    from costmeter.sources.registry import make
    from costmeter.sources.secret import Secret
    from costmeter.tally import Tally
    from fakes.clock import FakeClock

    clock = FakeClock((FIRST + 50 * 24 * HOUR) * 1000)
    tally = Tally()
    scope = Scope("aws", provider="aws", detail_from="none", amount_from="bill")
    store = open_for_writing(folder / "ledger.db")
    booking = Booking(store, Terms(scopes=(scope,)), load_price_book(), clock, tally)
    start(booking, [])
    writer = Writer(booking, tally)
    writer.start()
    options = {"path": str(path), "team_tag": "team"}
    source = make("focus", Settings("bill", Secret(), options=options))
    poller = Poller(source, Polled(booking, Settlements(booking)), writer, clock, tally)
    began = time.perf_counter()
    said = poller.poll()
    took = time.perf_counter() - began
    began = time.perf_counter()
    again = poller.poll()
    idle = time.perf_counter() - began
    writer.close()
    query = "SELECT count(*), sum(usd_nano) FROM bill WHERE basis = 'effective'"
    lines, nano = store.connection.execute(query).fetchone()
    (net,) = store.connection.execute("SELECT sum(up - down) FROM day_cell").fetchone()
    return {
        "seconds": took, "said": said, "again": again, "idle": idle, "lines": lines,
        "nano": nano, "net": net,
    }  # fmt: skip


def part(*arguments: str) -> dict[str, object]:
    made = subprocess.run(
        [sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, object] = json.loads(made.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--csv", action="store_true")
    parser.add_argument("--part", nargs=2, metavar=("PART", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    name = "bill.csv" if arguments.csv else "bill.parquet"
    if arguments.part is not None:
        what, folder = arguments.part[0], Path(arguments.part[1])
        found = (
            write(folder / name, arguments.rows)
            if what == "write"
            else only_read(folder / name)
            if what == "read"
            else into_ledger(folder / name, folder)
        )
        found["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(found))
        return
    rows = arguments.rows
    with tempfile.TemporaryDirectory() as folder:
        more = ["--rows", str(rows), *(["--csv"] if arguments.csv else [])]
        written = part("--part", "write", folder, *more)
        size = (Path(folder, name)).stat().st_size / 1e6
        read = part("--part", "read", folder, *more)
        taken = part("--part", "ledger", folder, *more)
    seconds, base = float(str(taken["seconds"])), float(str(read["seconds"]))
    print(f"{' '.join(sys.argv)}: {rows:,} rows, {size:.0f} MB of {name.partition('.')[2]}")
    print(f"only read    {rows / base:10,.0f} rows/s  {base:6.1f} s  {read['rss_mb']:6.0f} MB")
    print(
        f"into ledger  {rows / seconds:10,.0f} rows/s  {seconds:6.1f} s  {taken['rss_mb']:6.0f} MB"
    )
    print(f"ratio {seconds / base:.2f}; {taken['said']}; {taken['lines']:,} lines of each basis")
    idle = float(str(taken["idle"])) * 1000
    print(f"polled again, nothing changed: {idle:.0f} ms ({taken['again']})")
    # Each line is rounded once, so the sum may be off by half a nano a line.
    exact = Decimal(str(written["units"])).scaleb(-11 + 9)
    off = abs(Decimal(str(taken["nano"])) - exact)
    print(f"written {exact:f} nano-USD, billed {taken['nano']}, in gauges {taken['net']}")
    if off > Decimal(str(taken["lines"])) / 2 or taken["net"] != taken["nano"]:
        sys.exit("the ledger does not hold what was written")


if __name__ == "__main__":
    main()
