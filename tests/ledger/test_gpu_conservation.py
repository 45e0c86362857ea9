"""Whatever comes in whatever order: the owners and states of a GPU's hour bear its price.

The expected amounts are computed here from plain sums, with fractions.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from costmeter.ledger.accrual import TOLERANCE_MS
from costmeter.ledger.door import Verdict
from costmeter.ledger.gpu_spend import gpu_spend
from costmeter.ledger.history import spend
from costmeter.ledger.verify import verify
from costmeter.model import GPU_ENERGY, GPU_TIME_CLASSES, Correction, Usage
from costmeter.segment import Owner, Placement, Segment, Share, segment_usages
from fakes.older_ledger import make_older
from faults.ledgers import DAY, HOUR, Ledger, prices

NODE = Placement("onprem", region="here", instance_type="box", node="n1")
SPOT = Placement("onprem", region="here", instance_type="box", node="n1", purchase="spot")
#: USD of a GPU-hour on demand and spot, and of a kWh; by purchase None where not priced.
Tariff = tuple[str, str | None, str | None]
TARIFFS: tuple[Tariff, ...] = (
    ("2.99", "1.01", "0.1234"),
    ("3.1", None, "0.31"),
    ("2.99", "0.7", None),
    ("0.0000017", "0.0000003", "0.0000009"),
    ("6.88", "1.999999999", "0.27"),
)


def price_text(tariff: Tariff) -> str:
    hour, spot, kwh = tariff
    own = f", own: {{usd_per_kwh: '{kwh}', pue: 1.5}}" if kwh else ""
    lines = [
        f"  - {{provider: onprem, model: H100, source: test, purchase: {purchase}, "
        f"usd_per_hour: {{gpu: '{usd}'}}{own}}}"
        for purchase, usd in (("on_demand", hour), ("spot", spot))
        if usd is not None
    ]
    return "\n".join(["prices:", *lines, ""])


def expected(tariff: Tariff, purchase: str, time_ms: int, energy_mj: int) -> int:
    """Time and energy of one rate in an hour, each rounded half to even once."""
    usd = tariff[0] if purchase == "on_demand" else tariff[1]
    assert usd is not None
    kwh = Fraction(tariff[2] or "0") * Fraction("1.5")
    return round(Fraction(usd) * 10**9 * time_ms / HOUR) + round(
        kwh * 10**9 * energy_mj / 3_600_000_000
    )


def random_segment(rng: random.Random, start_ms: int, duration_ms: int, number: int) -> Segment:
    """A stretch of a GPU with up to three owners in any states."""
    cuts = sorted(rng.randrange(duration_ms + 1) for _ in range(rng.randrange(6)))
    parts = [end - begin for begin, end in pairwise([0, *cuts, duration_ms])]
    shares = []
    for part in parts:
        state = rng.choice(("used_ms", "idle_ms", "unallocated_ms", "unobserved_ms", "mixed"))
        owner = Owner(tenant_id=rng.choice("ab"), team=rng.choice(("x", "y")))
        energy = rng.choice((None, 0, rng.randrange(part * 700 + 1)))
        if state == "mixed":
            used = rng.randrange(part + 1)
            shares.append(Share(owner, used_ms=used, idle_ms=part - used, energy_mj=energy))
        elif state in ("used_ms", "idle_ms"):
            shares.append(Share(owner, energy_mj=energy, **{state: part}))
        else:
            shares.append(Share(energy_mj=energy, **{state: part}))
    placement = rng.choice((NODE, NODE, SPOT))
    uuid = f"GPU-{rng.randrange(3)}"
    return Segment("run", number, start_ms, duration_ms, uuid, "H100", placement, tuple(shares))


def events_now(ledger: Ledger) -> Iterator[tuple[str, int, str, Mapping[str, int], int | None]]:
    """(resource, hour, purchase, quantities, nano) of every event as it stands."""
    yield from (
        (resource, at_ms - at_ms % HOUR, purchase, json.loads(text), nano)
        for resource, at_ms, purchase, text, nano in ledger.store.connection.execute(
            "SELECT e.resource, e.at_ms, d.operation, coalesce(c.quantities, e.quantities), "
            "iif(c.seq IS NULL, e.nano, c.nano) FROM usage_event AS e "
            "LEFT JOIN event_change AS c ON c.event = e.event AND c.seq = "
            "(SELECT max(seq) FROM event_change WHERE event = e.event) "
            "JOIN dim AS d ON d.dim = coalesce(c.dim, e.dim)"
        )
    )


def check(ledger: Ledger, tariff: Tariff) -> None:
    """Every hour is borne by its events to the nano, and the cells say the same by class."""
    held: dict[tuple[str, int], dict[str, list[int]]] = {}
    borne: dict[tuple[str, int], int] = defaultdict(int)
    pieces: dict[str, int] = defaultdict(int)
    for resource, hour, purchase, quantities, nano in events_now(ledger):
        assert nano is not None
        sums = held.setdefault((resource, hour), {}).setdefault(purchase, [0, 0])
        sums[0] += sum(quantities.get(name, 0) for name in GPU_TIME_CLASSES)
        sums[1] += quantities.get(GPU_ENERGY, 0)
        borne[resource, hour] += nano
        for name, amount in quantities.items():
            pieces[name] += amount
    whole = 0
    for key, by_purchase in held.items():
        priced = sum(expected(tariff, name, *sums) for name, sums in by_purchase.items())
        assert borne[key] == priced
        assert sum(sums[0] for sums in by_purchase.values()) <= HOUR + TOLERANCE_MS
        whole += priced
    (found,) = gpu_spend(ledger.store.connection, [])
    assert found.net == whole
    assert found.other == 0
    assert {name: count for name, count in found.pieces.items() if count} == {
        name: count for name, count in pieces.items() if count
    }
    by_owner = gpu_spend(ledger.store.connection, ["tenant_id", "team"])
    assert sum(one.net for one in by_owner) == whole
    if tariff[2] is None:
        assert found.nanos[GPU_ENERGY] == 0
    assert [one.net for one in spend(ledger.store.connection, [])] == [whole]


class _Crash(Exception):
    pass


@pytest.mark.parametrize("seed", range(6))
def test_random_histories_conserve_the_price_of_every_hour(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    tariff = TARIFFS[0]
    with Ledger(tmp_path, price_text=price_text(tariff)) as ledger:
        sent: list[Usage] = []
        for step in range(70):
            ledger.clock.advance(rng.choice((1, 60, 3_700)))
            now = ledger.clock.now_ms()
            action = rng.choice(("new", "new", "new", "again", "correct", "other", "late", "odd"))
            batch: list[Usage] = []
            if action in ("new", "late"):
                for part in range(rng.randrange(1, 5)):
                    back = rng.randrange(3 * DAY) if action == "late" else rng.randrange(HOUR)
                    duration = rng.randrange(1, 1_500_000)
                    start = now - back
                    start -= max(0, start % HOUR + duration - HOUR)
                    segment = random_segment(rng, start, duration, step * 10 + part)
                    batch += segment_usages(segment, rng.choice(("gpu", "agent")))
                rng.shuffle(batch)
                sent += batch
            elif action == "again" and sent:
                batch = [one._replace(feed="another") for one in rng.choices(sent, k=5)]
                booked = ledger.do(lambda batch=batch: ledger.booking.usages(batch))
                assert set(booked) <= {Verdict.DUPLICATE, Verdict.ACCEPTED, Verdict.EXCESS}
                batch = []
            elif action == "correct" and sent:
                correct(ledger, rng, rng.choice(sent), f"c{step}")
            elif action == "other":
                tariff = rng.choice(TARIFFS)
                ledger.booking.prices = prices(tmp_path, price_text(tariff))
                ledger.do(lambda: ledger.amendments.reprice_changed(rng.randrange(1, 40)))
                ledger.do(lambda: ledger.amendments.reprice_unpriced(0, rng.randrange(1, 10)))
            elif action == "odd":
                restart_or_crash(ledger, rng, tariff)
            if batch:
                # Some transactions write no totals, as in a running exporter.
                flush = rng.random() < 0.5
                ledger.booking.transact(
                    lambda batch=batch: ledger.booking.usages(batch), flush=flush
                )
        ledger.tick()
        assert list(verify(ledger.store)) == []
        for tariff in (TARIFFS[3], TARIFFS[-1], TARIFFS[2]):
            ledger.booking.prices = prices(tmp_path, price_text(tariff))
            settle(ledger)
            check(ledger, tariff)
            assert list(verify(ledger.store)) == []


def settle(ledger: Ledger) -> None:
    """Reprice everything, and price what waited."""
    left = True
    while left:
        _, left = ledger.do(lambda: ledger.amendments.reprice_changed(50))
    after: int | None = 0
    while after is not None:
        _, after = ledger.do(lambda after=after: ledger.amendments.reprice_unpriced(after, 50))


def correct(ledger: Ledger, rng: random.Random, usage: Usage, name: str) -> None:
    """Another owner's labels, another price, or less time than was said."""
    changes = rng.choice(({"team": "z"}, {"operation": "spot"}, {"operation": "on_demand"}, {}))
    quantities = None
    if not changes:
        quantities = {"gpu_idle_ms": 1 + usage.quantities.get("gpu_ms", 0), GPU_ENERGY: 7}
    one = Correction(
        name, usage.labels.tenant_id, usage.at_ms // DAY, usage.event_id, changes, quantities
    )
    (verdict,) = ledger.do(lambda: ledger.amendments.correct([one]))
    # What had no room in its hour was never booked.
    assert verdict in (Verdict.ACCEPTED, Verdict.UNKNOWN)


