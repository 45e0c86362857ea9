"""Periods end: gauges start again in the reporting time zone, counters go on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from costmeter.analysis.budgets import assess, period_of
from costmeter.ledger.history import budget_spend
from costmeter.ledger.periods import Calendar
from costmeter.ledger.store import LedgerError
from costmeter.ledger.terms import Terms
from costmeter.model import Budget
from fakes.clock import FakeClock
from faults.ledgers import HOUR, Ledger, usage

USD = 10**9
QUARTER = HOUR // 4
ZONES = [
    ("UTC", HOUR),
    ("America/New_York", HOUR),
    ("Asia/Kolkata", QUARTER),
    ("Asia/Kathmandu", QUARTER),
    ("Pacific/Kiritimati", HOUR),
    ("Australia/Lord_Howe", QUARTER),
]


def instant(zone: str, *when: int) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp()) * 1000


def ledger_at(folder: Path, zone: str, cell_ms: int, now_ms: int, **more) -> Ledger:
    return Ledger(folder, FakeClock(now_ms), Terms(zone, birth_hold_ms=0), cell_ms=cell_ms, **more)


@pytest.mark.parametrize(("zone", "cell_ms"), ZONES)
def test_a_month_ends_at_local_midnight(tmp_path: Path, zone: str, cell_ms: int) -> None:
    midnight = instant(zone, 2025, 12, 1)
    with ledger_at(tmp_path, zone, cell_ms, midnight - 1_000) as ledger:
        ledger.book(usage(1, midnight - 1))
        before = ledger.snapshot()
        assert ledger.total("llm_cost_month_to_date") == 2_500_000_000
        assert ledger.total("llm_cost_day_to_date") == 2_500_000_000
        assert ledger.family("llm_cost_last_month") == {}
        ledger.clock.advance(1)
        ledger.tick()
        # Zero now and not in the period before: shown as 0.
        assert list(ledger.family("llm_cost_month_to_date").values()) == [0]
        assert list(ledger.family("llm_cost_day_to_date").values()) == [0]
        assert ledger.total("llm_cost_last_month") == 2_500_000_000
        assert ledger.total("llm_cost_quarter_to_date") == 2_500_000_000
        assert ledger.total("llm_cost_total") == 2_500_000_000
        assert dict(before.samples("llm_cost_month_to_date")), "old snapshots stay as they are"
        # The first instant of a month is the new month's; a straggler is the old one's.
        ledger.book(usage(2, midnight, tokens=400_000), usage(3, midnight - 2, tokens=800_000))
        assert ledger.total("llm_cost_month_to_date") == USD
        assert ledger.total("llm_cost_day_to_date") == USD
        assert ledger.total("llm_cost_last_month") == 4_500_000_000
        assert ledger.total("llm_cost_total") == 5_500_000_000


@pytest.mark.parametrize(("zone", "cell_ms"), ZONES)
def test_a_year_ends(tmp_path: Path, zone: str, cell_ms: int) -> None:
    midnight = instant(zone, 2026, 1, 1)
    with ledger_at(tmp_path, zone, cell_ms, midnight - 1_000) as ledger:
        ledger.book(usage(1, midnight - 1))
        ledger.clock.advance(1)
        ledger.book(usage(2, midnight, tokens=400_000))
        for family in ("month", "quarter", "year", "day"):
            assert ledger.total(f"llm_cost_{family}_to_date") == USD, family
        assert ledger.total("llm_cost_last_month") == 2_500_000_000
        assert ledger.total("llm_cost_total") == 3_500_000_000


def test_a_series_that_left_is_absent_after_a_whole_period(tmp_path: Path) -> None:
    zone = "America/New_York"
    with ledger_at(tmp_path, zone, HOUR, instant(zone, 2025, 9, 15)) as ledger:
        ledger.book(usage(1, ledger.clock.now_ms(), tenant_id="gone"))
        month, last = [], []
        for _ in range(4):
            month.append([*ledger.family("llm_cost_month_to_date").values()])
            last.append([*ledger.family("llm_cost_last_month").values()])
            ledger.clock.advance(days=31)
            ledger.tick()
        assert month == [[2_500_000_000], [0], [], []]
        assert last == [[], [2_500_000_000], [0], []]
        assert ledger.total("llm_cost_total", "gone") == 2_500_000_000


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", (2025, 3, 9), 23),
        ("America/New_York", (2025, 11, 2), 25),
        ("Europe/Berlin", (2025, 10, 26), 25),
        ("Africa/Cairo", (2025, 4, 25), 23),  # midnight itself does not exist there
        ("Australia/Lord_Howe", (2025, 4, 6), 24.5),
    ],
)
def test_a_day_with_another_length(
    tmp_path: Path, zone: str, day: tuple[int, int, int], hours: float
) -> None:
    # The first instant that has this date, also where midnight is skipped.
    begin = instant(zone, *day)
    if datetime.fromtimestamp((begin - 1) / 1000, ZoneInfo(zone)).day == day[2]:
        begin -= HOUR
    end = begin + round(hours * HOUR)
    with ledger_at(tmp_path, zone, QUARTER, begin) as ledger:
        for number in range(round(hours * 4)):
            ledger.book(usage(number, ledger.clock.now_ms(), tokens=4_000))
            assert ledger.total("llm_cost_day_to_date") == (number + 1) * 10_000_000
            ledger.clock.advance(minutes=15)
        assert ledger.clock.now_ms() == end
        ledger.tick()
        assert list(ledger.family("llm_cost_day_to_date").values()) == [0]


def test_a_budget_counts_in_a_zone_of_its_own(tmp_path: Path) -> None:
    budgets = [
        Budget("here", 100 * USD, timezone="America/New_York"),
        Budget("there", 100 * USD, timezone="Asia/Tokyo"),
    ]
    tokyo = instant("Asia/Tokyo", 2025, 12, 1)
    with ledger_at(tmp_path, "America/New_York", HOUR, tokyo - 1_000, budgets=budgets) as ledger:
        ledger.book(usage(1, tokyo - 1))

        def spent(budget: Budget) -> int:
            now_ms = ledger.clock.now_ms()
            begin, end = period_of(budget, now_ms)
            found = budget_spend(ledger.store.connection, budget.name, begin, end, begin)
            assert assess(budget, found, now_ms).spent == found.spent
            return found.spent

        assert [spent(budget) for budget in budgets] == [2_500_000_000] * 2
        ledger.clock.advance(1)
        ledger.book(usage(2, tokyo))
        assert [spent(budget) for budget in budgets] == [5_000_000_000, 2_500_000_000]
        counters = ledger.family("llm_budget_cost_total")
        assert {name: value for (name, *_), value in counters.items()} == {
            "here": 5_000_000_000,
            "there": 5_000_000_000,
        }
        ledger.clock.advance(hours=14)  # past midnight in New York
        ledger.tick()
        assert [spent(budget) for budget in budgets] == [0, 2_500_000_000]


def test_a_zone_that_does_not_fit_the_cells_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cell_minutes = 15"):
        ledger_at(tmp_path, "Asia/Kolkata", HOUR, 1_763_805_600_000).open()
    budget = Budget("half", USD, timezone="Asia/Kolkata")
    with pytest.raises(LedgerError, match="budget half"):
        ledger_at(tmp_path, "UTC", HOUR, 1_763_805_600_000, budgets=[budget]).open()


def test_another_reporting_zone_recuts_the_gauges_and_leaves_the_counters(tmp_path: Path) -> None:
    tokyo = instant("Asia/Tokyo", 2025, 12, 1)
    with ledger_at(tmp_path, "UTC", HOUR, tokyo) as ledger:
        ledger.book(usage(1, tokyo - 1), usage(2, tokyo, tokens=400_000))
        assert ledger.total("llm_cost_month_to_date") == 3_500_000_000
        ledger.restart(terms=Terms("Asia/Tokyo", birth_hold_ms=0))
        assert ledger.total("llm_cost_month_to_date") == USD
        assert ledger.total("llm_cost_last_month") == 2_500_000_000
        assert ledger.total("llm_cost_total") == 3_500_000_000


def test_every_day_of_the_calendar_begins_on_a_cell_of_a_zone_that_fits() -> None:
    for zone, cell_ms in ZONES:
        calendar = Calendar(zone)
        assert calendar.fits(cell_ms, instant(zone, 2025, 6, 1))
        for month in (202503, 202504, 202510, 202511):
            begin = calendar.start_of_month(month)
            days = {
                calendar.day_and_month(begin + quarter * QUARTER)[0] for quarter in range(28 * 96)
            }
            assert len(days) in (28, 29)
