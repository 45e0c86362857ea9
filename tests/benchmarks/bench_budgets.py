"""A million budgets: what a batch of postings costs, what looking at all of them costs.

    python tests/benchmarks/bench_budgets.py [--tenants 10000] [--each 100]

The budgets are made through the library in a real ledger, 100 a tenant: over the tenant, its
teams, models, features and pairs of them. Then come batches of 100 postings for random tenants.
Memory is this process's resident set. The peer is what a query a budget would cost, which is
how many an evaluation without running sums has to make; it is timed on a few and multiplied.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "exporter"))

from costmeter.engine.budget_watch import BudgetWatch
from costmeter.ledger.booking import Booking
from costmeter.ledger.budget_store import BudgetStore
from costmeter.ledger.history import budget_spend
from costmeter.ledger.store import open_for_writing
from costmeter.ledger.terms import Terms
from costmeter.ledger.upkeep import moment_of, start
from costmeter.model import MS_PER_HOUR, NANO_PER_USD, Budget, Labels
from costmeter.pricing import load_price_book
from costmeter.pricing.exchange import Exchange
from costmeter.tally import Tally
from fakes.clock import FakeClock

TEAMS, MODELS, FEATURES = 9, 10, 10


def budgets_of(tenant: str, each: int) -> list[Budget]:
    """The tenant's own, then by team, model and feature, then by team and model."""
    shapes: list[dict[str, str]] = [{}]
    shapes += [{"team": f"team{n}"} for n in range(TEAMS)]
    shapes += [{"model": f"model{n}"} for n in range(MODELS)]
    shapes += [{"feature": f"feature{n}"} for n in range(FEATURES)]
    shapes += [
        {"team": f"team{a}", "model": f"model{b}"} for a in range(TEAMS) for b in range(MODELS)
    ]
    periods = ("month", "day", "week", "quarter")
    return [
        Budget(
            f"{tenant}-{n}",
            100 * NANO_PER_USD,
            tuple(sorted({"tenant_id": tenant, **shape}.items())),
            periods[n % len(periods)],
        )
        for n, shape in enumerate(shapes[:each])
    ]


def labels_of(dice: random.Random, tenants: int) -> Labels:
    return Labels(
        f"tenant{dice.randrange(tenants)}", "llm_api", "inference", "openai", "", "",
        f"model{dice.randrange(MODELS)}", "prod", f"team{dice.randrange(TEAMS)}", "", "",
        f"feature{dice.randrange(FEATURES)}", "generation",
    )  # fmt: skip


def resident_mib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    return 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--batches", type=int, default=300)
    asked = parser.parse_args()
    number = asked.tenants * asked.each
    print(f"command: python tests/benchmarks/bench_budgets.py "
          f"--tenants {asked.tenants} --each {asked.each}")  # fmt: skip
    clock = FakeClock()
    with tempfile.TemporaryDirectory() as folder:
        store = open_for_writing(Path(folder) / "ledger.db")
        booking = Booking(store, Terms(birth_hold_ms=0), load_price_book([]), clock, Tally())
        start(booking, [])
        definitions = BudgetStore(booking.connection, booking.budgets)
        base = resident_mib()
        began = time.perf_counter()
        for first in range(0, asked.tenants, 50):
            part = [
                budget
                for tenant in range(first, min(first + 50, asked.tenants))
                for budget in budgets_of(f"tenant{tenant}", asked.each)
            ]
            booking.transact(lambda part=part: definitions.create(part, moment_of(booking)))
        print(f"{number:,} budgets made in {time.perf_counter() - began:.1f} s")
        booked = resident_mib()
        reader = store.reader()
        watch = BudgetWatch(reader, Exchange)
        dice = random.Random(1)
        # Some past, so that there is something to add up.
        history(booking, dice, asked.tenants, clock)
        began, used = time.perf_counter(), time.process_time()
        watch.refresh(clock.now_ms())
        print(f"read whole and evaluated, as at a start: {time.perf_counter() - began:.1f} s "
              f"({time.process_time() - used:.1f} s of CPU), "
              f"{resident_mib() - booked} MiB (the ledger: {booked - base} MiB)")  # fmt: skip
        began, used = time.perf_counter(), time.process_time()
        watch.board.judge(list(watch.board.numbers()), clock.now_ms())
        print(f"evaluated in full again: {time.perf_counter() - began:.2f} s "
              f"({time.process_time() - used:.2f} s of CPU)")  # fmt: skip
        began = time.perf_counter()
        shown = watch.statuses(watch.exported())
        print(f"the {len(shown):,} exported ones found and stated: "
              f"{time.perf_counter() - began:.2f} s")  # fmt: skip
        batches(booking, watch, dice, clock, asked)
        began = time.perf_counter()
        for n in range(500):
            name = f"tenant{dice.randrange(asked.tenants)}-{n % asked.each}"
            budget_spend(reader, name, 0, 1 << 62, clock.now_ms() - 7 * 24 * MS_PER_HOUR)
        took = (time.perf_counter() - began) / 500 * number
        print(f"peer: one query a budget, {number:,} of them: {took:.0f} s")
        reader.close()
        store.close()


