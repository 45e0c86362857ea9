"""Bills through the ledger: counters, gauges, restatements, scopes, history."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from msgspec import structs

from costmeter.attribution import Scope
from costmeter.model import UNATTRIBUTED
from fakes.older_ledger import make_older
from ledger.settle.parts import BILLED, DAY, HOUR, USD, Bench, labels, line, price_book

RENT = Scope("rent", provider="test", amount_from="bill", detail_from="none")


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path, price_book(tmp_path), BILLED, Scope("default"))
    yield made
    assert made.differences() == []
    made.close()


@pytest.fixture
def rent(tmp_path):
    made = Bench(tmp_path, price_book(tmp_path), RENT)
    yield made
    assert made.differences() == []
    made.close()


def outcomes(bench: Bench) -> dict[str, float]:
    found = bench.tally.read().get("costmeter_bill_lines_total", {})
    return {outcome: count for (_, outcome), count in found.items()}


def test_the_same_line_twice_a_higher_and_a_lower_revision(bench) -> None:
    bench.use("a", 1_000)
    day = bench.today
    assert bench.take(line(day, "cheap", 500_000)) == 1
    assert bench.take(line(day, "cheap", 500_000)) == 0
    assert bench.take(line(day, "cheap", 400_000, revision=3)) == 1
    assert bench.take(line(day, "cheap", 900_000, revision=2)) == 0
    assert bench.take(line(day, "cheap", 400_000, revision=4)) == 0
    assert bench.net() == {("a",): 400_000}
    assert outcomes(bench) == {"new": 1, "same": 2, "restated": 1, "older": 1}
    restated = bench.tally.read()["costmeter_bill_restated_usd_total"]
    assert restated == {("test", "up"): 0, ("test", "down"): 0.0001}
    rows = bench.store.connection.execute("SELECT rev, usd_nano FROM bill").fetchall()
    assert rows == [(1, 500_000), (4, 400_000)]


def test_a_restatement_posts_the_difference_alone_and_as_of_stays(bench) -> None:
    bench.use("a", 1_000)
    day = bench.today
    bench.take(line(day, "cheap", 1_050_000))
    bench.clock.advance(days=3)
    bench.take(line(day, "cheap", 1_020_000, revision=2))
    amounts = bench.store.connection.execute("SELECT nano FROM posting ORDER BY booked")
    assert list(amounts) == [(50_000,), (-30_000,)]
    assert bench.settle(day) == 0


def test_a_rate_of_exchange_that_is_found_later(bench) -> None:
    bench.use("a", 1_000)
    unknown = line(bench.today, "cheap", None, amount="0.9", currency="EUR")
    bench.take(unknown)
    assert bench.net() == {("a",): 1_000_000}
    assert bench.shown("llm_cost_unconverted_lines", 1) == {"EUR": 1}
    bench.take(replace(unknown, usd_nano=990_000, fx_rate="1.1", fx_day=bench.today))
    assert bench.net() == {("a",): 990_000}
    assert bench.shown("llm_cost_unconverted_lines", 1) == {}


def test_late_amounts_enter_the_counters_in_a_line_from_the_watermark(bench) -> None:
    bench.take(line(bench.today, "cheap", 0))  # connected
    bench.clock.advance(days=1)
    bench.use("a", 1_000_000)
    day = bench.today
    bench.clock.advance(days=3)
    watermark = bench.clock.now_ms() - 10 * HOUR
    before = bench.shown("llm_cost_total")
    bench.take(line(day, "cheap", 1_100 * 1_000_000), watermark_ms=watermark)
    assert bench.net() == {("a",): 1_100 * 1_000_000}
    assert bench.shown("llm_cost_total") == before
    bench.clock.advance(hours=10)
    half = bench.shown("llm_cost_total")["a"] - before["a"]
    assert half == pytest.approx(50_000_000, rel=0.03)
    bench.clock.advance(hours=11)
    assert bench.shown("llm_cost_total") == {"a": 1_100 * 1_000_000}


def test_days_before_the_source_was_connected_are_an_opening_balance(bench) -> None:
    bench.use("a", 1_000, at_ms=bench.clock.now_ms() - 2 * DAY)
    bench.clock.advance(days=10)
    before = bench.shown("llm_cost_total")
    old = bench.today - 12
    bench.take(line(old, "cheap", 1_050_000), line(old, "rogue", 5 * USD))
    bench.take(line(old, "rogue", 4 * USD, revision=2))
    assert bench.net() == {("a",): 1_050_000, (UNATTRIBUTED,): 4 * USD}
    bench.clock.advance(days=20)
    assert bench.shown("llm_cost_total") == before
    assert bench.shown("llm_cost_credit_total") == {}
    assert bench.shown("llm_cost_year_to_date", 2) == {"a": 1_050_000, UNATTRIBUTED: 4 * USD}


def test_a_bill_alone_raises_counters_only_by_its_rises_until_it_is_final(rent) -> None:
    day = rent.today

    def say(revision: int, nano: int, maturity: str) -> tuple[int, int, int]:
        watermark = rent.clock.now_ms() - HOUR
        said = line(day, "disk", nano, revision=revision, maturity=maturity)
        rent.take(said, watermark_ms=watermark)
        gauge = sum(rent.net().values())
        rent.booking.transact(lambda: None)
        rent.clock.advance(hours=30)
        cost, credit = rent.shown("llm_cost_total"), rent.shown("llm_cost_credit_total")
        return gauge, sum(cost.values()), sum(credit.values())

    assert say(1, 100, "estimated") == (100, 100, 0)
    assert say(2, 70, "estimated") == (70, 100, 0)
    assert say(3, 90, "provisional") == (90, 100, 0)
    assert say(4, 130, "provisional") == (130, 130, 0)
    assert say(5, 120, "final") == (120, 130, 10)


def test_meters_that_move_after_a_bill_are_settled_again(bench) -> None:
    bench.use("a", 1_000)
    day = bench.today
    bench.take(line(day, "cheap", 1_000_000))
    bench.use("b", 1_000)
    assert bench.net() == {("a",): 1_000_000, ("b",): 1_000_000}
    done = bench.booking.transact(bench.settlements.settle_due)
    assert done == (1, False)
    assert bench.net() == {("a",): 500_000, ("b",): 500_000}
    assert bench.booking.transact(bench.settlements.settle_due) == (0, False)


def test_a_bill_in_pieces_is_settled_once_it_is_whole(bench) -> None:
    bench.use("a", 1_000)
    day = bench.today
    for number in range(3):
        piece = line(day, f"cheap:{number}", 300_000)
        bench.booking.transact(
            lambda piece=piece: bench.settlements.take([piece], None, source="bill", later=True)
        )
    assert bench.net() == {("a",): 1_000_000}
    bench.booking.transact(bench.settlements.settle_due)
    assert bench.net() == {("a",): 900_000}
    piece = line(day, "cheap:0", 200_000, revision=2)
    bench.booking.transact(lambda: bench.settlements.take([piece], None, source="bill", later=True))
    assert bench.differences() == []
    bench.booking.transact(bench.settlements.settle_due)
    assert bench.net() == {("a",): 800_000}


def test_another_source_and_another_basis_are_kept_and_never_booked(bench) -> None:
    bench.use("a", 1_000)
    day = bench.today
    bench.take(line(day, "cheap", 9 * USD), source="invoice")
    bench.take(line(day, "cheap", 7 * USD, basis="billed"))
    assert bench.net() == {("a",): 1_000_000}
    bench.take(line(day, "cheap", 900_000))
    assert bench.net() == {("a",): 900_000}
    count = bench.store.connection.execute("SELECT count(*) FROM bill").fetchone()
    assert count == (3,)


def test_a_line_that_moves_to_another_scope_leaves_the_first(tmp_path) -> None:
    one = Scope("one", provider="test", service="one", amount_from="bill", detail_from="none")
    two = Scope("two", provider="test", amount_from="bill", detail_from="none")
    bench = Bench(tmp_path, price_book(tmp_path), one, two)
    day = bench.today
    bench.take(line(day, "disk", 50, labels=labels("", "disk", service="one")))
    assert bench.net("scope") == {("one",): 50}
    bench.take(line(day, "disk", 60, revision=2, labels=labels("", "disk", service="x")))
    assert bench.net("scope") == {("two",): 60}
    assert bench.differences() == []
    bench.close()


def test_scopes_that_changed_between_the_usage_and_its_bill(tmp_path) -> None:
    bench = Bench(tmp_path, price_book(tmp_path), Scope("default"))
    bench.use("a", 1_000)
    bench.again(BILLED, Scope("default"))
    bench.take(line(bench.today, "cheap", 900_000))
    assert bench.net() == {("a",): 900_000}
    assert bench.differences() == []
    bench.again(structs.replace(BILLED, name="renamed"), Scope("default"))
    bench.take(line(bench.today, "cheap", 900_000, revision=2))
    assert bench.net() == {("a",): 900_000}
    bench.take(line(bench.today, "cheap", 800_000, revision=3))
    assert bench.net() == {("a",): 800_000}
    assert bench.differences() == []
    bench.again(structs.replace(BILLED, amount_from="another"), Scope("default"))
    bench.settle(bench.today)
    assert bench.net() == {("a",): 800_000}
    bench.take(line(bench.today, "cheap", 700_000), source="another")
    assert bench.net() == {("a",): 700_000}
    assert bench.differences() == []
    bench.close()


def test_gauges_of_a_scope(bench) -> None:
    first = bench.today
    for _ in range(3):
        bench.use("a", 1_000)
        bench.take(
            line(bench.today, "cheap", 800_000),
            line(bench.today, "tax", 200_000, charge="tax"),
        )
        bench.clock.advance(days=1)
    bench.use("a", 1_000)
    bench.take(line(bench.today, "cheap", 1, maturity="estimated"))
    found = {
        name: bench.shown(name, 0).get("test")
        for name in (
            "llm_cost_capture_ratio", "llm_cost_unattributed", "llm_cost_unattributed_ratio",
            "llm_cost_conservation", "llm_cost_final_until_timestamp_seconds", "llm_cost_billed",
            "llm_cost_metered",
        )
    }  # fmt: skip
    assert found == {
        "llm_cost_billed": 3_000_000,
        "llm_cost_metered": 3_000_000,
        "llm_cost_capture_ratio": 1_250_000_000,
        "llm_cost_unattributed": 600_000,
        "llm_cost_unattributed_ratio": 200_000_000,
        "llm_cost_conservation": None,  # zero
        "llm_cost_final_until_timestamp_seconds": (first + 3) * DAY,
    }
    # Three final days, and today with a bill that is only an estimate.
    assert bench.shown("llm_cost_of_day", 2) == {"metered": 4_000_000, "billed": 3_000_001}
    assert set(bench.shown("llm_cost_of_day", 1)) == {
        (date(1970, 1, 1) + timedelta(days=first + n)).isoformat() for n in range(4)
    }


def test_a_day_with_usage_and_no_bill_is_not_final(bench) -> None:
    first = bench.today
    for billed in (True, False, True):
        bench.use("a", 1_000)
        if billed:
            bench.take(line(bench.today, "cheap", 1))
        bench.clock.advance(days=1)
    until = bench.shown("llm_cost_final_until_timestamp_seconds", 0)
    assert until == {"test": (first + 1) * DAY}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"charge": "fun"}, "write one of usage"),
        ({"maturity": "ripe"}, "estimated"),
        ({"day": 10**9}, "no day"),
        ({"usd_nano": 1 << 62}, "check its unit"),
    ],
)
def test_a_line_that_cannot_be_kept_takes_nothing_with_it(bench, wrong, said) -> None:
    day = bench.today
    with pytest.raises(ValueError, match=said):
        bench.take(line(day, "rogue", 5), replace(line(day, "cheap", 1), **wrong))
    assert bench.net() == {}


def test_a_scope_without_a_bill_cannot_be_settled(bench) -> None:
    with pytest.raises(ValueError, match="choose from test"):
        bench.settle(bench.today, "default")


def test_verify_sees_a_bill_that_was_changed_behind_its_back(bench) -> None:
    bench.use("a", 1_000)
    bench.take(line(bench.today, "cheap", 1_050_000))
    connection = bench.store.connection
    connection.execute("UPDATE bill SET usd_nano = 1050001")
    assert any("billed" in found for found in bench.differences())
    connection.execute("UPDATE bill SET usd_nano = 1050000, maturity = 'estimated'")
    assert any("final" in found for found in bench.differences())
    connection.execute("UPDATE bill SET maturity = 'final'")
    connection.execute("UPDATE settlement SET metered = metered + 1")
    found = bench.differences()
    assert any("metered" in text for text in found)
    assert any("value" in text for text in found)
    connection.execute("UPDATE settlement SET metered = metered - 1")


def test_a_ledger_of_the_first_version_gets_the_new_tables(tmp_path) -> None:
    bench = Bench(tmp_path, price_book(tmp_path))
    bench.use("a", 1_000)
    make_older(bench.store.connection, 1)
    bench.again()
    bench.take(line(bench.today, "cheap", 900_000))
    assert bench.net() == {("a",): 900_000}
    assert bench.differences() == []
    bench.close()
