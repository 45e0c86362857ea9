"""The repricing job on a real ledger and its writer."""

from __future__ import annotations

import time
from pathlib import Path

from costmeter.engine.repricing import Past, reprice
from costmeter.ledger.reprice_state import Asked, ask_repricing, repricing_answer
from costmeter.ledger.writer import Writer
from faults.ledgers import PRICES, Ledger, prices, usage

MORE = PRICES.replace("2.5", "4") + (
    "  - {provider: test, model: later, source: test, usd_per_million: {input: 1}}\n"
)


def test_it_follows_another_book_once_and_says_so(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(*(usage(n, now, model="later" if n % 2 else "priced") for n in range(1_201)))
        writer = Writer(ledger.booking, ledger.tally)
        writer.start()
        assert reprice(writer) == ""
        ledger.booking.prices = prices(tmp_path, MORE)
        assert reprice(writer, 0) == ""  # no time now, and nothing is forgotten
        said = "600 unpriced events got a price, 601 events got another one"
        assert reprice(writer) == said
        assert reprice(writer) == ""
        writer.close()
        assert ledger.total("llm_cost_month_to_date") == 601 * 4 * 10**9 + 600 * 10**9
        texts = ledger.store.connection.execute("SELECT text FROM audit").fetchall()
        assert [text for (text,) in texts if text.startswith(said)]


def test_who_asks_for_the_past_is_answered_beside_the_jobs(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(*(usage(n, now, model="priced") for n in range(700)))
        writer = Writer(ledger.booking, ledger.tally)
        writer.start()
        past = Past(writer)
        past.beside = True
        assert past.run() == ""  # nobody asked
        ledger.booking.prices = prices(tmp_path, MORE)
        asked = Asked(ledger.booking.prices.revision, 0, now)
        writer.run(lambda: None).result()
        ask_repricing(ledger.store.path, asked)
        assert past.run() == ""  # it goes on by itself
        answer, until = None, time.monotonic() + 20
        while answer is None and time.monotonic() < until:
            time.sleep(0.02)
            answer = writer.run(lambda: repricing_answer(ledger.store.connection, now)).result()
        assert answer == "700 events of the past got another price"
        assert past.run() == ""  # and it is not asked for twice
        writer.close()
        assert ledger.total("llm_cost_month_to_date") == 700 * 4 * 10**9
