"""Spend that is not as expected: found by the hour, stored, shown, acknowledged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from costmeter.cli import anomalies as cli
from costmeter.cli import main
from costmeter.config import Config, Ledger
from costmeter.config.budgets import Budget, Budgets, Planned
from costmeter.config.schema import Prices
from costmeter.engine import anomaly_documents as stored
from costmeter.engine.replica import Replica
from costmeter.engine.service import Service
from costmeter.ledger.store import open_for_reading
from costmeter.model import NANO_PER_USD, Labels, Posting, Snapshot
from fakes.clock import FakeClock
from faults.ledgers import PRICES, usage

USD, HOUR, DAY = NANO_PER_USD, 3_600_000, 86_400_000
BEGIN = int(datetime(2025, 6, 2, tzinfo=UTC).timestamp()) * 1_000
Capture = pytest.CaptureFixture[str]


class Stage:
    """An exporter whose hours a test plays: acme spends 4 USD an hour, bolt 1."""

    def __init__(self, folder: Path, budgets: Budgets | None = None) -> None:
        self.path = folder / "ledger.db"
        (folder / "own.yml").write_text(PRICES)
        self.clock = FakeClock(BEGIN)
        self.config = Config(
            ledger=Ledger(path=self.path),
            prices=Prices(files=(folder / "own.yml",)),
            budgets=budgets or Budgets(),
        )
        self.service = Service(self.config, self.clock)
        self.service.writer.start()
        self.number = 0

    def hours(self, count: int, *, bolt: float = 1.0, acme: float = 4.0) -> None:
        for _ in range(count):
            self.hour(bolt, acme)
            self.clock.advance(hours=1)

    def hour(self, bolt: float, acme: float) -> None:
        now_ms = self.clock.now_ms()
        wobble = 1 + self.number % 7 / 100
        for tenant, usd in (("acme", acme), ("bolt", bolt)):
            self.call(usd * wobble, tenant_id=tenant, at_ms=now_ms)

    def call(self, usd: float, *, at_ms: int | None = None, **labels: str) -> None:
        self.number += 1
        at_ms = self.clock.now_ms() if at_ms is None else at_ms
        one = usage(self.number, at_ms, tokens=round(usd * 400_000), **labels)
        self.service.writer.submit([one]).result()

    def bill(self, day_ms: int, usd: int) -> None:
        labels = Labels("acme", "storage", "", "cloud", "", "", "", "prod", "", "", "", "", "")
        posting = Posting(f"bill-{day_ms}", day_ms, "bill", labels, usd * USD)
        booking = self.service.writer.booking
        self.service.writer.run(lambda: booking.post([posting])).result()

    def look(self) -> str:
        """In an ordinary hour: the last one's calls have a quarter of it to come in."""
        self.hour(1, 4)
        self.clock.advance(minutes=20)
        try:
            return self.service.run_job("anomalies")
        finally:
            self.clock.advance(minutes=40)

    def shown(self) -> Snapshot:
        self.service.writer.run(lambda: None).result()
        self.service._publisher.assess()
        self.service._publisher.refresh()
        found = self.service._publisher.snapshot()
        assert found is not None
        return found

    def open(self) -> set[tuple[str, ...]]:
        return {labels for labels, _ in self.shown().samples("llm_cost_anomaly_usd")}

    def end(self) -> None:
        self.service.writer.close()
        self.service.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    found = Stage(tmp_path)
    yield found
    found.end()


def ask(stage: Stage, capsys: Capture, *words: str) -> tuple[int, str]:
    code = main(["anomalies", *words, "--ledger.path", str(stage.path)])
    said = capsys.readouterr()
    assert said.err == ""
    return code, said.out


