"""What a million tokens of a self-hosted model costs, from a real ledger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from costmeter.config.loader import load_config
from costmeter.config.problems import ConfigError
from costmeter.config.serving import ServedModel
from costmeter.engine.serving import COST, ENERGY, REQUESTS, ServingCosts
from costmeter.segment import Owner, Placement, Segment, Share, segment_usages
from faults.ledgers import HOUR, Ledger, usage

PRICES = """
prices:
  - {provider: onprem, model: H100, source: test, purchase: on_demand, usd_per_hour: {gpu: '3.60'}}
  - {provider: vllm, model: chat, source: test, free: true}
"""
CHAT = ServedModel(model="chat", provider="vllm", project="chat", purpose="inference")
LABELS = ("vllm", "chat", "", "")


def hold(ledger: Ledger, number: int, start_ms: int, model: str = "H100", **owner: str) -> None:
    """Ten minutes of a GPU: six used, three idle, one for nobody; 400 W."""
    mine = Owner(**{"tenant_id": "acme", "project": "chat", "purpose": "inference", **owner})
    shares = (
        Share(mine, used_ms=360_000, energy_mj=200_000_000),
        Share(mine, idle_ms=180_000, energy_mj=40_000_000),
        Share(unallocated_ms=60_000),
    )
    segment = Segment(
        "run", number, start_ms, 600_000, f"GPU-{number}", model, Placement("onprem"), shares
    )
    ledger.book(*segment_usages(segment, "gpu"))


def call(ledger: Ledger, number: int, tokens: int, at_ms: int, **labels: str) -> None:
    named = {"provider": "vllm", "model": "chat", **labels}
    ledger.book(usage(number, at_ms, tokens=tokens, **named))


def figures(ledger: Ledger, *models: ServedModel) -> dict[str, dict[tuple[str, ...], float]]:
    (job,) = ServingCosts(models, ledger.store, ledger.clock, ledger.tally).jobs()
    assert job.work() == ""
    read = ledger.tally.read()
    return {name: dict(read.get(name, {})) for name in (COST, ENERGY, REQUESTS)}


def test_both_bases_energy_and_requests(tmp_path: Path) -> None:
    with Ledger(tmp_path, price_text=PRICES) as ledger:
        at_ms = ledger.clock.now_ms() // HOUR * HOUR - 2 * HOUR
        for number in range(4):
            hold(ledger, number, at_ms)
        hold(ledger, 9, at_ms, purpose="training")
        for number in range(30):
            call(ledger, number, 100_000, at_ms, tenant_id=("a", "b")[number % 2])
        call(ledger, 100, 10**9, at_ms, model="another")
        call(ledger, 101, 10**9, at_ms - 48 * HOUR)
        # Four GPUs of nine minutes at 3.60 USD an hour for three million tokens.
        assert figures(ledger, CHAT) == {
            COST: {(*LABELS, "allocation"): 0.72, (*LABELS, "usage"): 0.48},
            ENERGY: {LABELS: 4 * 240_000 / 3_000_000},
            REQUESTS: {LABELS: 30 / (4 * 9 / 60)},
        }


def test_what_is_not_known_is_absent_and_goes_again(tmp_path: Path) -> None:
    with Ledger(tmp_path, price_text=PRICES) as ledger:
        nothing: dict[str, dict[tuple[str, ...], float]] = {COST: {}, ENERGY: {}, REQUESTS: {}}
        assert figures(ledger, CHAT) == nothing
        at_ms = ledger.clock.now_ms() - HOUR
        call(ledger, 1, 500, at_ms)
        assert figures(ledger, CHAT) == nothing
        hold(ledger, 1, at_ms)
        assert set(figures(ledger, CHAT)[COST]) == {(*LABELS, "allocation"), (*LABELS, "usage")}
        hold(ledger, 2, at_ms, model="of nobody's list")
        found = figures(ledger, CHAT)
        assert found[COST] == {}
        assert found[REQUESTS] == {LABELS: 1 / 0.3}
        ledger.clock.advance(days=2)
        assert figures(ledger, CHAT) == nothing


def test_an_environment_narrows_calls_and_gpus(tmp_path: Path) -> None:
    with Ledger(tmp_path, price_text=PRICES) as ledger:
        at_ms = ledger.clock.now_ms() // HOUR * HOUR - 2 * HOUR
        for number, name in enumerate(("prod", "staging")):
            hold(ledger, number, at_ms, environment=name)
            call(ledger, number, 100_000 * (1 + 9 * number), at_ms, environment=name)
        prod, staging = (replace(CHAT, environment=name) for name in ("prod", "staging"))
        found = figures(ledger, prod, staging)[COST]
        # Nine minutes of a GPU at 3.60 USD an hour, for 100,000 tokens and for a million.
        assert found["vllm", "chat", "", "prod", "allocation"] == 5.4
        assert found["vllm", "chat", "", "staging", "allocation"] == 0.54


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{model: a, team: x}, {model: a, team: y}", "count the same calls"),
        ("{model: a, tenant_id: x}, {model: a, tenant_id: y}", "count the same calls"),
        ("{model: a, team: x}, {model: a, provider: p, team: y}", "count the same calls"),
        ("{model: a, project: x}, {model: b, project: x}", "same GPUs as 'a'"),
        ("{model: a, project: x, team: t}, {model: b, project: x}", "same GPUs as 'a'"),
        ("{model: a, project: x}, {model: b}", "no GPUs of its own"),
    ],
)
def test_entries_that_would_count_twice_are_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "c.yml"
    file.write_text(f"serving: [{text}]\n")
    with pytest.raises(ConfigError, match=says):
        load_config(file, {})


@pytest.mark.parametrize(
    "text",
    [
        "{model: a}",
        "{model: a, team: x}, {model: b, team: y}",
        "{model: a, environment: prod}, {model: a, environment: staging}",
        "{model: a, provider: p, team: x}, {model: a, provider: q, team: y}",
    ],
)
def test_entries_that_are_told_apart_are_taken(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.yml"
    file.write_text(f"serving: [{text}]\n")
    assert len(load_config(file, {}).serving) == text.count("{")
