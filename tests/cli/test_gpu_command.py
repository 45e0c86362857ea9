"""`costmeter gpu`: its totals are those of `costmeter cost`, split by state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from costmeter.cli import main
from costmeter.model import MS_PER_HOUR
from costmeter.segment import Owner, Placement, Segment, Share, segment_usages
from faults.ledgers import PRICES, Ledger, posting, usage

GPU = (
    "  - {provider: onprem, model: H100, source: test, usd_per_hour: {gpu: '2.99'}, "
    "own: {usd_per_kwh: 0.2, pue: 1.5}}\n"
)
STATES = ("used", "idle", "unallocated", "unobserved")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Half an hour of two owners and nobody, a card without a price, a bill, a call."""
    with Ledger(tmp_path, price_text=PRICES + GPU) as made:
        now = made.clock.now_ms()
        shares = (
            Share(Owner("acme", team="a"), used_ms=600_000, idle_ms=300_000, energy_mj=360_000_000),
            Share(Owner("beta", team="b"), used_ms=450_001, energy_mj=1_000),
            Share(unallocated_ms=400_000, energy_mj=5_000),
            Share(unobserved_ms=49_999),
        )
        for number, card in enumerate(("H100", "XPU-9")):
            segment = Segment(
                "r", number, now - now % MS_PER_HOUR, 1_800_000, f"GPU-{number}", card,
                Placement("onprem", node="n1"), shares,
            )  # fmt: skip
            made.book(*segment_usages(segment, "gpu"))
        made.book(usage(1, now))
        bill = posting(1, now, 7_000_000_000, provider="onprem")
        made.post(replace(bill, labels=bill.labels._replace(category="gpu_compute")))
        yield made


def ask(capsys: pytest.CaptureFixture[str], ledger: Ledger, *words: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    asked = [*words, "--since", "2025-11-01", "--until", "2025-12-01"]
    assert main([*asked, "--ledger.path", str(ledger.path), "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("by", ["tenant_id", "team,model", "", "provider", "day"])
def test_totals_are_those_of_cost(
    capsys: pytest.CaptureFixture[str], ledger: Ledger, by: str
) -> None:
    keys = [name for name in by.split(",") if name]
    cost = ask(capsys, ledger, "cost", "--by", by, "--where", "category=gpu_compute")
    gpu = ask(capsys, ledger, "gpu", "--by", by)
    assert [[row[key] for key in (*keys, "net_usd")] for row in gpu] == [
        [row[key] for key in (*keys, "net_usd")] for row in cost
    ]
    for row in gpu:
        parts = [row[f"{name}_usd"] for name in (*STATES, "energy", "other")]
        assert sum(map(Decimal, parts)) == Decimal(row["net_usd"])


def test_states_and_energy(capsys: pytest.CaptureFixture[str], ledger: Ledger) -> None:
    (row,) = ask(capsys, ledger, "gpu", "--by", "", "--where", "model=H100")
    assert [row[f"{name}_ms"] for name in STATES] == [1_050_001, 300_000, 400_000, 49_999]
    assert row["energy_mj"] == 360_006_000
    assert Decimal(row["energy_usd"]) == Decimal("0.030000500")
    assert Decimal(row["net_usd"]) - Decimal(row["energy_usd"]) == Decimal("1.495")
    (bill,) = ask(capsys, ledger, "gpu", "--by", "", "--where", "model=")
    assert (Decimal(bill["other_usd"]), bill["used_ms"]) == (7, 0)


def test_the_table(capsys: pytest.CaptureFixture[str], ledger: Ledger) -> None:
    words = ["gpu", "--since", "2025-11-01", "--ledger.path", str(ledger.path)]
    assert main(words) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].split() == [
        "tenant_id", "gpu_hours", "used_usd", "idle_usd", "unallocated_usd", "unobserved_usd",
        "energy_kwh", "energy_usd", "other_usd", "net_usd", "used_percent",
    ]  # fmt: skip
    assert lines[-1].split()[:3] == ["total", "1.00", "0.87"]
    assert "onprem/XPU-9" in shown.err
    assert main([*words, "--by", "nonsense"]) == 1
    assert "unknown dimension" in capsys.readouterr().err


def test_a_ledger_without_gpus(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(usage(1, ledger.clock.now_ms()))
        assert ask(capsys, ledger, "gpu") == []