def test_a_runaway_tenant_is_found_explained_and_acknowledged(
    stage: Stage, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "wall_ms", stage.clock.now_ms)
    stage.hours(10 * 24)
    assert stage.look() == "done"
    assert stage.open() == set()
    assert ask(stage, capsys) == (0, "all spend was as expected\n")
    days = dict(stage.shown().samples("llm_cost_actual"))
    assert days["tenant_id", "bolt"] == pytest.approx(24 * 1.03 * USD, rel=0.02)
    expected = dict(stage.shown().samples("llm_cost_expected"))
    assert expected["tenant_id", "bolt", "mean"] == pytest.approx(24 * USD, rel=0.1)

    stage.hours(3, bolt=40)
    assert stage.look().endswith("anomalies raised")
    found = stage.open()
    assert ("tenant_id", "bolt", "point", "up") in found
    assert ("ledger", "", "point", "up") in found
    assert not [labels for labels in found if labels[1] == "acme"]
    sizes = dict(stage.shown().samples("llm_cost_anomaly_usd"))
    size = sizes["tenant_id", "bolt", "point", "up"]
    assert size == pytest.approx(3 * 39 * USD, rel=0.05)
    # A second look finds the same incidents, not more.
    assert stage.look() == "done"
    assert stage.open() == found

    code, text = ask(stage, capsys, "--json")
    assert code == 1
    listed = {(one["dimension"], one["value"]): one for one in json.loads(text)}
    assert "tenant_id=bolt" in listed["ledger", ""]["explained_by"]
    for one in listed.values():
        code, text = ask(stage, capsys, "--acknowledge", one["id"], "--who", "ann")
        assert (code, text) == (0, f"{one['id']} is acknowledged by ann\n")
    assert stage.open() == set()
    code, text = ask(stage, capsys)
    assert code == 0
    assert "known to ann" in text


def test_another_exporter_and_the_next_process_show_the_same(stage: Stage) -> None:
    stage.hours(9 * 24)
    stage.hours(2, bolt=40)
    stage.look()
    found = stage.open()
    assert found
    replica = Replica(stage.config, stage.clock)
    replica._publisher.refresh()
    shown = replica._publisher.snapshot()
    assert shown is not None
    assert {labels for labels, _ in shown.samples("llm_cost_anomaly_usd")} == found
    replica.stop()
    stage.end()
    stage.service = Service(stage.config, stage.clock)
    stage.service.writer.start()
    assert stage.open() == found
    assert stage.look() == "done"
    stage.clock.advance(days=3)
    assert stage.open() == set(), "nobody is shown what nobody looked at for days"


def test_declared_spend_alarms_nobody(tmp_path: Path) -> None:
    planned = Planned(name="training", amount_nano=200 * USD, at="2025-06-12T00:00", hours=6)
    bolt = Budget(name="bolt", limit_nano=900 * USD, tenant_id="bolt", planned=(planned,))
    stage = Stage(tmp_path, Budgets(items=(bolt,)))
    try:
        stage.hours(10 * 24)
        stage.hours(3, bolt=40)
        stage.look()
        # The provider and the model have no budget: it is a surprise to those who watch them.
        assert {labels[0] for labels in stage.open()} == {"category", "provider", "model"}
    finally:
        stage.end()


def test_late_bills_and_the_first_week_alarm_nobody(stage: Stage) -> None:
    stage.hours(3, bolt=40)
    stage.hours(24 * 5)
    assert stage.look() == "done"
    stage.hours(24 * 6 - 4)
    today = stage.clock.now_ms() // DAY * DAY
    for back in range(9, 1, -1):
        stage.bill(today - back * DAY, 500)
    assert stage.look() == "done"
    assert stage.open() == set()


def test_an_impossible_amount_is_named_within_a_minute_until_it_is_put_right(
    stage: Stage, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cli, "wall_ms", stage.clock.now_ms)
    stage.hours(2)
    assert stage.service.run_job("plausibility") == "done"
    # Somebody wrote a price for a thousand tokens into a file that is for a million.
    (tmp_path / "wrong.yml").write_text(PRICES.replace("input: 2.5", "input: 2500000"))
    writer = stage.service.writer
    right = writer.booking.prices
    wrong = Service(
        Config(
            ledger=Ledger(path=tmp_path / "other.db"),
            prices=Prices(files=(tmp_path / "wrong.yml",)),
        ),
        stage.clock,
    )
    writer.booking.prices = wrong.writer.booking.prices
    stage.call(0.025, tenant_id="bolt")
    writer.booking.prices = right
    wrong.writer.start()
    wrong.writer.close()
    wrong.close()
    assert stage.service.run_job("plausibility") == "1 records with amounts that cannot be right"
    assert stage.service.run_job("plausibility") == "done"
    shown = stage.shown()
    assert dict(shown.samples("llm_implausible_price_usd")) == {("test", "priced"): 25_000 * USD}
    assert dict(shown.samples("llm_implausible_price_calls")) == {("test", "priced"): 1}
    code, text = ask(stage, capsys)
    assert code == 1
    assert "test/priced" in text
    assert "the dearest known service would take" in text
    found = open_for_reading(stage.path)
    (one,) = stored.implausible(found.connection)
    found.close()
    assert one.open
    code, text = ask(stage, capsys, "--acknowledge", one.id, "--who", "ann")
    assert code == 0
    assert not dict(stage.shown().samples("llm_implausible_price_usd"))