def restart_or_crash(ledger: Ledger, rng: random.Random, tariff: Tariff) -> None:
    if rng.random() < 0.5:
        ledger.restart(price_text=price_text(tariff))
        return
    segment = random_segment(rng, ledger.clock.now_ms(), 1_000, 0)

    def fail() -> None:
        lost = [
            one._replace(event_id=f"g:lost/{part}")
            for part, one in enumerate(segment_usages(segment, "gpu"))
        ]
        ledger.booking.usages(lost)
        raise _Crash

    with pytest.raises(_Crash):
        ledger.do(fail)


def test_one_owner_at_a_time_and_all_states_cost_the_hour(tmp_path: Path) -> None:
    """An hour of minutes in sevenths: used + idle + unallocated + unobserved is 2.99 USD."""
    with Ledger(tmp_path, price_text=price_text(TARIFFS[2])) as ledger:
        hour = ledger.clock.now_ms() // HOUR * HOUR - HOUR
        for minute in range(60):
            parts = [8_571, 8_571, 8_571, 8_572, 8_571, 8_572, 8_572]
            shares = [Share(Owner(tenant_id="a"), used_ms=part) for part in parts[:3]]
            shares += [Share(Owner(tenant_id="b"), idle_ms=part) for part in parts[3:5]]
            shares += [Share(unallocated_ms=parts[5]), Share(unobserved_ms=parts[6])]
            segment = Segment(
                "run", minute, hour + minute * 60_000, 60_000, "GPU-1", "H100", NODE, tuple(shares)
            )
            ledger.book(*segment_usages(segment, "gpu"))
        found = {one.group: one for one in gpu_spend(ledger.store.connection, ["tenant_id"])}
        assert sum(one.net for one in found.values()) == 2_990_000_000
        assert found[("a",)].pieces["gpu_ms"] == 60 * 25_713
        assert found[("a",)].nanos["gpu_ms"] == found[("a",)].net
        assert found[("b",)].nanos["gpu_idle_ms"] == found[("b",)].net
        nobody = found[("unattributed",)]
        assert nobody.nanos["gpu_unallocated_ms"] + nobody.nanos["gpu_unobserved_ms"] == nobody.net


