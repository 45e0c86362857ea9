"""The table of the traps: what happens to a ledger, and which alerts that brings and no others."""

from __future__ import annotations

from collections.abc import Callable

from costmeter.model import MS_PER_DAY, MS_PER_HOUR
from traps.happenings import (
    EVENT,
    NEW_MONTH,
    NOW,
    Bill,
    Trap,
    backlog,
    backup,
    budgets,
    gone,
    nightly,
    office_only,
    ordinary,
    restored,
    second,
    second_leaves,
    second_takes_over,
    start,
    stop,
    tenant,
    three_times,
    with_more,
)
from traps.ledgers import MINUTE, World, between

_DAY_OF_NOW = NOW // MS_PER_DAY


def _daily(day: int, now_ms: int) -> float | None:
    """180 USD a day, on the bill six hours after the day's end."""
    return 180.0 if now_ms >= (day + 1) * MS_PER_DAY + 6 * MS_PER_HOUR else None


def _week_at_once(day: int, now_ms: int) -> float | None:
    if _DAY_OF_NOW - 7 <= day < _DAY_OF_NOW:
        return 180.0 if now_ms >= NOW + 10 * MINUTE else None
    return _daily(day, now_ms)


def _restated(factor: float) -> Callable[[int, int], float | None]:
    def days(day: int, now_ms: int) -> float | None:
        usd = _daily(day, now_ms)
        changed = usd is not None and now_ms >= NOW and _DAY_OF_NOW - 4 <= day < _DAY_OF_NOW
        return usd * factor if changed and usd is not None else usd

    return days


def _gpus(world: World) -> None:
    """Machines that cost 6 USD an hour, whoever calls."""
    world.post("acme", 6.0 * world.step_ms / MS_PER_HOUR, "gpu_compute")


_DAILY, _WEEK = Bill(_daily), Bill(_week_at_once)
_UP, _DOWN = Bill(_restated(1.5)), Bill(_restated(0.5))
_SILENT = Bill(_daily, fails=between("2026-10-21T10:00", "2026-10-25T10:00"))
_PLAN = [{"name": "training", "amount": 1_800, "at": "2026-11-01T01:00", "hours": 3}]
_JOB = with_more(between("2026-11-01T01:00", "2026-11-01T02:00"), {"acme": 1_800})

