"""Contracts in the configuration: what they become, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest

from costmeter.config import Config
from costmeter.engine.terms import contracts_of, price_book
from costmeter.pricing.catalogue import EVER_MS, NEVER_MS, day_ms
from costmeter.pricing.contracts import Commitment, Contract

Load = Callable[..., Config]
Refuse = Callable[..., list[str]]


def test_every_setting_arrives_exactly(load: Load) -> None:
    config = load(
        """
contracts:
  - name: big
    provider: openai
    model: "gpt-*"
    account: org-1
    region: eu
    processing: any
    from: 2026-07-01
    until: 2027-07-01
    reference: order 4711
    discount_percent: 12.345678901
    usd_per_million: {input: 2.000000001, cache_write_1h: 0}
    usd_per_unit: {web_searches: 0.000000001, requests: 0.5}
    usd_per_hour: {gpu: 5.5}
    commitment: {usd: 9000.000000001, covers_tokens: 1000000000}
  - {name: rest, provider: "g*", discount_percent: 5}
  - {name: flat, provider: anthropic, from: 2026-01-01, commitment: {usd: 10, covers_usd: 12.5}}
"""
    )
    first, second, third = contracts_of(config)
    assert first == Contract(
        "big", "openai", "gpt-*", "org-1", "eu", "*", day_ms("2026-07-01"), day_ms("2027-07-01"),
        {
            "input": 2_000_000_001, "cache_write_1h": 0, "web_searches": 10**6,
            "requests": 500_000_000 * 10**6, "gpu_ms": 5_500_000_000 * 10**6,
        },
        1 - Fraction("12.345678901") / 100,
        "order 4711",
        Commitment(9_000_000_000_001, 10**9, of_tokens=True),
    )  # fmt: skip
    assert (second.from_ms, second.until_ms, second.processing) == (EVER_MS, NEVER_MS, "")
    assert (second.figures, second.commitment, second.discount) == ({}, None, Fraction(19, 20))
    assert third.commitment == Commitment(10 * 10**9, 12_500_000_000, of_tokens=False)
    assert third.discount is None
    assert [one.name for one in price_book(config).contracts()] == ["big", "rest", "flat"]


ONE = "contracts:\n  - {name: a, provider: openai, %s}\n"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("model: m", "contracts[0].discount_percent: is missing, and so is every other price"),
        ("discount_percent: 100", "contracts[0].discount_percent: '100' is not a percentage below"),
        ("discount_percent: -5", "contracts[0].discount_percent: '-5' is not a percentage below"),
        (
            "discount_percent: 5, usd_per_million: {imput: 2}",
            "contracts[0].usd_per_million.imput: is no setting. Did you mean 'input'?",
        ),
        (
            "discount_percent: 5, usd_per_million: {input: 2e3}",
            "contracts[0].usd_per_million.input: '2e3' is not a price; write USD with up to 9",
        ),
        (
            "discount_percent: 5, from: 2026-02-30",
            "contracts[0].from: 2026-02-30 is in no calendar; write a day such as 2026-07-01",
        ),
        (
            "discount_percent: 5, from: 2026-07-01, until: 2026-07-01",
            "contracts[0].until: 2026-07-01 is not after from",
        ),
        (
            "from: 2026-01-01, commitment: {usd: 5}",
            "contracts[0].commitment.covers_usd: is missing; write what the amount pays for",
        ),
        (
            "from: 2026-01-01, commitment: {usd: 5, covers_usd: 6, covers_tokens: 7}",
            "contracts[0].commitment.covers_usd: stands beside covers_tokens; keep one of them",
        ),
        (
            "discount_percent: 5, commitment: {covers_tokens: 7}",
            "contracts[0].commitment.usd: is missing; write what is paid for each month",
        ),
        (
            "from: 2026-01-01, processing: batch, commitment: {usd: 5, covers_usd: 6}",
            "contracts[0].processing: a commitment pays for every service tier",
        ),
        (
            "commitment: {usd: 5, covers_usd: 6}",
            "contracts[0].from: is missing; write the day from which the commitment is paid",
        ),
        ("processing: bulk, discount_percent: 5", "contracts[0].processing: 'bulk' is not one of"),
    ],
)
def test_mistakes_say_what_to_write(refuse: Refuse, written: str, told: str) -> None:
    (found,) = refuse(ONE % written)
    assert told in found


def test_a_contract_that_can_never_hold_is_refused(refuse: Refuse, load: Load) -> None:
    text = """
contracts:
  - {name: all, provider: "*", discount_percent: 5}
  - {name: mine, provider: openai, discount_percent: 10}
"""
    (found,) = refuse(text)
    assert "contracts[1]: can never hold: 'all' before it takes everything; move it up" in found
    ends = text.replace("discount_percent: 5}", "until: 2027-01-01, discount_percent: 5}")
    assert len(load(ends).contracts) == 2
    assert len(load(text.replace("discount_percent: 5", "usd_per_unit: {requests: 1}")).contracts)


def test_names_stand_once(refuse: Refuse) -> None:
    text = "contracts:\n  - {name: a, provider: x, discount_percent: 5}\n"
    text += "  - {name: a, provider: y, discount_percent: 5}\n"
    (found,) = refuse(text)
    assert "contracts[1].name: 'a' is taken already" in found
