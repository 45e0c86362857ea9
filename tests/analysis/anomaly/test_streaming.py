"""No look ahead, and a run from a state is the run over the whole series."""

from __future__ import annotations

import json
import random

import pytest

from analysis.anomaly.spend import (
    SETTINGS,
    START_MS,
    business,
    by_day,
    flat,
    nightly_utc,
    series,
    usd,
)
from costmeter.analysis.anomaly.detect import detect, detect_many, history_days
from costmeter.analysis.anomaly.shapes import (
    DAILY_MS,
    HOURLY_MS,
    Acknowledgement,
    Detection,
    Finding,
    Series,
    Settings,
)
from costmeter.model import MS_PER_DAY

#: 45 days: a turn of a month, three weeks after the first lookback.
HOURS = 45 * 24


def eventful(seed: int) -> list[float | None]:
    amounts: list[float | None] = list(usd((flat, business, nightly_utc)[seed % 3], seed, HOURS))
    chance = random.Random(seed)
    for _ in range(4):
        at, long = chance.randrange(200, HOURS - 30), chance.choice([1, 3, 30, 300])
        factor = chance.choice([0.1, 1.5, 4.0])
        for hour in range(at, min(at + long, HOURS)):
            amounts[hour] = (amounts[hour] or 0) * factor
    for hour in range(at := chance.randrange(300, 1000), at + 7):
        amounts[hour] = None
    return amounts


def said(seed: int) -> list[Acknowledgement]:
    at = START_MS + (400 + 90 * seed) * HOURLY_MS
    return [Acknowledgement((("provider", "openai"),), at, at + 30 * HOURLY_MS)]


def cut(whole: Series, hours: int) -> Series:
    return Series(
        whole.scope, whole.start_ms, whole.nano[:hours], whole.start_ms + hours * HOURLY_MS,
        whole.step_ms, whole.late, whole.planned,
    )  # fmt: skip


def known(found: Detection) -> dict[tuple[object, ...], Finding]:
    return {one.key: one for one in found.findings}


@pytest.mark.parametrize("seed", range(2))
def test_what_comes_later_changes_nothing_that_was_known(seed: int) -> None:
    amounts = eventful(seed)
    whole = series(amounts, late=range(500, 520))
    for hours in (700, 901):
        now = START_MS + hours * HOURLY_MS
        before = detect(cut(whole, hours), now, SETTINGS, said(seed))
        assert detect(whole, now, SETTINGS, said(seed)).findings == before.findings
        future = [*amounts[:hours], *(1e6 for _ in range(HOURS - hours))]
        other = series(future, late=range(500, 520))
        assert detect(other, now, SETTINGS, said(seed)).findings == before.findings


@pytest.mark.parametrize("seed", range(3))
def test_runs_from_states_find_what_one_run_finds(seed: int) -> None:
    whole = series(eventful(seed), late=range(500, 520), planned=range(610, 616))
    end = START_MS + HOURS * HOURLY_MS
    once = detect(whole, end, SETTINGS, said(seed))
    states: dict[object, object] = {}
    pieces: dict[tuple[object, ...], Finding] = {}
    hour, chance = 150, random.Random(seed)
    while hour < HOURS:
        hour = min(hour + chance.choice([7, 55, 190]), HOURS)
        days = max(0, hour // 24 - history_days(SETTINGS))
        first = days * 24
        window = Series(
            whole.scope, START_MS + days * MS_PER_DAY, whole.nano[first:hour],
            START_MS + hour * HOURLY_MS, HOURLY_MS,
            frozenset(at - first for at in whole.late),
            frozenset(at - first for at in whole.planned),
        )  # fmt: skip
        now = START_MS + hour * HOURLY_MS
        found = detect_many([window], now, SETTINGS, said(seed), states)  # type: ignore[arg-type]
        states = {key: json.loads(json.dumps(state)) for key, state in found.states.items()}
        pieces.update(known(found))
    assert once.findings
    assert pieces == known(once)


def test_days_go_on_from_a_state_too() -> None:
    days = by_day(usd(flat, 1, 60 * 24))
    days[40] *= 3
    whole = series(days, step_ms=DAILY_MS)
    end = START_MS + 60 * DAILY_MS
    once = detect(whole, end, SETTINGS)
    state = None
    pieces: dict[tuple[object, ...], Finding] = {}
    for day in range(20, 61):
        found = detect(whole, START_MS + day * DAILY_MS, SETTINGS, state=state)
        state = found.states.get((whole.scope, DAILY_MS))
        pieces.update(known(found))
    assert [one.kind for one in once.findings] == ["point"]
    assert pieces == known(once)


def test_series_do_not_touch_each_other() -> None:
    given = [series(eventful(seed), f"s{seed}") for seed in range(3)]
    end = START_MS + HOURS * HOURLY_MS
    together = known(detect_many(given, end, SETTINGS))
    alone: dict[tuple[object, ...], Finding] = {}
    for one in given:
        alone.update(known(detect(one, end, SETTINGS)))
    assert together == alone


def test_a_state_older_than_the_series_says_what_is_missing() -> None:
    whole = series(eventful(1))
    state = detect(whole, START_MS + 400 * HOURLY_MS, SETTINGS).states[(whole.scope, HOURLY_MS)]
    later = Series(whole.scope, START_MS + 30 * MS_PER_DAY, whole.nano[720:], whole.final_until_ms)
    with pytest.raises(ValueError, match="give more history"):
        detect(later, whole.final_until_ms, SETTINGS, state=state)


def test_mistakes_in_what_is_given_are_named() -> None:
    with pytest.raises(ValueError, match="given twice"):
        detect_many([series([1.0]), series([2.0])], START_MS, SETTINGS)
    with pytest.raises(ValueError, match="by hour or by day"):
        series([1.0], step_ms=60_000)
    with pytest.raises(ValueError, match="no start of a day"):
        Series((), START_MS + 1, [], START_MS)
    with pytest.raises(ValueError, match="from 1 to 6"):
        Settings(sensitivity_sigma=0.5)
    with pytest.raises(ValueError, match="minimum_days"):
        Settings(minimum_days=40)
    with pytest.raises(ValueError, match="learn_days"):
        Settings(learn_days=0)