def test_what_an_hour_has_no_room_for_is_cut_from_every_class(tmp_path: Path) -> None:
    with Ledger(tmp_path, price_text=price_text(TARIFFS[0])) as ledger:
        hour = ledger.clock.now_ms() // HOUR * HOUR - HOUR
        full = Share(Owner(tenant_id="a"), used_ms=HOUR - 95_000, energy_mj=10)
        first = Segment("run", 1, hour, full.total_ms, "GPU-1", "H100", NODE, (full,))
        assert ledger.book(*segment_usages(first, "gpu")) == [Verdict.ACCEPTED]
        more = Share(Owner(tenant_id="b"), used_ms=150_000, idle_ms=50_000, energy_mj=4_000)
        second = Segment("run", 2, hour, more.total_ms, "GPU-1", "H100", NODE, (more,))
        assert ledger.book(*segment_usages(second, "gpu")) == [Verdict.ACCEPTED]
        (b,) = gpu_spend(ledger.store.connection, [], where=[("tenant_id", "b")])
        assert {name: count for name, count in b.pieces.items() if count} == {
            "gpu_ms": 75_000, "gpu_idle_ms": 25_000, GPU_ENERGY: 2_000,
        }  # fmt: skip
        assert ledger.tally.read()["costmeter_gpu_excess_seconds_total"] == {("GPU-1",): 100.0}
        third = second._replace(sequence=3)
        assert ledger.book(*segment_usages(third, "gpu")) == [Verdict.EXCESS]