TRAPS = (
    Trap("ordinary", "an idle weekend follows on office hours, a month ends and another begins",
         ordinary, fine=[NEW_MONTH]),
    Trap("nightly-batch", "one hour at night is dear, before and after the clocks change",
         nightly, {"BudgetBurnFast": ["5T03-5T04"], "ForecastOverBudget": ["6T04-6T08"]},
         settings=budgets(tenant("batch", 5_000), monthly_usd=8_000)),
    Trap("office-hours", "idle at night and on weekends, 40 USD an hour in office hours",
         office_only,
         {"BudgetBurnFast": ["5T15-5T19"],
          "ForecastOverBudget": ["6T12-7T06", "7T13-8T04", "8T14-9T03", "9T15-10T01"]},
         settings=budgets(tenant("acme", 2_300, "week"), monthly_usd=12_000)),
    Trap("month-end", "a month ends at nine tenths of its budget",
         ordinary, {"BudgetWarning": ["28T10-1T01"]}, settings=budgets(monthly_usd=11_000)),
    Trap("first-hour", "the first hour of all costs as much as those that follow",
         ordinary, start_ms=NOW, fine=[EVENT]),
    Trap("daily-bill", "a day's bill of 180 USD lands at once every morning",
         ordinary, prepare=_DAILY.prepare, every_step=_DAILY.step),
    Trap("week-of-bills", "bills of seven days land at once",
         ordinary, prepare=_WEEK.prepare, every_step=_WEEK.step, fine=[EVENT]),
    Trap("planned-job", "a job of a fifth of the budget on the 1st, declared beforehand",
         _JOB, settings=budgets(
             tenant("acme", 9_000, planned=_PLAN),
             {"name": "everything", "limit_usd": 16_000, "planned": _PLAN}, monthly_usd=0),
         fine=[NEW_MONTH]),
    Trap("job-on-the-1st", "the same job, and nobody said anything",
         _JOB,
         {"BudgetBurnFast": ["1T01-1T02"], "CostSpike": ["1T01-1T03"],
          "BudgetBurnSlow": ["1T02-1T08"], "ForecastOverBudget": ["1T02-"],
          "UnexpectedTenantCost": ["1T03-2T02"]},
         settings=budgets(tenant("acme", 9_000)), fine=[NEW_MONTH]),
    Trap("restored", "the ledger is restored from a backup of two hours before",
         ordinary, fine=[EVENT], moments=[
             (NOW - 2 * MS_PER_HOUR, backup), (NOW, stop),
             (NOW + 2 * MINUTE, restored), (NOW + 3 * MINUTE, start)]),
    Trap("restart", "the exporter restarts, twice",
         ordinary, fine=[EVENT], moments=[
             (NOW, stop), (NOW + 2 * MINUTE, start),
             (NOW + 30 * MINUTE, stop), (NOW + 31 * MINUTE, start)]),
    Trap("replica-leaves", "of a pair the one that only reads goes away and comes back",
         ordinary, fine=[EVENT], moments=[
             (NOW - 12 * MS_PER_HOUR, second), (NOW, second_leaves), (NOW + 90 * MINUTE, second)]),
    Trap("failover", "of a pair the writer goes away; the other becomes it twenty minutes later",
         ordinary, {"LedgerWriteFailing": ["21T10-21T10"], "SnapshotStale": ["21T10-21T10"]},
         fine=[EVENT], moments=[
             (NOW - 12 * MS_PER_HOUR, second), (NOW, stop),
             (NOW + 20 * MINUTE, second_takes_over)]),
    Trap("from-other", "a tenant without series of its own grows and gets them",
         with_more(between("2026-10-19T00:00", "2026-11-04T00:00"), {"nova": 4.0}),
         {"SeriesOverflow": ["19T01-19T01", "19T03-19T03"]},
         settings={"series": {"per_label": {"tenant_id": 2}}}),
    Trap("credit", "a provider gives 1,500 USD back",
         ordinary, fine=[EVENT], moments=[(NOW, lambda world: world.post("acme", -1_500))]),
    Trap("restated-up", "four days' bills are restated to half as much again",
         ordinary, prepare=_UP.prepare, every_step=_UP.step),
    Trap("restated-down", "four days' bills are restated to half",
         ordinary, prepare=_DOWN.prepare, every_step=_DOWN.step),
    Trap("born-at-18", "a tenant that nobody knew spends 900 USD from 18:00 to 19:00",
         with_more(between("2026-10-21T18:00", "2026-10-21T19:00"), {"nova": 900}),
         {"BudgetBurnFast": ["21T19-21T20"], "BudgetBurnSlow": ["21T19-21T21"],
          "CostSpike": ["21T20-21T21"], "UnexpectedTenantCost": ["21T21-21T22"]}),
    Trap("gone", "a tenant stops calling", gone),
    Trap("gpus-idle", "GPUs cost money and nobody calls a model",
         lambda _: {}, every_step=_gpus),
    Trap("three-times", "everybody calls three times as much for five hours",
         three_times,
         {"CostSpike": ["21T11-21T16"], "BudgetBurnFast": ["21T10-21T19"],
          "BudgetWarning": ["24T13-26T01"]},
         settings=budgets(tenant("acme", 1_700, "week")), fine=[EVENT]),
    Trap("overspend", "a fifth too much, every hour of the month", ordinary,
         {"ForecastOverBudget": ["5T19-26T23", "1T02-"], "BudgetWarning": ["22T10-26T23"],
          "BudgetExhaustionSoon": ["23T15-26T23"], "BudgetCritical": ["26T00-26T23"],
          "BudgetExceeded": ["26T23-1T01"]},
         settings=budgets(monthly_usd=8_250)),
    Trap("budget-of-0", "a tenant that may spend nothing spends 2 USD an hour",
         with_more(between("2026-10-21T10:00", "2026-11-04T00:00"), {"barred": 2.0}),
         {"BudgetExceeded": ["21T10-"]},
         settings=budgets(tenant("barred", 0)), fine=[EVENT]),
    Trap("budget-removed", "a budget that is exceeded from its first day is taken out again",
         ordinary, {"BudgetExceeded": ["20T10-21T10"]}, fine=[EVENT],
         settings=budgets(), moments=[
             (NOW - MS_PER_DAY, lambda world: world.reload(**budgets(tenant("acme", 2_800)))),
             (NOW, lambda world: world.reload(**budgets()))]),
    Trap("missing", "the exporter is away for two hours; then senders bring what they kept",
         ordinary, {"CostmeterDown": ["21T10-21T11"]}, fine=[EVENT], moments=[
             (NOW, stop), (NOW + 120 * MINUTE, start), (NOW + 122 * MINUTE, backlog(2))]),
    Trap("stale-source", "a provider's bill cannot be asked for, for four days",
         ordinary, {"CostDataStale": ["21T15-23T08"], "SourceStale": ["21T15-25T11"]},
         prepare=_SILENT.prepare, every_step=_SILENT.step),
)  # fmt: skip

BY_NAME = {trap.name: trap for trap in TRAPS}