def history(booking: Booking, dice: random.Random, tenants: int, clock: FakeClock) -> None:
    hour = clock.now_ms() - clock.now_ms() % MS_PER_HOUR
    book = booking.budgets
    for back in range(48, 0, -1):

        def work(back: int = back) -> None:
            for _ in range(2_000):
                book.book(labels_of(dice, tenants), hour - back * MS_PER_HOUR, 10**7)

        booking.transact(work)


def batches(
    booking: Booking,
    watch: BudgetWatch,
    dice: random.Random,
    clock: FakeClock,
    asked: argparse.Namespace,
) -> None:
    """The update of running sums alone, then with finding budgets, writing and reading them."""
    book, board = booking.budgets, watch.board
    hour = clock.now_ms() - clock.now_ms() % MS_PER_HOUR
    updates, wholes, used, touched, judged = [], [], [], 0, 0
    for _ in range(asked.batches):
        postings = [(labels_of(dice, asked.tenants), dice.randrange(10**6)) for _ in range(100)]
        began, cpu = time.perf_counter(), time.process_time()

        def work(postings: list[tuple[Labels, int]] = postings) -> None:
            for labels, net in postings:
                book.book(labels, hour, net)

        booking.transact(work)
        watch.refresh(clock.now_ms())
        wholes.append(time.perf_counter() - began)
        used.append(time.process_time() - cpu)
        # The same postings again: their budgets are known now, as those of busy tenants are.
        began = time.process_time()
        for labels, net in postings:
            book.book(labels, hour, net)
        rows = [(number, at, net) for at, nets in book._hours.items()
                for number, net in nets.items()]  # fmt: skip
        board.add(rows, clock.now_ms())
        moved, board.touched = board.touched, set()
        board.judge(moved, clock.now_ms())
        updates.append(time.process_time() - began)
        touched += len(rows)
        judged += len(moved)
        for number, _, net in rows:
            board.add([(number, hour, -net)], clock.now_ms())
        book.forget()
        book._covering.clear()
    updates.sort()
    print(f"a batch of 100 postings touches {touched / asked.batches:.0f} budgets, and what it "
          f"changes can matter to {judged / asked.batches:.0f}: "
          f"{statistics.median(updates) * 1e3:.2f} ms of CPU to find, update and evaluate them "
          f"(a tenth of the batches {updates[len(updates) // 10] * 1e3:.2f}, nine tenths "
          f"{updates[len(updates) * 9 // 10] * 1e3:.2f})")  # fmt: skip
    print(f"with finding them for the first time, a durable commit, and reading them back: "
          f"{statistics.median(used) * 1e3:.1f} ms of CPU, "
          f"{statistics.median(wholes) * 1e3:.1f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
