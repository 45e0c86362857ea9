"""Feeds that are only compared, beside what was booked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from costmeter.attribution import Scope
from costmeter.engine.overlap import Overlap
from costmeter.ledger.observed import observed_on
from costmeter.ledger.terms import Terms
from costmeter.model import MS_PER_DAY, Labels, Usage
from fakes.clock import FakeClock
from faults.ledgers import Ledger

LABELS = Labels("acme", "llm_api", "inference", "openai", "", "", "gpt-4o", "", "", "", "", "", "")
GATEWAY = Scope("openai", provider="openai", detail_from="gateway")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path, FakeClock(), Terms(scopes=(GATEWAY, Scope("rest")))) as made:
        yield made


def sent(ledger: Ledger, feed: str, *calls: tuple[str, int], requests: int = 0) -> None:
    at_ms = ledger.clock.now_ms()
    usages = [
        Usage(
            event_id, at_ms, feed, LABELS,
            {"input": tokens, **({"requests": requests} if requests else {})},
        )
        for event_id, tokens in calls
    ]  # fmt: skip
    ledger.booking.transact(lambda: ledger.booking.usages(usages))


def test_the_same_calls_and_others(ledger: Ledger) -> None:
    sent(ledger, "gateway", *((f"p:openai:{n}", 100) for n in range(8)))
    sent(ledger, "sdk", *((f"p:openai:{n}", 100) for n in range(4)), ("p:openai:new", 50))
    sent(ledger, "report", ("f:report:hour", 900), requests=9)
    day = ledger.clock.now_ms() // MS_PER_DAY
    ledger.booking.transact(lambda: None)
    report, sdk = observed_on(ledger.store.connection, day)
    assert sdk == ("openai", "sdk", 5, 450, 5, 4, 8, 800)
    assert report == ("openai", "report", 9, 900, 1, 0, 8, 800)
    assert observed_on(ledger.store.connection, day - 1) == []


def test_yesterdays_figures_are_shown_and_go_with_it(ledger: Ledger) -> None:
    sent(ledger, "gateway", ("p:openai:1", 100), ("p:openai:2", 100))
    sent(ledger, "sdk", ("p:openai:1", 100))
    overlap = Overlap(ledger.store, ledger.clock, ledger.tally)
    ledger.clock.advance(days=1)
    ledger.booking.transact(lambda: None)
    overlap.read()
    known = ledger.tally.read()
    key = ("openai", "sdk")
    assert known["llm_observed_overlap_ratio"] == {key: 1}
    assert known["llm_observed_calls_ratio"] == {key: 0.5}
    assert known["llm_observed_tokens_ratio"] == {key: 0.5}
    ledger.clock.advance(days=1)
    overlap.read()
    assert ledger.tally.read()["llm_observed_overlap_ratio"] == {}


def test_a_reading_ends_with_the_service(ledger: Ledger) -> None:
    overlap = Overlap(ledger.store, ledger.clock, ledger.tally)
    assert overlap.begin() == ""
    overlap.close()
    assert not [one for one in threading.enumerate() if one.name == "overlap"]
