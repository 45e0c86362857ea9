"""The price of every real body that has an expected one; each exception is in a table."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from costmeter.pricing import PriceBook, load_price_book
from normalise.conformance import BODIES, cases
from realdata.august import AUGUST, PriceList
from realdata.ledgers import PAGE
from realdata.marks import needs
from realdata.price_exceptions import FIGURES, READING
from realdata.pricing_checks import compare, nano_of

#: The day of the price list that the expected prices were worked out with.
DAY = "2026-08-21"

#: USD per million tokens as the providers listed them on that day: (input, cached, output).
LISTED = {
    ("openai", "chat", "gpt-4o-mini"): ("0.15", "0.075", "0.60"),
    ("openai", "chat", "gpt-4o"): ("2.50", "1.25", "10"),
    ("openai", "chat", "o3-mini"): ("1.10", "0.55", "4.40"),
    ("anthropic", "default", "claude-3-5-haiku-20241022"): ("0.80", "0.08", "4"),
    ("anthropic", "default", "claude-sonnet-4-5"): ("3", "0.30", "15"),
}


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return load_price_book()


@needs(BODIES, AUGUST)
def test_real_bodies_cost_what_is_expected_or_a_listed_exception(book: PriceBook) -> None:
    outcome = compare(cases(), book, PriceList(AUGUST, DAY), DAY)
    assert outcome.unexplained == []
    assert (outcome.compared, outcome.equal) == (850, 729)
    assert outcome.reading == READING
    assert {row.reason: count for row, count in outcome.figures.items()} == {
        row.reason: row.cases for row in FIGURES
    }


@needs(BODIES, AUGUST)
def test_the_august_list_gives_every_expected_price() -> None:
    # So a difference is one between that list and the catalogue, and not of arithmetic.
    august = PriceList(AUGUST, DAY)
    other = []
    for case in cases():
        if case.input_price is not None:
            found = august.price(case.provider, case.model, case.quantities)
            if found is None or found.nano != nano_of(case):
                other.append((case.provider, case.model))
    assert other == [("aws", "openai.gpt-5.6-luna")] * 2


def test_the_page_counts_the_exceptions_as_the_tables_do() -> None:
    page = PAGE.read_text("utf-8").partition("## A ledger")[0]
    told = [int(count) for count in re.findall(r"^\| (\d+) \| ", page, re.MULTILINE)]
    kinds: Counter[str] = Counter()
    for row in FIGURES:
        kinds[row.kind] += row.cases
    figures = [kinds[kind] for kind in ("dated", "added", "corrected", "nameless")]
    assert told[1:] == figures
    # Of the differing readings 11 are counted with the figures: there both differ.
    assert told[0] == sum(READING.values()) - 11
    assert f"Of 850 prices {850 - sum(told)} are equal. The other {sum(told)}:" in page


def test_generated_bodies_cost_what_the_lists_say(book: PriceBook, tmp_path: Path) -> None:
    path = tmp_path / "bodies.json"
    path.write_text(json.dumps(generated(400)))
    outcome = compare(cases(path), book, None, DAY)
    assert (outcome.compared, outcome.equal, outcome.unexplained) == (400, 400, [])


def test_a_price_that_is_off_by_a_nano_is_found(book: PriceBook, tmp_path: Path) -> None:
    bodies = generated(20)
    wrong = bodies[7]["extracted"][0]["extractors"][0]
    wrong["output_price"] = str(Decimal(wrong["output_price"]) + Decimal("0.000000001"))
    path = tmp_path / "bodies.json"
    path.write_text(json.dumps(bodies))
    outcome = compare(cases(path), book, None, DAY)
    assert outcome.equal == 19
    assert [text.split(":")[0] for text in outcome.unexplained] == ["7"]


def generated(number: int) -> list[dict[str, Any]]:
    """Bodies in the shape of the real set, priced by `LISTED` in Decimals."""
    pick = random.Random(11)
    made = []
    for _ in range(number):
        (provider, flavour, model), usd = pick.choice(list(LISTED.items()))
        fresh, cached, output = (pick.randrange(1, limit) for limit in (90_000, 30_000, 9_000))
        if provider == "openai":
            usage: dict[str, Any] = {
                "prompt_tokens": fresh + cached,
                "completion_tokens": output,
                "total_tokens": fresh + cached + output,
                "prompt_tokens_details": {"cached_tokens": cached},
            }
        else:
            usage = {
                "input_tokens": fresh,
                "cache_read_input_tokens": cached,
                "output_tokens": output,
            }
        read, hit, sent = (Decimal(text) / 1_000_000 for text in usd)
        made.append(
            {
                "model": model,
                "body": {"model": model, "usage": usage},
                "extracted": [
                    {
                        "usage": {
                            "input_tokens": fresh + cached,
                            "cache_read_tokens": cached,
                            "output_tokens": output,
                        },
                        "extractors": [
                            {
                                "provider_id": provider,
                                "api_flavor": flavour,
                                "input_price": f"{fresh * read + cached * hit:f}",
                                "output_price": f"{output * sent:f}",
                            }
                        ],
                    }
                ],
            }
        )
    return made
