"""Sources with the real settlement: what a provider bills is what the ledger ends at."""

from __future__ import annotations

from pathlib import Path

from costmeter.attribution import Scope
from costmeter.engine.polling import Poller
from costmeter.ledger.polled import Polled
from costmeter.ledger.settle.settlements import Settlements
from costmeter.ledger.terms import Terms
from costmeter.ledger.writer import Writer
from costmeter.sources.registry import make
from fakes.clock import FakeClock
from fakes.openai_admin import OpenAIAdmin, completions, cost
from fakes.reports import serving
from faults.ledgers import Ledger
from sources.rig import HOUR, NOW, PRICES, TODAY, settings


def net(ledger: Ledger) -> int:
    row = ledger.store.connection.execute("SELECT sum(up - down) FROM day_cell").fetchone()
    return int(row[0] or 0)


def test_a_metered_day_becomes_its_bill_once_it_is_final(tmp_path: Path) -> None:
    fake = OpenAIAdmin()
    row = completions(input_tokens=100_000)  # 0.2 USD
    scope = Scope("openai", provider="openai", detail_from="bill", amount_from="bill")
    clock = FakeClock(NOW * 1000)
    terms = Terms(birth_hold_ms=0, scopes=(scope,))
    with serving(fake), Ledger(tmp_path, clock, terms, price_text=PRICES) as ledger:
        writer = Writer(ledger.booking, ledger.tally)
        writer.start()
        polled = Polled(ledger.booking, Settlements(ledger.booking))
        poller = Poller(
            make("openai", settings(fake, path="/v1")), polled, writer, clock, ledger.tally
        )
        assert "failed" not in poller.poll()
        fake.usage["completions"] = [(TODAY + 5 * HOUR, row)]
        fake.costs = [(TODAY, cost("0.150000001", "gpt-5, input"))]
        clock.advance(hours=1)
        assert "failed" not in poller.poll()
        assert net(ledger) == 200_000_000
        fake.costs = [(TODAY, cost("0.160000001", "gpt-5, input"))]
        for days, expected in ((1, 200_000_000), (3, 160_000_001)):
            clock.advance(days=days)
            assert "failed" not in poller.poll()
            assert net(ledger) == expected
        fake.costs = [(TODAY, cost("0.15", "gpt-5, input"))]
        assert "failed" not in poller.poll()
        assert net(ledger) == 150_000_000
        assert poller.poll() == "2 same"
        writer.close()
