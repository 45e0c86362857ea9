"""The made-up platform: the same every time, priced but for one model, in a day's rhythm."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from costmeter.demo.costs import priced, spent_since
from costmeter.demo.scene import HISTORY_MS, scene
from costmeter.demo.trace import (
    MS_PER_HOUR,
    RUNAWAY,
    WORKLOADS,
    Call,
    calls_of_hour,
    history,
    runaway,
    stamp,
)
from costmeter.ingest.events import EventReader
from costmeter.ingest.owner import Caller
from costmeter.ingest.window import Window
from costmeter.model import MS_PER_DAY, NANO_PER_USD
from costmeter.pricing import load_price_book

NOON_MS = 1_795_348_800_000  # 2026-11-22T12:00:00Z
FIRST_OF_MONTH_MS = 1_796_083_800_000  # 2026-12-01T00:10:00Z
BOOK = load_price_book(())


def test_an_hour_is_the_same_every_time() -> None:
    assert calls_of_hour(480_000) == calls_of_hour(480_000)
    assert calls_of_hour(480_000) != calls_of_hour(480_000, seed=1)
    assert calls_of_hour(480_000) != calls_of_hour(480_001)


def test_calls_are_in_order_and_within_their_time() -> None:
    calls = list(history(NOON_MS - 90 * 60_000, NOON_MS))
    times = [call.at_ms for call in calls]
    assert times == sorted(times)
    assert times[0] >= NOON_MS - 90 * 60_000
    assert times[-1] < NOON_MS


def test_rhythms_are_shares_of_an_average_hour() -> None:
    for workload in WORKLOADS:
        assert sum(workload.rhythm) == pytest.approx(24), workload
        assert len(workload.rhythm) == 24


def test_a_day_has_the_calls_that_the_workloads_say() -> None:
    calls = Counter(
        (call.event["tenant_id"], call.event["model"])
        for call in history(NOON_MS - 2 * MS_PER_DAY, NOON_MS)
    )
    for workload in WORKLOADS:
        expected = 2 * 24 * workload.calls_per_hour
        # Five standard deviations of a Poisson stream.
        found = calls[workload.tenant_id, workload.model]
        assert abs(found - expected) < 5 * expected**0.5, workload


def test_a_cut_of_an_hour_keeps_the_rate() -> None:
    cuts = sum(len(calls_of_hour(hour, length_ms=36_000)) for hour in range(24 * 20))
    expected = 20 * 24 * sum(workload.calls_per_hour for workload in WORKLOADS) / 100
    assert abs(cuts - expected) < 5 * expected**0.5


def test_every_model_has_a_price_but_the_one_that_nobody_told() -> None:
    unpriced = {
        call.call.event["model"]
        for call in priced(history(NOON_MS - MS_PER_DAY, NOON_MS), BOOK)
        if call.nano is None
    }
    assert unpriced == {"delta-chat-7b"}
    agent = Call(NOON_MS, next(runaway()))
    assert agent.event["model"] == RUNAWAY.model
    assert next(priced([agent], BOOK)).nano


def test_the_exporter_takes_every_event() -> None:
    calls = [*history(NOON_MS - MS_PER_HOUR, NOON_MS), Call(NOON_MS, next(runaway()))]
    body = [
        {"request_id": f"r-{number}", "timestamp": stamp(call.at_ms), **call.event}
        for number, call in enumerate(calls)
    ]
    reader = EventReader(Window(7, 0), len(body))
    read = reader.read(json.dumps(body).encode(), Caller("demo"), NOON_MS)
    assert list(read.rejections) == []
    assert len(read.items) == len(calls)
    assert {usage.status for usage in read.items} == {"ok", "error"}
    assert any("cache_read" in usage.quantities for usage in read.items)


@pytest.mark.parametrize(
    ("now_ms", "zone", "month_ms"),
    [
        (FIRST_OF_MONTH_MS, "UTC", FIRST_OF_MONTH_MS - 10 * 60_000),
        # 23:30 UTC is half past five there: of the three days, five and a half hours count.
        (FIRST_OF_MONTH_MS - 40 * 60_000, "Etc/GMT-6", FIRST_OF_MONTH_MS - 370 * 60_000),
    ],
)
def test_the_tight_budget_is_about_to_be_crossed_and_no_other(
    now_ms: int, zone: str, month_ms: int
) -> None:
    staged = scene(now_ms, BOOK)
    assert staged.zone == zone, "no month ends while it plays"
    assert staged.tight.tenant_id == RUNAWAY.tenant_id
    assert staged.spent_nano == spent_since(staged.calls, month_ms, RUNAWAY.tenant_id)
    left = staged.tight.limit_nano - staged.spent_nano
    assert 15 * NANO_PER_USD <= left < 25 * NANO_PER_USD
    assert all(budget.limit_nano % (10 * NANO_PER_USD) == 0 for budget in staged.budgets)
    days = HISTORY_MS / MS_PER_DAY
    for budget in staged.budgets[1:]:
        spent = spent_since(staged.calls, staged.start_ms, budget.tenant_id)
        # Even a whole month at this rate stays below the limit.
        assert spent / days * 31 < budget.limit_nano
    assert sum(call.nano or 0 for call in staged.calls) == staged.past_nano
