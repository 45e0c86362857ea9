"""Real calls through reader and ledger in one process, with retries mixed in, to the nano."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from costmeter.ingest.events import EventReader
from costmeter.ingest.owner import Caller
from costmeter.ingest.window import Window
from costmeter.ledger.door import Verdict
from costmeter.ledger.history import spend
from costmeter.ledger.terms import Terms
from costmeter.model import NANO_PER_USD
from e2e.trace import cost_usd, generate_trace, read_trace
from fakes.clock import FakeClock
from faults.ledgers import Ledger
from normalise.conformance import DATA
from realdata.marks import needs

TRACE = DATA / "llm" / "azure_2023_code.csv"

#: Of the second one, half a nano-USD a token, every other call has to be rounded.
_MODELS = (("openai", "gpt-4o-mini"), ("cohere", "command-r7b"))
_HOLD_MS = 300_000


@needs(TRACE)
def test_real_calls_add_up_to_the_nano(tmp_path: Path) -> None:
    assert play(TRACE, tmp_path) == 8_819


@pytest.mark.parametrize("seed", [1, 2])
def test_generated_calls_add_up_to_the_nano(tmp_path: Path, seed: int) -> None:
    trace = generate_trace(tmp_path / "trace.csv", 1_500, seed)
    assert play(trace, tmp_path) == 1_500


def test_no_total_is_right_by_chance(tmp_path: Path) -> None:
    # One token fewer than was sent must show in every comparison below.
    events = events_of(generate_trace(tmp_path / "trace.csv", 50))
    whole = totals(events)
    events[7]["tokens"]["input"] -= 1
    less = totals(events)
    assert [one != other for one, other in zip(whole, less, strict=True)] == [True, True, False]


def play(trace: Path, folder: Path) -> int:
    """Books every call, compares every total, and returns how many calls there were."""
    events = events_of(trace)
    pick = random.Random(3)
    reader = EventReader(Window())
    clock = FakeClock(stamp_ms(events[0]) - 60_000)
    verdicts: Counter[Verdict] = Counter()
    with Ledger(folder, clock, Terms(birth_hold_ms=_HOLD_MS), price_text="") as ledger:
        for batch in batches(events, pick):
            now = max(stamp_ms(event) for event in batch)
            clock.advance(max(0, now - clock.now_ms()) / 1_000)
            body = json.dumps(batch).encode()
            for _ in range(pick.choice([1, 1, 1, 2])):  # an answer that was lost on its way
                read = reader.read(body, Caller("http"), clock.now_ms())
                assert not read.rejections
                verdicts.update(ledger.book(*read.items))
        assert verdicts[Verdict.ACCEPTED] == len(events)
        assert verdicts[Verdict.DUPLICATE] > len(events) / 10
        clock.advance(seconds=_HOLD_MS / 1_000)
        ledger.tick()
        compare(ledger, events)
        ledger.restart()
        compare(ledger, events)
    return len(events)


def compare(ledger: Ledger, events: Sequence[dict[str, Any]]) -> None:
    cost, tokens, requests = totals(events)
    nano = {model: int(usd * NANO_PER_USD) for model, usd in cost.items()}
    assert {row.group[0]: row.up for row in spend(ledger.store.connection, ["model"])} == nano
    families = {name: ledger.family(name) for name in ("llm_cost_total", "llm_cost_month_to_date")}
    for shown in families.values():
        assert sum_by(shown, [model for _, model in _MODELS]) == nano
    assert sum_by(ledger.family("llm_requests_total"), list(requests)) == requests
    shown = ledger.family("llm_tokens_total")
    for (model, name), count in tokens.items():
        assert sum(n for own, n in shown.items() if {model, name} <= set(own)) == count
    assert sum(shown.values()) == sum(tokens.values())


def totals(
    events: Sequence[dict[str, Any]],
) -> tuple[dict[str, Decimal], Counter[tuple[str, str]], Counter[str]]:
    """Cost, tokens and calls, from the public prices in Decimals and nothing of ours."""
    cost = {model: Decimal(0) for _, model in _MODELS}
    tokens: Counter[tuple[str, str]] = Counter()
    requests: Counter[str] = Counter()
    for event in events:
        cost[event["model"]] += cost_usd(event)
        requests[event["model"]] += 1
        for name, count in event["tokens"].items():
            tokens[event["model"], name] += count
    return cost, tokens, requests


def sum_by(shown: Any, models: Sequence[str]) -> dict[str, int]:
    return {
        model: sum(value for labels, value in shown.items() if model in labels) for model in models
    }


def events_of(trace: Path) -> list[dict[str, Any]]:
    events = []
    for number, row in enumerate(read_trace(trace)):
        provider, model = _MODELS[number % 2]
        at = datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC)
        event = {
            "request_id": f"r-{number}",
            "timestamp": at.isoformat(timespec="milliseconds"),
            "provider": provider,
            "model": model,
            "tokens": {"input": int(row["ContextTokens"]), "output": int(row["GeneratedTokens"])},
        }
        if number % 3 == 0:
            event["response_id"] = f"answer-{number}"
        events.append(event)
    return events


def batches(events: list[dict[str, Any]], pick: random.Random) -> Iterator[list[dict[str, Any]]]:
    """Batches of all sizes; a tenth of each was sent before, some within the batch."""
    start = 0
    while start < len(events):
        end = start + pick.randrange(1, 400)
        batch = events[start:end]
        batch += pick.choices(events[: min(end, len(events))], k=len(batch) // 10)
        pick.shuffle(batch)
        yield batch
        start = end


def stamp_ms(event: dict[str, Any]) -> int:
    return round(datetime.fromisoformat(event["timestamp"]).timestamp() * 1_000)
