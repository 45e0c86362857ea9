"""Budgets against a naive oracle: spent is what the journal adds up to, to the nano.

Postings come in any order, late, corrected and credited; budgets come, go and change; the
exporter restarts. What is followed from revision to revision must be what a fresh look says.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from costmeter.engine.budget_watch import BudgetWatch
from costmeter.engine.budgets import statuses
from costmeter.ledger.budget_store import BudgetStore
from costmeter.ledger.terms import Terms
from costmeter.ledger.upkeep import apply_budgets, moment_of
from costmeter.model import BUDGET_PERIODS, MS_PER_DAY, Budget, Correction, Labels
from costmeter.pricing.exchange import Exchange
from fakes.clock import FakeClock
from faults.ledgers import HOUR, Ledger, posting, usage

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
#: Around changes of the clocks in Europe, in America and on Lord Howe Island.
STARTS = (1_761_436_800_000, 1_772_928_000_000, 1_775_260_800_000)
TENANTS, TEAMS, USERS, MODELS = ("a", "b"), ("x", "y", ""), ("u", "v", ""), ("priced", "unknown")


def local_start(budget: Budget, at_ms: int) -> datetime:
    """The first local time of the period of an instant, the slow way."""
    at = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(budget.timezone)).replace(tzinfo=None)
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "hour": at.replace(minute=0, second=0, microsecond=0),
        "day": day,
        "week": day - timedelta(days=(day.weekday() - budget.week_starts) % 7),
        "month": day.replace(day=1),
        "quarter": day.replace(day=1, month=(day.month - 1) // 3 * 3 + 1),
        "year": day.replace(day=1, month=1),
    }[budget.period]


def same_period(budget: Budget, one_ms: int, other_ms: int) -> bool:
    """Whether two instants share a period; hours of a doubled hour are told by their offset."""
    if budget.period == "custom":
        zone = ZoneInfo(budget.timezone)
        days = [datetime.fromtimestamp(at / 1000, zone).date().isoformat()
                for at in (one_ms, other_ms)]  # fmt: skip
        return all(budget.start <= day < budget.end for day in days)
    if budget.period == "hour":
        zone = ZoneInfo(budget.timezone)
        offsets = {datetime.fromtimestamp(at / 1000, zone).utcoffset() for at in (one_ms, other_ms)}
        if len(offsets) > 1:
            return False
    return local_start(budget, one_ms) == local_start(budget, other_ms)


class Oracle:
    """Remembers every amount with what it belongs to, and adds up when asked."""

    def __init__(self) -> None:
        self.amounts: list[tuple[Labels, str, int, int]] = []

    def spent(self, budget: Budget, now_ms: int) -> int:
        by_user = "user_id" in dict(budget.match)
        return sum(
            nano
            for labels, user, hour, nano in self.amounts
            if (not by_user or user) and budget.covers(labels, user)
            if same_period(budget, hour, now_ms)
        )


def any_budget(dice: random.Random, name: str) -> Budget:
    match = {}
    for label, values in (
        ("tenant_id", TENANTS), ("team", TEAMS[:2]), ("user_id", USERS[:2]), ("model", ("priced",)),
        ("category", ("llm_api", "storage")),
    ):  # fmt: skip
        if dice.random() < 0.3:
            match[label] = dice.choice(values)
    period = dice.choice(BUDGET_PERIODS)
    custom = period == "custom"
    return Budget(
        name,
        dice.randrange(0, 40) * 10**9,
        tuple(sorted(match.items())),
        period,
        dice.choice(ZONES),
        week_starts=dice.randrange(7) if period == "week" else 0,
        start="2025-10-20" if custom else "",
        end="2026-05-01" if custom else "",
    )


def check(ledger: Ledger, oracle: Oracle, watch: BudgetWatch) -> None:
    now_ms = ledger.clock.now_ms()
    ledger.tick()
    watch.refresh(now_ms)
    followed = watch.statuses(watch.exported())
    fresh = {one.budget.name: one for one in statuses(watch._connection, now_ms)}
    active = {budget.name: budget for budget in ledger.booking.budgets.active}
    assert len(followed) == len(fresh)
    for one in followed:
        assert one.budget == active[one.budget.name]
        assert one.spent == oracle.spent(one.budget, now_ms), one.budget
        again = fresh[one.budget.name]
        assert (one.spent, one.forecast, one.level, one.start_ms) == (
            again.spent, again.forecast, again.level, again.start_ms
        ), one.budget  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_spent_is_what_the_journal_adds_up_to(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    clock = FakeClock(STARTS[seed % len(STARTS)])
    terms = Terms(birth_hold_ms=0)
    oracle, known = Oracle(), [any_budget(dice, f"b{n}") for n in range(8)]
    booked: list[tuple[str, int, Labels, str, int]] = []
    with Ledger(tmp_path, clock, terms, known, cell_ms=HOUR // 4) as ledger:
        connection = ledger.store.reader()
        watch = BudgetWatch(connection, Exchange)

        def call() -> None:
            late = dice.choice((0, 0, 1, 30, 120)) * HOUR
            at_ms = clock.now_ms() - dice.randrange(late + 1)
            one = usage(
                f"e{len(oracle.amounts)}", at_ms, tokens=dice.randrange(1, 2_000_000) * 2,
                tenant_id=dice.choice(TENANTS), team=dice.choice(TEAMS),
                model=dice.choice(MODELS),
            )._replace(user_id=dice.choice(USERS))  # fmt: skip
            ledger.book(one)
            nano = one.quantities["input"] * 2_500 if one.labels.model == "priced" else 0
            hour = at_ms - at_ms % (HOUR // 4)
            oracle.amounts.append((one.labels, one.user_id, hour, nano))
            booked.append((one.event_id, at_ms, one.labels, one.user_id, nano))

        def correct() -> None:
            if not booked:
                return
            event, at_ms, labels, user, nano = booked.pop(dice.randrange(len(booked)))
            team = dice.choice(TEAMS)
            ledger.do(
                lambda: ledger.amendments.correct(
                    [Correction(f"c{len(oracle.amounts)}", labels.tenant_id, at_ms // MS_PER_DAY,
                                event, {"team": team})]
                )
            )  # fmt: skip
            hour = at_ms - at_ms % (HOUR // 4)
            oracle.amounts.append((labels, user, hour, -nano))
            oracle.amounts.append((labels._replace(team=team), user, hour, nano))

        def bill() -> None:
            hour = clock.now_ms() - clock.now_ms() % HOUR - dice.randrange(200) * HOUR
            one = posting(
                len(oracle.amounts), hour, dice.randrange(-3, 5) * 10**9,
                tenant_id=dice.choice(TENANTS), team=dice.choice(TEAMS),
            )  # fmt: skip
            ledger.post(one)
            oracle.amounts.append((one.labels, "", hour, one.nano))

        def reconfigure() -> None:
            known[dice.randrange(len(known))] = any_budget(dice, f"b{dice.randrange(10)}")
            unique = list({budget.name: budget for budget in known}.values())
            ledger.budgets = unique
            ledger.do(lambda: apply_budgets(ledger.booking, unique))

        def make() -> None:
            budget = any_budget(dice, f"api{clock.now_ms()}-{dice.randrange(10**6)}")
            store = BudgetStore(ledger.booking.connection, ledger.booking.budgets)

            def work() -> None:
                ledger.booking.write_totals()
                store.create([budget], moment_of(ledger.booking))

            ledger.do(work)

        def restart() -> None:
            ledger.restart()

        steps: list[Callable[[], None]] = [call] * 12 + [correct] * 2 + [bill] * 3
        steps += [reconfigure, make, restart]
        for _ in range(45):
            dice.choice(steps)()
            clock.advance(minutes=dice.choice((0, 7, 50, 200, 1_500)))
            if dice.random() < 0.4:
                check(ledger, oracle, watch)
        check(ledger, oracle, watch)
        connection.close()
