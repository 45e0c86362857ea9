"""GPU hours in pieces, new prices, credits, history and late amounts."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest

from costmeter.ledger.door import Verdict
from costmeter.ledger.terms import Terms
from costmeter.model import Usage
from faults.ledgers import DAY, HOUR, PRICES, Ledger, labels, posting, prices, usage

ACCEPTED = Verdict.ACCEPTED
USD = 10**9
CHEAPER = PRICES.replace("2.5", "1.5")
DEARER = PRICES.replace("2.5", "4")
ALSO_LATER = PRICES + (
    "  - {provider: test, model: later, source: test, usd_per_million: {input: 1}}\n"
)


def gpu_prices(usd_per_hour: str) -> str:
    line = "{provider: onprem, model: H100, source: test, usd_per_hour: {gpu: '%s'}}"
    return f"{PRICES}  - {line % usd_per_hour}\n"


def gpu(number: int, at_ms: int, milliseconds: int, uuid: str = "GPU-1") -> Usage:
    found = labels(category="gpu_compute", provider="onprem", model="H100", operation="")
    quantities = {"gpu_ms": milliseconds}
    return Usage(f"f:gpu:{number}", at_ms, "gpu", found, quantities, resource=uuid)


@pytest.mark.parametrize("usd", ["2.99", "0.1", "1.000000007", "33.333333333", "0.000000001"])
def test_the_pieces_of_a_gpu_hour_add_up_to_the_hour(tmp_path: Path, usd: str) -> None:
    with Ledger(tmp_path, price_text=gpu_prices(usd)) as ledger:
        hour = ledger.clock.now_ms() // HOUR * HOUR
        pieces = [gpu(second, hour + 1000 * second, 1_000) for second in range(3_600)]
        shown = 0
        for begin in range(0, 3_600, 400):
            assert ledger.book(*pieces[begin : begin + 400]) == [ACCEPTED] * 400
            posted = (begin + 400) * Decimal(usd) * USD / 3_600
            now = ledger.total("llm_cost_total")
            assert now == int(posted.quantize(Decimal(1), ROUND_HALF_EVEN))
            assert now >= shown
            shown = now
        assert shown == int(Decimal(usd) * USD)
        # One more second does not fit beyond the few that clocks may disagree by.
        extra = [gpu(4_000 + n, hour, 1_000) for n in range(8)]
        assert ledger.book(*extra) == [ACCEPTED] * 5 + [Verdict.EXCESS] * 3
        excess = ledger.tally.read()["costmeter_gpu_excess_seconds_total"]
        assert excess == {("GPU-1",): 3.0}


def test_a_piece_that_fits_in_part_is_cut(tmp_path: Path) -> None:
    with Ledger(tmp_path, price_text=gpu_prices("3.6")) as ledger:
        hour = ledger.clock.now_ms() // HOUR * HOUR
        ledger.book(gpu(1, hour, 3_590_000))
        ledger.book(gpu(2, hour, 60_000))
        assert ledger.total("llm_cost_total") == 3_605_000_000
        assert ledger.tally.read()["costmeter_gpu_excess_seconds_total"] == {("GPU-1",): 45.0}
        ledger.book(gpu(3, hour, 60_000, uuid="GPU-2"), gpu(4, hour + HOUR, 60_000))
        assert ledger.total("llm_cost_total") == 3_725_000_000


def test_a_gpu_hour_without_a_price_is_still_an_hour_and_priced_later(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        hour = ledger.clock.now_ms() // HOUR * HOUR
        ledger.book(gpu(1, hour, 1_800_000), gpu(2, hour, 1_800_000))
        assert ledger.book(gpu(3, hour, 60_000), gpu(4, hour, 1))[1] == Verdict.EXCESS
        assert ledger.total("llm_cost_month_to_date") == 0
        ledger.booking.prices = prices(tmp_path, gpu_prices("7"))
        assert ledger.do(lambda: ledger.amendments.reprice_unpriced(0, 100)) == (3, None)
        assert ledger.total("llm_cost_month_to_date") == 7 * USD * 3_605 // 3_600


def test_an_unpriced_call_is_counted_and_priced_when_a_price_appears(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        event = usage(1, ledger.clock.now_ms(), model="later")
        assert ledger.book(event) == [ACCEPTED]
        assert ledger.total("llm_unpriced_requests_total") == 1
        assert ledger.total("llm_requests_total") == 1
        assert ledger.family("llm_cost_total") == {}, "an unknown price is never 0"
        assert ledger.do(lambda: ledger.amendments.reprice_unpriced(0, 100)) == (0, None)
        ledger.booking.prices = prices(tmp_path, ALSO_LATER)
        assert ledger.do(lambda: ledger.amendments.reprice_unpriced(0, 100)) == (1, None)
        assert ledger.do(lambda: ledger.amendments.reprice_unpriced(0, 100)) == (0, None)
        assert ledger.total("llm_cost_total") == USD
        assert ledger.total("llm_cost_month_to_date") == USD
        assert ledger.total("llm_requests_total") == 1
        assert ledger.total("llm_unpriced_requests_total") == 1, "a counter stays"


@pytest.mark.parametrize(
    ("text", "up", "down"), [(DEARER, 4 * USD, 0), (CHEAPER, 2_500_000_000, USD)]
)
def test_a_changed_price_is_booked_as_the_difference(
    tmp_path: Path, text: str, up: int, down: int
) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(usage(1, ledger.clock.now_ms()))
        ledger.booking.prices = prices(tmp_path, text)
        for expected in (1, 0):
            done = ledger.do(lambda: ledger.amendments.reprice_changed(100))
            assert done == (expected, False)
        assert ledger.total("llm_cost_total") == up
        assert ledger.total("llm_cost_credit_total") == down
        assert ledger.total("llm_cost_month_to_date") == up - down
        assert ledger.total("llm_requests_total") == 1


def test_a_credit_rises_in_its_own_counter(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        hour = ledger.clock.now_ms() // HOUR * HOUR
        ledger.post(posting(1, hour, 5 * USD))
        credit = posting(2, hour, -8 * USD)
        assert ledger.post(credit, credit) == [ACCEPTED, Verdict.DUPLICATE]
        assert ledger.total("llm_cost_total") == 5 * USD
        assert ledger.total("llm_cost_credit_total") == 8 * USD
        assert ledger.total("llm_cost_month_to_date") == -3 * USD


def test_history_is_in_the_gauges_and_never_in_the_counters(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        old = [usage(n, now - n * DAY, feed="import") for n in (1, 2, 20)]
        assert ledger.book(*old, history=True) == [ACCEPTED] * 3
        assert ledger.total("llm_cost_month_to_date") == 3 * 2_500_000_000
        assert not any(ledger.family("llm_cost_total").values())
        assert not any(ledger.family("llm_requests_total").values())
        assert ledger.book(*old, history=True) == [Verdict.DUPLICATE] * 3
        ledger.book(usage(9, now))
        assert ledger.total("llm_cost_total") == 2_500_000_000
        # Its correction and its new price are history as well.
        ledger.booking.prices = prices(tmp_path, DEARER)
        assert ledger.do(lambda: ledger.amendments.reprice_changed(100)) == (4, False)
        assert ledger.total("llm_cost_month_to_date") == 4 * 4 * USD
        assert ledger.total("llm_cost_total") == 4 * USD


def test_late_amounts_enter_the_counters_linearly_and_the_gauges_at_once(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        event = usage(1, ledger.clock.now_ms() - 6 * HOUR, tokens=1_200_000)
        ledger.book(event)
        assert ledger.total("llm_cost_month_to_date") == 3 * USD
        shown = []
        for _ in range(13):
            ledger.tick()
            shown.append(
                (
                    ledger.total("llm_cost_total"),
                    ledger.total("llm_tokens_total"),
                    ledger.total("llm_requests_total"),
                )
            )
            ledger.clock.advance(hours=1)
        # Over twice its lateness: 12 h.
        assert shown == [
            (hour * 250_000_000, hour * 100_000, int(hour == 12)) for hour in range(13)
        ]


def test_in_time_is_at_once_and_nothing_takes_longer_than_fourteen_days(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(usage(1, now - HOUR + 60_000, tenant_id="in-time"))
        assert ledger.total("llm_cost_total", "in-time") == 2_500_000_000
        late = posting(1, now - 300 * DAY, 14 * USD, tenant_id="late")
        ledger.post(replace(late, late_since_ms=now - 300 * DAY))
        for day in range(15):
            ledger.tick()
            assert ledger.total("llm_cost_total", "late") == day * USD
            ledger.clock.advance(days=1)
        ledger.tick()
        assert ledger.total("llm_cost_total", "late") == 14 * USD


def test_a_series_is_born_at_zero_and_shown_after_the_hold(tmp_path: Path) -> None:
    with Ledger(tmp_path, terms=Terms(birth_hold_ms=300_000)) as ledger:
        ledger.book(usage(1, ledger.clock.now_ms()))
        assert ledger.total("llm_cost_month_to_date") == 2_500_000_000
        ledger.clock.advance(299)
        ledger.book(usage(2, ledger.clock.now_ms()))
        assert set(ledger.family("llm_cost_total").values()) == {0}
        ledger.clock.advance(1)
        ledger.tick()
        assert ledger.total("llm_cost_total") == 5 * USD
        ledger.book(usage(3, ledger.clock.now_ms()))
        assert ledger.total("llm_cost_total") == 7_500_000_000, "known series do not lag"


def test_a_hold_that_nobody_could_see_the_end_of_begins_again(tmp_path: Path) -> None:
    with Ledger(tmp_path, terms=Terms(birth_hold_ms=300_000)) as ledger:
        ledger.book(usage(1, ledger.clock.now_ms(), tenant_id="old"))
        ledger.clock.advance(301)
        ledger.book(usage(2, ledger.clock.now_ms(), tenant_id="young"))
        ledger.close()
        ledger.clock.advance(hours=2)
        ledger.open()
        assert ledger.total("llm_cost_total", "old") == 2_500_000_000
        assert ledger.total("llm_cost_total", "young") == 0
        ledger.clock.advance(299)
        ledger.tick()
        assert ledger.total("llm_cost_total", "young") == 0
        ledger.clock.advance(1)
        ledger.tick()
        assert ledger.total("llm_cost_total", "young") == 2_500_000_000
