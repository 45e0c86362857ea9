"""Amounts beyond what a sum can hold are refused before they can spoil the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from costmeter.ledger.door import Overfull, Unavailable, Verdict
from costmeter.ledger.writer import Writer
from faults.ledgers import Ledger, usage

MOST_TOKENS = 10**12  # what a record may say; 2.5 million USD here


def test_a_sender_of_nonsense_does_not_spoil_the_ledger(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        number, refused = 0, ""
        while not refused:
            batch = [usage(number + n, now, tokens=MOST_TOKENS) for n in range(250)]
            number += 250
            try:
                ledger.booking.transact(lambda sent=batch: ledger.booking.usages(sent), flush=False)
            except Overfull as error:
                refused = str(error)
        assert "more than it can add up" in refused
        ledger.tick()
        ledger.restart()
        assert ledger.total("llm_requests_total") == number - 250
        with pytest.raises(Overfull):
            ledger.book(*batch)
        writer = Writer(ledger.booking, ledger.tally)
        writer.start()
        with pytest.raises(Unavailable, match="find out who"):
            writer.submit(batch).result(10)
        # What costs nothing and what is known already is answered as ever.
        assert writer.submit([usage(0, now)]).result(10) == [Verdict.DUPLICATE]
        writer.close()
