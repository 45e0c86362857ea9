"""Budgets over time: periods, restarts, clocks that change, older ledgers, who is told."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from zoneinfo import ZoneInfo

import pytest

from costmeter.attribution import Scope
from costmeter.engine import budgets
from costmeter.engine.alertmanager import Alertmanager as Sender
from costmeter.engine.budget_watch import BudgetWatch
from costmeter.ledger.settle.settlements import Settlements
from costmeter.ledger.store import open_for_reading
from costmeter.ledger.terms import Terms
from costmeter.ledger.upkeep import apply_budgets
from costmeter.ledger.verify import verify
from costmeter.model import Budget, Contact
from costmeter.pricing.exchange import Exchange
from costmeter.tally import Tally
from engine.budget_stage import USD, Stage, at
from fakes.older_ledger import make_older
from faults.ledgers import DAY, HOUR, posting, usage
from ledger.settle.parts import line

PAID = 2_500_000_000


Make = Callable[..., Stage]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:

        def made(*known: Budget) -> Stage:
            found = Stage(tmp_path, *known)
            stack.callback(found.end)
            return found

        yield made


@pytest.fixture
def stage(make: Make) -> Stage:
    return make(Budget("b", 100 * USD))


def test_two_periods_a_restart_and_a_limit_that_changes(stage: Stage) -> None:
    told = []

    def step(spend: int, limit: int = 0, *, restart: bool = False) -> None:
        if limit:
            stage.ledger.budgets = [Budget("b", limit * USD)]
            stage.ledger.do(lambda: apply_budgets(stage.ledger.booking, stage.ledger.budgets))
        if restart:
            stage.reader.close()
            stage.ledger.restart()
            stage.begin()
        stage.spend(spend * USD)
        told.append([kind for _, kind in stage.look() if kind != "projected"])
        stage.ledger.clock.advance(minutes=10)

    step(85)
    step(1, restart=True)
    step(1, limit=200)  # 87 of 200
    step(80)  # 167
    step(1, restart=True)
    step(1, limit=100)  # 169 of 100: its warning was told before
    assert told == [["warning"], [], [], ["warning"], [], ["critical", "exceeded"]]
    stage.ledger.clock.advance(days=25)
    told.clear()
    step(85)
    step(1, restart=True)
    step(30)
    assert told == [["warning"], [], ["critical", "exceeded"]]


@pytest.mark.parametrize(
    ("day", "hours"), [((2026, 10, 25), 25), ((2026, 3, 29), 23), ((2026, 4, 5), 24)]
)
def test_a_day_and_its_hours_when_the_clocks_change(
    make: Make, day: tuple[int, int, int], hours: int
) -> None:
    zone = ZoneInfo("Europe/Berlin")
    start = int(datetime(*day, tzinfo=zone).timestamp()) * 1_000
    known = [
        Budget(f"{period}", 100 * USD, period=period, timezone="Europe/Berlin")
        for period in ("day", "hour")
    ]
    stage = make(*known)
    stage.ledger.clock.advance((start - DAY - stage.ledger.clock.now_ms()) // 1_000)
    lengths, warned = [], []
    for hour in range(24 + hours + 2):
        stage.spend(85 * USD if hour == 24 else USD)
        warned += [(hour, *found) for found in stage.look() if found[1] == "warning"]
        by_day, by_hour = stage.watch.statuses(stage.watch.exported())
        lengths.append((by_day.spent // USD, by_hour.spent // USD))
        assert (by_hour.end_ms - by_hour.start_ms, by_day.start_ms <= by_hour.start_ms) == (
            HOUR, True
        )  # fmt: skip
        stage.ledger.clock.advance(hours=1)
    assert [spent for spent, _ in lengths] == [
        *range(1, 25), *range(85, 85 + hours), 1, 2
    ]  # fmt: skip
    assert {spent for _, spent in lengths} == {1, 85}
    assert warned == [(24, "day", "warning"), (24, "hour", "warning")]


def test_rollover_counts_periods_without_spend_and_restarts(make: Make) -> None:
    week = Budget("w", 70 * USD, period="week", rollover=True, rollover_nano=150 * USD)
    stage = make(week, Budget("plain", 70 * USD, period="week"))
    stage.spend(10 * USD)
    limits = []
    for _ in range(4):
        stage.look()
        rolled, plain = stage.watch.statuses(stage.watch.exported())
        limits.append((rolled.limit // USD, rolled.carried // USD, rolled.spent // USD))
        assert plain.limit == 70 * USD
        stage.ledger.clock.advance(days=7)
        stage.reader.close()
        stage.ledger.restart()
        stage.begin()
    # 60 are left of the first; nothing is spent in the next two; no more than 150 is carried.
    assert limits == [(70, 0, 10), (130, 60, 0), (200, 130, 0), (220, 150, 0)]


def test_one_time_charges_are_spent_and_no_rate(make: Make) -> None:
    stage = make(Budget("b", 1_000 * USD), Budget("gpu", 1_000 * USD, (("team", "x"),)))
    bill = Scope("test", provider="test", amount_from="bill", detail_from="none")
    stage.reader.close()
    stage.ledger.restart(terms=Terms(birth_hold_ms=0, scopes=(bill,)))
    stage.begin()
    settlements = Settlements(stage.ledger.booking)
    today = stage.ledger.clock.now_ms() // DAY
    stage.ledger.clock.advance(days=1)
    lines = [
        line(today, "cheap", 7 * USD),
        line(today, "fee", 200 * USD, charge="purchase"),
        line(today, "tax", 3 * USD, charge="tax"),
    ]
    stage.ledger.do(lambda: settlements.take(lines, None, source="bill"))
    stage.look()
    whole, team = stage.watch.statuses(stage.watch.exported())
    assert (whole.spent, team.spent) == (210 * USD, 0)
    assert whole.daily_rate == 7 * USD, "what is bought once is no rate"
    assert whole.forecast == 210 * USD + 20 * 7 * USD
    (fresh, _) = budgets.statuses(stage.reader, stage.ledger.clock.now_ms())
    assert fresh.forecast == whole.forecast


def test_budgets_of_an_older_ledger_are_filled_anew(make: Make) -> None:
    team = Budget("team", 100 * USD, (("team", "x"),), "day", "Europe/Berlin")
    user = Budget("user", 3 * USD, (("user_id", "u"),))
    gone = Budget("gone", 100 * USD)
    stage = make(team, user, gone)
    now = stage.ledger.clock.now_ms()
    stage.ledger.book(usage(1, now, team="x"), usage(2, now - 3 * DAY, team="x"))
    stage.ledger.book(usage(3, now)._replace(user_id="u"))
    before = {one.budget.name: one for one in budgets.statuses(stage.reader, now)}
    shown = stage.ledger.total("llm_budget_cost_total", "team")
    stage.reader.close()
    make_older(stage.ledger.store.connection, 3)
    stage.ledger.restart(budgets=(user, team))
    stage.begin()
    found = {one.budget.name: one for one in budgets.statuses(stage.reader, now)}
    assert found == {name: before[name] for name in ("user", "team")}
    assert (found["team"].spent, found["user"].spent) == (PAID, PAID)
    assert stage.look() == [("user", "warning")]
    stage.ledger.book(usage(4, now, team="x"))
    assert budgets.status(stage.reader, "team", now).spent == 2 * PAID
    assert stage.ledger.total("llm_budget_cost_total", "team") == shown + PAID
    assert list(verify(stage.ledger.store)) == []


def test_a_replica_answers_the_same_while_the_writer_writes(make: Make) -> None:
    known = [
        Budget("month", 100 * USD, rollover=True),
        Budget("day", 10 * USD, (("team", "x"),), "day", "America/New_York"),
    ]
    stage = make(*known)
    with closing(open_for_reading(stage.ledger.path)) as store:
        replica = BudgetWatch(store.connection, Exchange)
        for hour in range(40):
            stage.spend(USD // 3 * (hour % 5), team="x" if hour % 2 else "y")
            if hour == 20:
                changed = [known[0], replace(known[1], limit_nano=20 * USD)]
                stage.ledger.do(lambda c=changed: apply_budgets(stage.ledger.booking, c))  # type: ignore[misc]
            stage.look()
            if hour % 3 == 0:  # it looks when it likes
                now = stage.ledger.clock.now_ms()
                replica.refresh(now)
                shown = [w.statuses(w.exported()) for w in (stage.watch, replica)]
                assert shown[0] == shown[1]
                assert budgets.statuses(store.connection, now) == budgets.statuses(
                    stage.reader, now
                )
            stage.ledger.clock.advance(hours=1)


class _Door:
    """Takes alerts as an Alertmanager does, and keeps what it was sent."""

    def __init__(self) -> None:
        self.taken: list[tuple[Mapping[str, str], list[dict[str, object]]]] = []
        self.status = 200

    @contextmanager
    def open(self) -> Iterator[str]:
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                door.taken.append((dict(self.headers), json.loads(body)))
                self.send_response(door.status)
                self.end_headers()
                self.wfile.write(b"no" if door.status != 200 else b"")

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}"
            finally:
                server.shutdown()
                thread.join()


def test_the_alertmanagers_token_comes_from_a_file_and_is_told_nowhere(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file, door, tally = tmp_path / "token", _Door(), Tally()
    file.write_text("s3cret-first\n")
    with door.open() as url:
        sender = Sender([url], list, stage.ledger.clock, tally, token_file=file)
        sender.send()
        file.write_text("s3cret-second")  # exchanged while it runs
        sender.send()
        door.status = 403
        sender.send()
        file.unlink()
        sender.send()
    said = [headers["Authorization"] for headers, _ in door.taken]
    assert said == ["Bearer s3cret-first", "Bearer s3cret-second", "Bearer s3cret-second"]
    assert len(caplog.records) == 2, "refused, and no file"
    everything = caplog.text + repr(sender) + repr(vars(sender)) + repr(tally.read())
    assert "s3cret" not in everything


def test_who_is_told_is_told_what_they_asked_for(make: Make) -> None:
    notify = (
        Contact("#ops", "slack", "critical", False),
        Contact("boss@example.com", "email", "exceeded"),
    )
    budget = Budget("b", 100 * USD, contacts=("ann@example.com",), notify=notify)
    stage = make(budget)
    door = _Door()
    heard = {}
    with door.open() as url:
        sender = Sender([url], stage.alarms.alerts, stage.ledger.clock, Tally())
        for amount in (82, 14, 10):
            stage.spend(amount * USD)
            for _ in range(4):
                stage.look(exported=set())
                stage.ledger.clock.advance(minutes=20)
            stage.look(exported=set())
            door.taken.clear()
            sender.send()
            for alert in door.taken[0][1]:
                labels, notes = alert["labels"], alert["annotations"]
                heard[(amount, labels["alertname"])] = (  # type: ignore[index]
                    labels.get("slack_channel"), notes["contacts"]  # type: ignore[attr-defined,index]
                )  # fmt: skip
    assert heard[(82, "BudgetWarning")] == (None, "ann@example.com")
    assert heard[(82, "ForecastOverBudget")] == (None, "ann@example.com, boss@example.com")
    assert heard[(14, "BudgetWarning")] == ("#ops", "ann@example.com, #ops")
    assert heard[(10, "BudgetExceeded")] == (
        "#ops", "ann@example.com, #ops, boss@example.com"
    )  # fmt: skip


def test_a_late_line_of_a_bill_moves_the_period_it_is_of(stage: Stage) -> None:
    """And the alert of that period is written down under it, not under the present one."""
    stage.spend(85 * USD)
    assert stage.look() == [("b", "warning")]
    stage.ledger.clock.advance(days=22)
    assert stage.look() == []
    stage.ledger.post(posting("late", at(2025, 11, 30, 5), 40 * USD))
    assert stage.look() == [], "the past is not told as news of today"
    (past,) = budgets.history(stage.reader, "b", stage.ledger.clock.now_ms())
    assert past.spent == 125 * USD
