"""Forecasts in the engine: made daily, stored, scored, exported, and gone on after failures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from costmeter.config import Config, Ledger
from costmeter.engine.forecast_documents import KIND, read
from costmeter.engine.forecasts import history, lag_of
from costmeter.engine.replica import Replica
from costmeter.engine.service import Service, run_once
from costmeter.ledger import documents
from costmeter.ledger.daily import Daily, Series
from costmeter.model import NANO_PER_USD, Labels, Posting, Snapshot
from fakes.clock import FakeClock

USD, HOUR, DAY = NANO_PER_USD, 3_600_000, 86_400_000
#: A Sunday, after which the month has sixteen more days.
NOW = int(datetime(2025, 6, 15, 2, 0, tzinfo=UTC).timestamp()) * 1_000


def ordinary(day_ms: int) -> int:
    """80 USD on weekdays and 30 on weekends, and a little that changes."""
    when = datetime.fromtimestamp(day_ms / 1_000, UTC)
    return ((30 if when.weekday() >= 5 else 80) + when.toordinal() * 7 % 5) * USD


def bill(day_ms: int, nano: int, **changes: str) -> Posting:
    labels = Labels(
        "acme", "llm_api", "inference", "test", "", "", "m", "prod", "search", "", "", "", ""
    )
    return Posting(f"{day_ms}-{changes}", day_ms, "bill", labels._replace(**changes), nano)


class Stage:
    def __init__(self, folder: Path, now_ms: int = NOW) -> None:
        self.clock = FakeClock(now_ms)
        self.config = Config(ledger=Ledger(path=folder / "ledger.db"))
        self.service = Service(self.config, self.clock)
        self.service.writer.start()

    def spend(self, days: int, *, end_ms: int = NOW - 2 * HOUR) -> None:
        for back in range(days, 0, -1):
            midnight = end_ms - back * DAY
            self.post(bill(midnight + 12 * HOUR, ordinary(midnight)))

    def post(self, posting: Posting) -> None:
        booking = self.service.writer.booking
        self.service.writer.run(lambda: booking.post([posting])).result()

    def shown(self) -> Snapshot:
        self.service.writer.run(lambda: None).result()
        self.service._publisher.assess()
        self.service._publisher.refresh()
        found = self.service._publisher.snapshot()
        assert found is not None
        return found

    def restart(self) -> None:
        self.end()
        self.service = Service(self.config, self.clock)
        self.service.writer.start()

    def end(self) -> None:
        self.service.writer.close()
        self.service.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    found = Stage(tmp_path)
    yield found
    found.end()


def costs(snapshot: Snapshot, *scope: str) -> dict[tuple[str, str], int]:
    return {
        (labels[2], labels[3]): value
        for labels, value in snapshot.samples("llm_forecast_cost")
        if labels[:2] == scope
    }


def test_a_month_of_forecasts_is_made_shown_and_scored(stage: Stage) -> None:
    stage.spend(90)
    assert not dict(stage.shown().samples("llm_forecast_cost"))
    assert stage.service.run_job("forecast") == "6 forecasts"
    first = costs(stage.shown(), "ledger", "")
    assert first == costs(stage.shown(), "team", "search")
    week = sum(ordinary(NOW - 2 * HOUR + ahead * DAY) for ahead in range(7))
    assert first["7d", "mean"] == pytest.approx(week, rel=0.05)
    assert first["7d", "lower95"] <= first["7d", "lower80"] <= first["7d", "mean"]
    sums = [first[f"{days}d", "mean"] for days in (1, 7, 14, 30, 90)]
    assert sums == sorted(sums)
    # One more ordinary day, many times: the month's end stays within its interval.
    before, misses = first, 0
    for _ in range(9):
        today = stage.clock.now_ms() - 2 * HOUR
        stage.clock.advance(DAY / 1_000 - 4 * 3_600)
        stage.post(bill(today + 12 * HOUR, ordinary(today)))
        stage.clock.advance(4 * 3_600)
        assert stage.service.run_job("forecast") == "6 forecasts"
        now = costs(stage.shown(), "ledger", "")
        inside = before["month_end", "lower95"] <= now["month_end", "mean"]
        misses += not (inside and now["month_end", "mean"] <= before["month_end", "upper95"])
        before = now
    assert misses == 0
    month = sum(ordinary(NOW - 2 * HOUR + ahead * DAY) for ahead in range(-14, 16))
    assert before["month_end", "mean"] == pytest.approx(month, rel=0.03)
    shown = stage.shown()
    errors = dict(shown.samples("llm_forecast_error_ratio"))
    assert errors["ledger", "", "1d"] < 100
    assert errors["ledger", "", "7d"] < 100
    coverage = dict(shown.samples("llm_forecast_interval_coverage"))
    assert 800 <= coverage["ledger", ""] <= 1_000
    made = dict(shown.samples("llm_forecast_made_timestamp_seconds"))
    assert made == {(): stage.clock.now_ms()}


def test_a_replica_and_a_restart_show_the_same(stage: Stage) -> None:
    stage.spend(40)
    stage.service.run_job("forecast")
    expected = sorted(stage.shown().samples("llm_forecast_cost"))
    replica = Replica(stage.config, stage.clock)
    try:
        replica._publisher.refresh()
        snapshot = replica._publisher.snapshot()
        assert snapshot is not None
        assert sorted(snapshot.samples("llm_forecast_cost")) == expected
    finally:
        replica.stop()
    stage.restart()
    assert sorted(stage.shown().samples("llm_forecast_cost")) == expected
    assert len(expected) == 6 * 6 * 5


def test_without_history_there_is_no_figure(stage: Stage) -> None:
    assert stage.service.run_job("forecast") == "nothing was spent yet that could be forecast"
    assert not list(stage.shown().samples("llm_forecast_cost"))


def test_a_worker_that_is_stopped_leaves_the_old_forecast(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.spend(30)
    stage.service.run_job("forecast")
    before = sorted(stage.shown().samples("llm_forecast_cost"))
    stage.clock.advance(DAY / 1_000)
    # The worker is this interpreter: with a module that ends it at once it crashes.
    broken = stage.config.ledger.path.parent / "broken"
    (broken / "numpy").mkdir(parents=True)
    (broken / "numpy" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'numpy'\")"
    )
    monkeypatch.setenv("PYTHONPATH", str(broken))
    said = stage.service.run_job("forecast")
    assert said.startswith("failed: ")
    assert "pip install numpy" in said
    assert stage.service.tally.read()["costmeter_job_failures_total"] == {("forecast",): 1.0}
    shown = stage.shown()
    assert sorted(shown.samples("llm_forecast_cost")) == before
    assert dict(shown.samples("llm_forecast_made_timestamp_seconds")) == {(): NOW}
    # After a week nobody is shown it any more.
    stage.clock.advance(7 * DAY / 1_000)
    assert not list(stage.shown().samples("llm_forecast_cost"))


def test_it_is_not_stored_once_the_exporter_stops(stage: Stage) -> None:
    stage.spend(30)
    stage.service._forecasts.stop()
    assert "after its next start" in stage.service.run_job("forecast")
    reader = stage.service._store.reader()
    try:
        assert read(reader, 0) == []
    finally:
        reader.close()


def test_by_hand_on_a_ledger_that_nobody_runs(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.spend(20)
    stage.end()
    assert run_once(stage.config, stage.clock, "forecast") == "6 forecasts"


def test_bills_that_come_two_days_late_are_no_drop(tmp_path: Path) -> None:
    stage = Stage(tmp_path, now_ms=NOW - 60 * DAY)
    try:
        for back in range(60, -1, -1):
            day_ms = NOW - 2 * HOUR - (back + 2) * DAY
            stage.post(bill(day_ms, 100 * USD))
            if back:
                stage.clock.advance(DAY / 1_000)
        stage.service.run_job("forecast")
        found = costs(stage.shown(), "ledger", "")
        assert found["1d", "mean"] == pytest.approx(100 * USD, rel=0.02)
        # Days 1 to 13 are billed up to the 13th; two more have happened, and the rest is ahead.
        assert found["month_end", "mean"] == pytest.approx(30 * 100 * USD, rel=0.02)
    finally:
        stage.end()


def test_the_lag_is_learnt_from_when_amounts_were_booked() -> None:
    series = Series()
    for day in range(100):
        for age, nano in ((0, 50), (1, 30), (3, 20)):
            if day + age <= 100:
                series.add(day, age, nano * USD)
    daily = Daily("UTC", 100, 0, {("ledger", ""): series})
    assert lag_of(series, daily) == 3
    assert history(series, 100, 3, known=True)[-4:] == [100 * USD, 80 * USD, 80 * USD, 50 * USD]


def test_history_that_came_at_once_teaches_nothing() -> None:
    series = Series()
    for day in range(90, 101):
        series.add(day, 101 - day, USD)
    assert lag_of(series, Daily("UTC", 101, 101, {})) in (0, 1)


def test_old_documents_are_pruned(stage: Stage) -> None:
    stage.spend(20)
    stage.service.run_job("forecast")
    stage.clock.advance(91 * DAY / 1_000)
    stage.spend(5, end_ms=NOW - 2 * HOUR + 91 * DAY)
    stage.service.run_job("forecast")
    reader = stage.service._store.reader()
    try:
        assert len(documents.revisions(reader, KIND, "ledger:")) == 1
    finally:
        reader.close()
