"""List and contracted cost in the ledger: kept apart, and true after every change."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

from costmeter.ledger.history import bases, spend
from costmeter.ledger.verify import verify
from costmeter.model import Correction, Usage
from costmeter.pricing import Contract, PriceBook, load_price_book
from fakes.older_ledger import make_older
from faults.ledgers import DAY, HOUR, PRICES, Ledger, labels, usage
from ledger.settle.parts import BILLED, Bench, line, price_book

FAMILY = "llm_cost_saved_by_contract_month_to_date"
ODD = PRICES + (
    "  - {provider: test, model: odd, source: test, usd_per_million: {input: 0.333333333}}\n"
    "  - {provider: onprem, model: H100, source: test, usd_per_hour: {gpu: '2.99'}}\n"
)
HALF = Contract("half", "test", discount=Fraction(1, 2))


def book(folder: Path, *contracts: Contract) -> PriceBook:
    path = folder / "odd.yml"
    path.write_text(ODD)
    return load_price_book([path], contracts=contracts)


def saved(ledger: Ledger) -> int:
    row = ledger.store.connection.execute("SELECT coalesce(sum(nano), 0) FROM saving").fetchone()
    return int(row[0])


def reprice(ledger: Ledger) -> int:
    count, left = 0, True
    while left:
        done, left = ledger.do(lambda: ledger.amendments.reprice_changed(7))
        count += done
    return count


def test_what_a_contract_saves_is_kept_beside_what_is_booked(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.booking.prices = book(tmp_path, HALF)
        now = ledger.clock.now_ms()
        ledger.book(usage(1, now), usage(2, now, tenant_id="beta"))
        assert ledger.total("llm_cost_total") == 2_500_000_000
        assert ledger.total(FAMILY) == 2_500_000_000
        assert ledger.total(FAMILY, "beta") == 1_250_000_000
        found = bases(ledger.store.connection, ["tenant_id"])
        assert [one[:5] for one in found] == [
            (("acme",), 1, 2_500_000_000, 1_250_000_000, 1_250_000_000),
            (("beta",), 1, 2_500_000_000, 1_250_000_000, 1_250_000_000),
        ]
        # The month after the next, nothing of it is shown any more.
        ledger.clock.advance(70 * 86_400)
        ledger.tick()
        assert ledger.family(FAMILY) == {}


def test_a_correction_takes_back_what_was_saved(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.booking.prices = book(tmp_path, HALF)
        now = ledger.clock.now_ms()
        ledger.book(usage(1, now), usage(2, now))
        move = Correction("c1", "acme", now // DAY, "f:http:1", {"model": "elsewhere"})
        fewer = Correction("c2", "acme", now // DAY, "f:http:2", {}, {"input": 400_000})
        ledger.do(lambda: ledger.amendments.correct([move, fewer]))
        assert saved(ledger) == 500_000_000
        assert ledger.total(FAMILY) == 500_000_000
        assert list(verify(ledger.store)) == []


def test_a_contract_that_comes_later_is_an_adjustment_and_the_past_stays(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.booking.prices = book(tmp_path)
        now = ledger.clock.now_ms()
        ledger.book(*(usage(n, now) for n in range(20)))
        before = spend(ledger.store.connection, ["model"], booked_until=ledger.booking.booked)
        believed_on = ledger.booking.booked
        ledger.clock.advance(86_400)
        ledger.booking.prices = book(tmp_path, HALF)
        assert reprice(ledger) == 20
        assert saved(ledger) == 25_000_000_000
        (kind,) = [
            one for one in spend(ledger.store.connection, ["kind"]) if one.group == ("reprice",)
        ]
        assert (kind.up, kind.down) == (0, 25_000_000_000)
        assert spend(ledger.store.connection, ["model"], booked_until=believed_on) == before
        # Only the list price changes: what is booked stays, and what is saved follows.
        fixed = Contract("half", "test", "priced", figures={"input": 1_250_000_000})
        ledger.booking.prices = book(tmp_path, fixed)
        reprice(ledger)
        assert ledger.total("llm_cost_month_to_date") == 25_000_000_000
        dearer = tmp_path / "dearer.yml"
        dearer.write_text(ODD.replace("2.5", "4"))
        ledger.booking.prices = load_price_book([dearer], contracts=[fixed])
        assert reprice(ledger) == 20
        assert ledger.total("llm_cost_month_to_date") == 25_000_000_000
        assert saved(ledger) == 55_000_000_000
        # And without the contract nothing is saved.
        ledger.booking.prices = load_price_book([dearer])
        reprice(ledger)
        assert (saved(ledger), ledger.family(FAMILY)) == (0, {})


def test_gpu_time_and_records_of_many_calls(tmp_path: Path) -> None:
    third = Fraction(1, 3)
    with Ledger(tmp_path) as ledger:
        ledger.booking.prices = book(
            tmp_path, Contract("a", "*", discount=third), Contract("b", "onprem", discount=third)
        )
        now = ledger.clock.now_ms()
        gpu = labels(category="gpu_compute", provider="onprem", model="H100", operation="")
        for number in range(9):
            piece = {"gpu_ms": 1_001}
            ledger.book(Usage(f"f:g:{number}", now, "g", gpu, piece, resource="GPU-1"))
        many = {"input": 1_000_003, "requests": 12}
        ledger.book(
            Usage("f:p:1", now, "p", labels(model="odd"), many, user_id="u"),
            Usage("f:p:2", now, "p", labels(model="odd"), {"input": 7}, user_id="u"),
            Usage("f:p:3", now, "p", labels(model="nobody knows"), {"input": 7, "requests": 0}),
        )
        assert ledger.total("llm_requests_total") == 13
        user = ledger.store.connection.execute(
            "SELECT requests, tokens FROM user_day WHERE user_id = 'u'"
        ).fetchone()
        assert user == (13, 1_000_010)
        away = Correction(
            "c", "acme", now // DAY, "f:p:1", {"team": "x"}, {"input": 5, "requests": 2}
        )
        ledger.do(lambda: ledger.amendments.correct([away]))
        cells = ledger.store.connection.execute("SELECT sum(requests) FROM cell").fetchone()
        assert cells == (9 + 2 + 1,)
        assert list(verify(ledger.store)) == []
        # Other contracts, and none: list cost is what it was.
        connection = ledger.store.connection
        at_list = "SELECT (SELECT sum(up - down) FROM cell) + (SELECT sum(nano) FROM saving)"
        before = connection.execute(at_list).fetchone()
        for contracts in ([Contract("c", "onprem", discount=Fraction(4, 7))], [HALF], []):
            ledger.booking.prices = book(tmp_path, *contracts)
            reprice(ledger)
            assert list(verify(ledger.store)) == []
            after = connection.execute(at_list).fetchone()
            assert abs(after[0] - before[0]) <= 9  # a GPU's pieces are rounded one by one


def test_random_histories_keep_list_cost(tmp_path: Path) -> None:
    """Bookings, corrections, crashes and other contracts: verify finds nothing amiss."""
    rng = random.Random(7)
    with Ledger(tmp_path, price_text=ODD) as ledger:
        books = [
            book(tmp_path),
            book(tmp_path, HALF),
            book(tmp_path, Contract("n", "test", "odd", figures={"input": 400_000_000})),
            book(tmp_path, Contract("t", "t*", discount=Fraction(1, 7)), HALF),
        ]
        number = 0
        for step in range(60):
            ledger.clock.advance(rng.choice((1, HOUR / 1000, 86_400)))
            now = ledger.clock.now_ms()
            ledger.booking.prices = rng.choice(books)
            batch = []
            for _ in range(rng.randrange(6)):
                number += 1
                quantities = {"input": rng.randrange(10**6)}
                if rng.random() < 0.3:
                    quantities["requests"] = rng.randrange(5)
                model = rng.choice(("priced", "odd", "unknown"))
                batch.append(Usage(f"f:h:{number}", now, "h", labels(model=model), quantities))
            ledger.book(*batch)
            if number and rng.random() < 0.4:
                which = f"f:h:{rng.randrange(1, number + 1)}"
                change = {"model": rng.choice(("priced", "odd", "unknown"))}
                for day in (now // DAY, now // DAY - 1):
                    one = Correction(f"c{step}{day}", "acme", day, which, change)
                    ledger.do(lambda one=one: ledger.amendments.correct([one]))
            if rng.random() < 0.3:
                reprice(ledger)
            if rng.random() < 0.1:
                ledger.restart()
        ledger.booking.prices = books[3]
        ledger.do(lambda: ledger.amendments.reprice_unpriced(0, 10_000))
        reprice(ledger)
        priced = [
            (one.quantities, one.list_nano, one.nano)
            for one in _events(ledger)
            if one.nano is not None
        ]
        assert saved(ledger) == sum(at_list - nano for _, at_list, nano in priced)


class _Event:
    def __init__(self, quantities: object, list_nano: int, nano: int | None) -> None:
        self.quantities, self.list_nano, self.nano = quantities, list_nano, nano


def _events(ledger: Ledger) -> list[_Event]:
    """Every event as it stands, with its list price worked out anew from the price file."""
    from costmeter.ledger.explain import events_since

    usd = {"priced": Fraction(5, 2), "odd": Fraction(333_333_333, 10**9)}
    found = []
    for one in events_since(ledger.store.connection, 0):
        listed = usd.get(one.labels.model, Fraction(0)) * 1_000 * one.quantities["input"]
        found.append(_Event(one.quantities, round(listed), one.nano))
    return found


def test_the_four_bases_of_a_settled_day(tmp_path: Path) -> None:
    bench = Bench(tmp_path, price_book(tmp_path), BILLED)
    tenth = Contract("ten", "test", discount=Fraction(9, 10))
    bench.booking.prices = load_price_book([tmp_path / "prices.yml"], contracts=[tenth])
    bench.use("acme", 1_000)
    bench.use("beta", 3_000)
    bench.take(
        line(bench.today, "cheap", 3_000_000),
        line(bench.today, "cheap:b", 3_300_000, basis="billed"),
        line(bench.today, "cheap:u", None, basis="billed", currency="EUR"),
    )
    bench.take(line(bench.today, "cheap:c", 1, basis="billed"), source="another")
    found = {one.group[0]: one[2:] for one in bases(bench.store.connection, ["tenant_id"])}
    assert found == {
        "acme": (1_000_000, 900_000, 750_000, None),
        "beta": (3_000_000, 2_700_000, 2_250_000, None),
        "unattributed": (0, 0, 0, 3_300_000),
    }
    (whole,) = bases(bench.store.connection, [], where=[("provider", "test")])
    assert whole[2:] == (4_000_000, 3_600_000, 3_000_000, 3_300_000)
    assert bench.differences() == []
    bench.close()


def test_a_ledger_of_before_contracts_gets_their_tables(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(usage(1, now))
        make_older(ledger.store.connection, 2)
        ledger.restart()
        ledger.booking.prices = book(tmp_path, HALF)
        ledger.book(usage(2, now))
        assert ledger.total("llm_cost_month_to_date") == 3_750_000_000
        assert ledger.total(FAMILY) == 1_250_000_000
        assert reprice(ledger) == 1
        assert ledger.total(FAMILY) == 2_500_000_000
