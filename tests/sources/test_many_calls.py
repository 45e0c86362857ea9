"""Buckets of a provider are sums over many calls: how many, and of which size."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.anthropic_admin import AnthropicAdmin, tokens
from fakes.openai_admin import OpenAIAdmin, completions
from fakes.reports import Reports, serving
from faults.ledgers import prices
from sources.rig import HOUR, TODAY, Rig, running, settings

#: A cliff at 200,000 input tokens of a call.
TIERED = """
prices:
  - provider: "*"
    model: "*"
    source: test
    usd_per_million: {input: 2, cache_read: 1, output: 8}
    tiers:
      - {above_input_tokens: 200000, usd_per_million: {input: 4, output: 16}}
"""
SMALL, LARGE = 2_000, 4_000


@pytest.fixture(params=[OpenAIAdmin, AnthropicAdmin])
def fake(request: pytest.FixtureRequest) -> Iterator[Reports]:
    with serving(request.param()) as served:
        yield served


def of(fake: Reports, folder: Path) -> Iterator[Rig]:
    kind = "openai" if isinstance(fake, OpenAIAdmin) else "anthropic"
    path = "/v1" if kind == "openai" else ""
    options = {"usage": "completions"} if kind == "openai" else {}
    rig = running(folder, kind, settings(fake, path=path, options=options))
    book = prices(folder, TIERED)

    def priced() -> Iterator[Rig]:
        with rig as found:
            found.ledger.booking.prices = book
            yield found

    return priced()


def requests(rig: Rig) -> int:
    """Calls in the journal: what the counter is made of."""
    row = rig.ledger.store.connection.execute("SELECT sum(requests) FROM cell").fetchone()
    return int(row[0])


def say(fake: Reports, hour: int, count: int, calls: int, window: str = "0-200k") -> None:
    """The provider's bucket of that hour: so many tokens of so many calls."""
    at = TODAY + hour * HOUR
    if isinstance(fake, OpenAIAdmin):
        rows = fake.usage.setdefault("completions", [])
        row = completions(input_tokens=count, num_model_requests=calls)
        place = next((n for n, one in enumerate(rows) if one[0] == at), None)
    else:
        assert isinstance(fake, AnthropicAdmin)
        rows = fake.messages
        row = tokens(uncached_input_tokens=count, context_window=window)
        place = next(
            (n for n, one in enumerate(rows) if (one[0], one[1]["context_window"]) == (at, window)),
            None,
        )
    if place is None:
        rows.append((at, row))
    else:
        rows[place] = (at, row)


def test_a_bucket_of_small_calls_is_no_large_call(fake: Reports, tmp_path: Path) -> None:
    for rig in of(fake, tmp_path):
        say(fake, 0, 10_000_000, 10_000)
        rig.poll()
        assert rig.cost() == 10_000_000 * SMALL
        # Anthropic does not count its calls: unknown is not one.
        assert requests(rig) == (10_000 if isinstance(fake, OpenAIAdmin) else 0)


def test_large_calls_cost_what_large_calls_cost(fake: Reports, tmp_path: Path) -> None:
    for rig in of(fake, tmp_path):
        say(fake, 0, 900_000, 3, window="200k-1M")
        rig.poll()
        assert rig.cost() == 900_000 * LARGE


def test_calls_are_counted_once_whatever_is_restated(tmp_path: Path) -> None:
    rng = random.Random(3)
    with serving(OpenAIAdmin()) as fake:
        assert isinstance(fake, OpenAIAdmin)
        for rig in of(fake, tmp_path):
            known: dict[int, tuple[int, int]] = {}
            for _ in range(25):
                hour = rng.randrange(8)
                known[hour] = (rng.randrange(1, 90_000), rng.randrange(1, 50))
                say(fake, hour, *known[hour])
                rig.poll()
                rig.ledger.clock.advance(60)
            assert rig.booked("requests") == sum(calls for _, calls in known.values())
            assert requests(rig) == rig.booked("requests")
            assert rig.cost() == sum(count for count, _ in known.values()) * SMALL
            rig.poll()
            assert rig.booked("input") == sum(count for count, _ in known.values())
