"""Another price book: everything booked follows it, whatever comes in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from costmeter.ledger.verify import verify
from costmeter.model import Correction, Usage
from costmeter.pricing import PriceBook, Rate
from faults.ledgers import HOUR, PRICES, Ledger, labels, prices, usage

PAID = 2_500_000_000
DEARER = PRICES.replace("2.5", "4")
GPU = "  - {provider: onprem, model: H100, source: test, usd_per_hour: {gpu: '2.99'}}\n"


def reprice(ledger: Ledger, limit: int = 100) -> int:
    count, left = 0, True
    while left:
        done, left = ledger.do(lambda: ledger.amendments.reprice_changed(limit))
        count += done
    return count


def test_prices_that_changed_while_it_was_stopped(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(*(usage(n, ledger.clock.now_ms()) for n in range(3)))
        assert reprice(ledger) == 0
        ledger.restart(price_text=DEARER)
        ledger.book(usage(3, ledger.clock.now_ms()))
        assert ledger.total("llm_cost_month_to_date") == 3 * PAID + 4_000_000_000
        assert reprice(ledger) == 3
        assert ledger.total("llm_cost_month_to_date") == 4 * 4_000_000_000
        assert reprice(ledger) == 0


def test_a_run_that_broke_off_goes_on_where_it_was(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(*(usage(n, ledger.clock.now_ms()) for n in range(5)))
        ledger.booking.prices = prices(tmp_path, DEARER)
        assert ledger.do(lambda: ledger.amendments.reprice_changed(2)) == (2, True)
        ledger.restart(price_text=DEARER)
        assert reprice(ledger, 2) == 3
        assert ledger.total("llm_cost_month_to_date") == 5 * 4_000_000_000


def test_back_to_the_old_prices_in_the_middle_of_a_run(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(*(usage(n, ledger.clock.now_ms()) for n in range(5)))
        reprice(ledger)
        old = ledger.booking.prices
        ledger.booking.prices = prices(tmp_path, DEARER)
        ledger.do(lambda: ledger.amendments.reprice_changed(2))
        ledger.booking.prices = old
        assert reprice(ledger, 2) == 2
        assert ledger.total("llm_cost_month_to_date") == 5 * PAID


def test_prices_that_change_in_the_middle_of_a_transaction(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(*(usage(n, ledger.clock.now_ms()) for n in range(5)))
        reprice(ledger)
        first, last = prices(tmp_path, PRICES.replace("2.5", "3")), prices(tmp_path, DEARER)

        class Reloaded(PriceBook):
            """A reload comes while the first events are looked at."""

            def rate(self, *asked: Any) -> Rate | None:
                ledger.booking.prices = last
                return first.rate(*asked)

        between = Reloaded.__new__(Reloaded)
        between.revision = first.revision
        ledger.booking.prices = between
        assert ledger.do(lambda: ledger.amendments.reprice_changed(2)) == (2, True)
        reprice(ledger, 2)
        assert ledger.total("llm_cost_month_to_date") == 5 * 4_000_000_000


def test_equal_figures_book_nothing(tmp_path: Path) -> None:
    elsewhere = PRICES.replace(
        "prices:", "# the same figures on another line\nprices:\n" + GPU[:-1]
    )
    with Ledger(tmp_path) as ledger:
        ledger.book(usage(1, ledger.clock.now_ms()))
        ledger.booking.prices = prices(tmp_path, elsewhere)
        assert reprice(ledger) == 0
        changes = ledger.store.connection.execute("SELECT count(*) FROM event_change").fetchone()
        assert changes == (0,)


def test_a_piece_of_a_gpu_hour_that_is_corrected(tmp_path: Path) -> None:
    found = labels(category="gpu_compute", provider="onprem", model="H100", operation="")
    with Ledger(tmp_path, price_text=PRICES + GPU) as ledger:
        now = ledger.clock.now_ms()
        day = now // (24 * HOUR)
        for number in range(20):
            quantities = {"gpu_ms": 1_001}
            piece = Usage(f"f:g:{number}", now, "g", found, quantities, resource="GPU-1")
            ledger.book(piece)
        whole = ledger.total("llm_cost_month_to_date")
        for number, changes in enumerate(({"provider": "nobody"}, {"team": "a"}, {})):
            correction = Correction(f"c{number}", "acme", day, f"f:g:{number}", changes)
            ledger.do(lambda one=correction: ledger.amendments.correct([one]))
            assert list(verify(ledger.store)) == []
        # Tokens say nothing of a GPU: its time is gone, and nothing fails.
        tokens = Correction("tokens", "acme", day, "f:g:9", {}, {"input": 5})
        ledger.do(lambda: ledger.amendments.correct([tokens]))
        assert ledger.total("llm_cost_month_to_date") < whole
