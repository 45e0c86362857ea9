"""Budgets in the engine: the library, alert history, projections, and the Alertmanager."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from costmeter.engine import budgets
from costmeter.engine.alertmanager import Alertmanager as Sender
from costmeter.ledger.budget_alerts import acknowledge, history
from costmeter.ledger.budget_store import BudgetError, BudgetStore
from costmeter.ledger.terms import Terms
from costmeter.ledger.upkeep import apply_budgets, moment_of
from costmeter.ledger.writer import Writer
from costmeter.model import Budget, Contact, Planned
from costmeter.pricing.exchange import DayRate, Exchange
from costmeter.tally import Tally
from engine.budget_stage import USD, Stage, at
from fakes.alertmanager import Alertmanager, Webhook
from fakes.clock import FakeClock
from faults.ledgers import DAY, HOUR, Ledger, posting, usage

PAID = 2_500_000_000


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    found = Stage(tmp_path, Budget("b", 100 * USD))
    yield found
    found.end()


def test_each_crossing_is_told_once(stage: Stage) -> None:
    stage.spend(79 * USD)
    assert stage.look() == []
    stage.spend(1 * USD)
    assert stage.look() == [("b", "warning")]
    assert stage.look() == []
    stage.spend(21 * USD)
    assert stage.look() == [("b", "critical"), ("b", "exceeded")]


def test_a_restatement_down_and_up_again_tells_nothing_twice(stage: Stage) -> None:
    stage.spend(85 * USD)
    assert stage.look() == [("b", "warning")]
    stage.ledger.clock.advance(minutes=20)
    stage.spend(-20 * USD)
    assert stage.look() == []
    stage.ledger.clock.advance(minutes=20)
    stage.spend(20 * USD)
    assert stage.look() == []


def test_a_restart_and_another_watcher_tell_nothing_twice(stage: Stage) -> None:
    stage.spend(85 * USD)
    assert stage.look() == [("b", "warning")]
    stage.reader.close()
    stage.ledger.restart()
    stage.begin()
    assert stage.look() == []


def test_the_next_period_begins_with_a_clean_sheet(stage: Stage) -> None:
    stage.spend(85 * USD)
    assert stage.look() == [("b", "warning")]
    stage.ledger.clock.advance(days=30)
    stage.spend(85 * USD)
    assert stage.look() == [("b", "warning")]


def test_a_higher_limit_is_another_amount_to_cross(stage: Stage) -> None:
    stage.spend(101 * USD)
    assert len(stage.look()) == 3
    stage.ledger.do(lambda: apply_budgets(stage.ledger.booking, [Budget("b", 120 * USD)]))
    assert stage.look() == [("b", "warning")]
    stage.ledger.do(lambda: apply_budgets(stage.ledger.booking, [Budget("b", 100 * USD)]))
    assert stage.look() == [], "the old limit was crossed before"


def test_a_projection_is_told_when_it_has_held_for_an_hour(stage: Stage) -> None:
    stage.spend(30 * USD)
    assert stage.look() == []
    stage.ledger.clock.advance(minutes=59)
    assert stage.look() == []
    stage.ledger.clock.advance(minutes=2)
    assert stage.look() == [("b", "projected")]


def test_a_budget_of_nothing_is_exceeded_by_anything(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Budget("none", 0))
    assert stage.look() == []
    stage.spend(1)
    assert stage.look() == [("none", "warning"), ("none", "critical"), ("none", "exceeded")]
    stage.end()


def test_acknowledgements_are_kept_beside_the_alert(stage: Stage) -> None:
    stage.spend(85 * USD)
    stage.look()
    (entry,) = history(stage.reader)
    connection = stage.ledger.booking.connection
    stage.ledger.do(lambda: acknowledge(connection, entry.alert, "ann", "on it", 5))
    stage.ledger.do(lambda: acknowledge(connection, entry.alert, "bob", "done", 5))
    (entry,) = history(stage.reader, name="b")
    assert [(one.who, one.note) for one in entry.answers] == [("ann", "on it"), ("bob", "done")]
    with pytest.raises(ValueError, match="there is no alert 99"):
        acknowledge(connection, 99, "ann", "", 5)
    assert list(history(stage.reader, name="other")) == []


def test_rollover_carries_what_is_left_up_to_its_cap(tmp_path: Path) -> None:
    day = Budget("d", 10 * USD, period="day", rollover=True, rollover_nano=12 * USD)
    stage = Stage(tmp_path, day)

    def limit() -> int:
        stage.look()
        return budgets.status(stage.reader, "d", stage.ledger.clock.now_ms()).limit

    stage.spend(4 * USD)
    assert limit() == 10 * USD
    for expected in (16, 22, 22):
        stage.ledger.clock.advance(days=1)
        assert limit() == expected * USD
        assert stage.watch.statuses(stage.watch.exported())[0].limit == expected * USD
    stage.spend(30 * USD)
    stage.ledger.clock.advance(days=1)
    assert limit() == 10 * USD
    stage.ledger.post(posting("late", stage.ledger.clock.now_ms() - DAY, -20 * USD))
    assert limit() == 22 * USD, "a restated day leaves something after all"
    stage.end()


def test_another_currency_is_converted_with_the_rate_of_the_day(tmp_path: Path) -> None:
    day = at(2025, 11, 10) // DAY
    rates = Exchange([DayRate(day, "EUR", 2), DayRate(day + 1, "EUR", 3)])  # type: ignore[arg-type]
    stage = Stage(tmp_path, Budget("e", 10 * USD, currency="EUR"), exchange=rates)
    stage.spend(5 * USD)
    for limit in (20, 30):
        stage.look()
        (status,) = stage.watch.statuses(stage.watch.exported())
        assert (status.limit, status.budget.limit_nano) == (limit * USD, 10 * USD)
        stage.ledger.clock.advance(days=1)
    stage.ledger.clock.advance(days=30)
    stage.look()
    assert stage.watch.statuses(stage.watch.exported()) == [], "no rate is no limit, not 0"
    stage.end()


def test_planned_spend_is_in_the_projection_and_out_of_the_rate(tmp_path: Path) -> None:
    plan = (Planned("job", 20 * USD, "2025-11-12T02:00", 6),)
    stage = Stage(tmp_path, Budget("p", 100 * USD, planned=plan), Budget("q", 100 * USD))
    for _ in range(48):
        stage.spend(USD // 24)
        stage.ledger.clock.advance(hours=1)
    stage.look()
    planned, plain = stage.watch.statuses(stage.watch.exported())
    assert planned.forecast == plain.forecast + 20 * USD
    assert (planned.plans.begun, planned.plans.open) == (0, 0)
    stage.ledger.clock.advance(hours=3)
    stage.look()
    planned, _ = stage.watch.statuses(stage.watch.exported())
    assert (planned.plans.begun, planned.plans.open) == (20 * USD, 20 * USD)
    stage.spend(20 * USD)
    stage.ledger.clock.advance(hours=6)
    stage.look()
    after, plain = stage.watch.statuses(stage.watch.exported())
    assert (after.plans.begun, after.plans.open, after.plans.left) == (20 * USD, 0, 0)
    # About a dollar a day for the 18 days that are left; the other one takes the job for a rate.
    assert 37 * USD < after.forecast < 43 * USD
    assert plain.forecast > 100 * USD
    stage.end()


def test_a_stored_forecast_takes_the_projections_place(stage: Stage) -> None:
    stage.spend(30 * USD)
    body = {"end_ms": at(2025, 12, 1), "total_nano": 60 * USD, "low_nano": 50 * USD,
            "high_nano": 70 * USD}  # fmt: skip
    now_ms = stage.ledger.clock.now_ms()
    stage.ledger.do(
        lambda: stage.ledger.booking.connection.execute(
            "INSERT INTO document VALUES (0, 'forecast', 'budget:b', 1, ?, ?)",
            (now_ms, json.dumps(body)),
        )
    )
    stage.look()
    (status,) = stage.watch.statuses(stage.watch.exported())
    assert (status.forecast, status.low, status.high) == (60 * USD, 50 * USD, 70 * USD)
    assert status.from_forecast
    stage.ledger.clock.advance(days=2)
    stage.look()
    assert not stage.watch.statuses(stage.watch.exported())[0].from_forecast, "it is too old"


def test_the_library_makes_changes_and_removes_budgets(tmp_path: Path) -> None:
    with Ledger(tmp_path, FakeClock(at(2025, 11, 10)), Terms(birth_hold_ms=0)) as ledger:
        ledger.book(usage(1, ledger.clock.now_ms()))
        writer = Writer(ledger.booking, Tally())
        writer.start()
        reader = ledger.store.reader()
        try:
            budgets.create(writer, [Budget("n", 5 * USD, (("tenant_id", "acme"),))])
            now_ms = ledger.clock.now_ms()
            assert budgets.status(reader, "n", now_ms).spent == PAID
            with pytest.raises(BudgetError, match="exists"):
                budgets.create(writer, [Budget("n", 1)])
            budgets.change(writer, Budget("n", 3 * USD, (("tenant_id", "acme"),)))
            assert budgets.status(reader, "n", now_ms).level == "warning"
            when, low, high = budgets.exhaustion(reader, "n", now_ms)
            assert when is not None
            assert (low, high) == (None, None), "an hour of spend has no interval"
            assert budgets.history(reader, "n", now_ms + 40 * DAY)[0][2:] == (PAID, 3 * USD)
            budgets.remove(writer, "n")
            with pytest.raises(BudgetError, match="there is no budget 'n'"):
                budgets.status(reader, "n", now_ms)
            with pytest.raises(BudgetError, match="there is no budget"):
                budgets.remove(writer, "n")
        finally:
            writer.close()
            reader.close()


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (Budget("a b", 1), "its name"), (Budget("a", -1), "its limit"),
        (Budget("a", 1, (("colour", "red"),)), "'colour' is no label"),
        (Budget("a", 1, period="decade"), "its period"), (Budget("a", 1, period="custom"), "start"),
        (Budget("a", 1, timezone="Asia/Kolkata"), "full hour"),
        (Budget("a", 1, timezone="Moon/Base"), "Moon"),
        (Budget("a", 1, warning_permille=950), "thresholds"),
        (Budget("a", 1, planned=(Planned("p", 1, "tomorrow"),)), "planned 'p'"),
        (Budget("a", 1, notify=(Contact("x", level="loud"),)), "level"),
    ],
)  # fmt: skip
def test_a_budget_that_cannot_be_is_refused(tmp_path: Path, budget: Budget, reason: str) -> None:
    with Ledger(tmp_path) as ledger:
        writer = Writer(ledger.booking, Tally())
        with pytest.raises(BudgetError, match=reason):
            budgets.create(writer, [budget])


def test_a_budget_of_the_configuration_is_changed_there(stage: Stage) -> None:
    store = BudgetStore(stage.ledger.booking.connection, stage.ledger.booking.budgets)
    booking = stage.ledger.booking
    with pytest.raises(BudgetError, match="in the configuration file"):
        stage.ledger.do(lambda: store.change(Budget("b", 1), moment_of(booking)))


def test_alerts_wait_and_end_as_the_rules_do(stage: Stage) -> None:
    stage.spend(101 * USD)
    names = []
    for _ in range(12):
        stage.look(exported=set())
        names.append([one.body["labels"]["alertname"] for one in stage.alarms.alerts()])
        stage.ledger.clock.advance(minutes=1)
    assert names == [[]] * 5 + [["BudgetExceeded"]] * 7
    stage.spend(-90 * USD)
    ended = []
    for _ in range(14):
        stage.look(exported=set())
        ended.append([one.ended for one in stage.alarms.alerts()
                      if one.body["labels"]["alertname"] == "BudgetExceeded"])  # fmt: skip
        stage.ledger.clock.advance(minutes=1)
    assert ended.count([True]) == 1
    assert ended[-1] == []


def test_an_absent_alertmanager_is_a_metric(stage: Stage) -> None:
    tally = Tally()
    sender = Sender(["http://127.0.0.1:9"], list, stage.ledger.clock, tally)
    sender.send()
    assert tally.read()["costmeter_alertmanager_up"] == {("127.0.0.1:9",): 0}


def test_a_real_alertmanager_takes_the_alerts(tmp_path: Path) -> None:
    stage = Stage(
        tmp_path / "ledger", Budget("b", 100 * USD, (("tenant_id", "acme"),), owner="Ann")
    )
    # Its times must lie around those of the program.
    now_ms = int(datetime.now(UTC).timestamp() * 1_000)
    stage.ledger.clock.advance((now_ms - HOUR - stage.ledger.clock.now_ms()) // 1_000)
    stage.spend(150 * USD)
    for minutes in (6, 54):
        stage.look(exported=set())
        stage.ledger.clock.advance(minutes=minutes)
    stage.look(exported=set())
    (tmp_path / "am").mkdir()
    config = tmp_path / "am" / "alertmanager.yml"
    with Webhook() as webhook:
        config.write_text(
            "route: {receiver: hook, group_by: [budget], group_wait: 0s}\n"
            f"receivers: [{{name: hook, webhook_configs: [{{url: 'http://{webhook.address}/p'}}]}}]\n"
        )
        with Alertmanager(tmp_path / "am", config) as program:
            tally = Tally()
            sender = Sender(
                [f"http://{program.address}"], stage.alarms.alerts, stage.ledger.clock, tally
            )
            sender.send()
            assert tally.read()["costmeter_alertmanager_up"] == {(program.address,): 1}
            with urllib.request.urlopen(f"http://{program.address}/api/v2/alerts") as answer:
                (alert,) = json.load(answer)
            page = webhook.wait_for("/p", lambda one: one.alerts(), 20)
    assert alert["labels"] == {
        "alertname": "BudgetExceeded", "severity": "critical", "job": "costmeter", "budget": "b",
        "period": "month", "tenant_id": "acme", "owner": "Ann",
    }  # fmt: skip
    said = page.alerts()[0]["annotations"]["description"]
    assert "Spent 150.00 of 100.00 USD" in said
    assert "50.00 USD over" in said
    assert "#when-a-budget-is-exceeded" in said
    ends = datetime.fromisoformat(alert["endsAt"])
    assert ends - datetime.now(UTC) > timedelta(minutes=2)
    stage.end()