@pytest.mark.parametrize(
    ("damage", "table"),
    [
        ("UPDATE accrual SET nano = nano + 1", "accrual"),
        ("UPDATE accrual SET quantity = quantity - 1", "accrual"),
        ("UPDATE accrual SET energy_mj = energy_mj + 4000", "accrual"),
        ("INSERT INTO accrual VALUES ('GPU-1', 0, 0, 0, 1, 0)", "accrual"),
        ("UPDATE usage_event SET nano = nano + 1", "accrual"),
        ("UPDATE cell SET nanos = replace(nanos, 'gpu_idle_ms', 'gpu_ms_')", "cell"),
        ("DELETE FROM accrual", "accrual"),
    ],
)
def test_verify_sees_an_hour_that_was_changed(tmp_path: Path, damage: str, table: str) -> None:
    ledger = Ledger(tmp_path, price_text=price_text(TARIFFS[0]))
    ledger.open()
    try:
        share = Share(Owner(tenant_id="a"), used_ms=1_000, idle_ms=2_000, energy_mj=99_999)
        now = ledger.clock.now_ms()
        ledger.book(
            *segment_usages(Segment("r", 1, now, 3_000, "GPU-1", "H100", NODE, (share,)), "gpu")
        )
        assert list(verify(ledger.store)) == []
        ledger.store.connection.execute(damage)
        assert table in {one.table for one in verify(ledger.store)}
    finally:
        ledger.close()


def test_an_older_ledgers_hours_go_on(tmp_path: Path) -> None:
    """Hours of the version before states: what they hold counts, and so does what they owe."""
    with Ledger(tmp_path, price_text=price_text(("0.0000018", "1", None))) as ledger:
        now = ledger.clock.now_ms()
        share = Share(Owner(tenant_id="a"), used_ms=1_000)
        for number in range(9):
            segment = Segment("run", number, now, 1_000, "GPU-1", "H100", NODE, (share,))
            ledger.book(*segment_usages(segment, "gpu"))
        connection = ledger.store.connection
        make_older(connection, 3)
        # There a piece took along what it bore: three of 0, though the hour got 1 cheaper.
        gone = connection.execute("SELECT event FROM usage_event WHERE nano = 0 LIMIT 3").fetchall()
        for table in ("usage_event", "identity"):
            connection.executemany(f"DELETE FROM {table} WHERE event = ?", gone)
        connection.execute("UPDATE accrual SET quantity = quantity - 3000")
        for table in ("cell", "day_cell"):
            connection.execute(
                f"UPDATE {table} SET requests = requests - 3, quantities = '{{\"gpu_ms\":6000}}'"
            )
        ledger.restart()
        assert list(verify(ledger.store)) == []
        assert owed(ledger) == -1
        more = Segment("run", 20, now, 1_000, "GPU-1", "H100", NODE, (share,))
        ledger.book(*segment_usages(more, "gpu"))
        (found,) = gpu_spend(ledger.store.connection, [])
        assert found.net == round(Fraction(1_800 * 7_000, HOUR))
        assert owed(ledger) == 0


def owed(ledger: Ledger) -> int:
    row = ledger.store.connection.execute(
        "SELECT coalesce(sum(nano), 0) FROM accrual WHERE rate = 0"
    ).fetchone()
    return int(row[0])
