"""What a budget must be, for whoever makes one through the library."""

from __future__ import annotations

import datetime as dt
import re

from costmeter.ledger.budget_periods import periods_of
from costmeter.ledger.budget_store import BudgetError
from costmeter.ledger.periods import Calendar
from costmeter.model import BUDGET_LABELS, BUDGET_PERIODS, CATEGORIES, Budget

_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_MOST_NANO = 9_000_000_000 * 10**9
_LEVELS = ("warning", "critical", "exceeded")
_REPEATS = ("", "day", "week", "month", "quarter", "year")


def check(budget: Budget, cell_ms: int, now_ms: int) -> None:
    """Raises BudgetError, which says what is wrong and what to write instead."""
    if not _NAME.fullmatch(budget.name):
        raise _wrong(budget, "its name may have up to 128 letters, digits, '_', '.' and '-'")
    if not 0 <= budget.limit_nano <= _MOST_NANO:
        raise _wrong(budget, "its limit must be from 0 to 9,000,000,000")
    if not 0 < budget.warning_permille < budget.critical_permille <= 1_000:
        raise _wrong(budget, "write thresholds with 0 < warning < critical <= 100 %")
    if not _CURRENCY.fullmatch(budget.currency):
        raise _wrong(budget, "its currency is written as three capital letters, such as EUR")
    if budget.rollover and budget.currency != "USD":
        raise _wrong(budget, "rollover is for budgets in USD")
    _check_match(budget)
    _check_time(budget, cell_ms, now_ms)
    for item in budget.planned:
        if not 1 <= item.hours <= 744 or item.repeats not in _REPEATS or item.amount_nano <= 0:
            raise _wrong(budget, f"planned {item.name!r} needs an amount, and 1 to 744 hours")
        try:
            naive = dt.datetime.fromisoformat(item.at).tzinfo is None
        except ValueError:
            naive = False
        if not naive:
            raise _wrong(budget, f"planned {item.name!r}: write its time as 2026-12-01T02:00")
    for contact in budget.notify:
        if contact.level not in _LEVELS:
            raise _wrong(budget, f"a contact's level is one of {', '.join(_LEVELS)}")


def _check_match(budget: Budget) -> None:
    names = [name for name, _ in budget.match]
    for name, value in budget.match:
        if name not in BUDGET_LABELS:
            raise _wrong(budget, f"{name!r} is no label; choose from {', '.join(BUDGET_LABELS)}")
        if not value or not value.isprintable():
            raise _wrong(budget, f"{name} needs a value, on one line")
        if name == "category" and value not in CATEGORIES:
            raise _wrong(budget, f"category is one of {', '.join(CATEGORIES)}")
    if len(set(names)) < len(names):
        raise _wrong(budget, "a label stands twice")


def _check_time(budget: Budget, cell_ms: int, now_ms: int) -> None:
    if budget.period not in BUDGET_PERIODS:
        raise _wrong(budget, f"its period is one of {', '.join(BUDGET_PERIODS)}")
    try:
        periods_of(budget.cut)
        fits = Calendar(budget.timezone).fits(cell_ms, now_ms)
    except (ValueError, KeyError, OSError) as error:
        raise _wrong(budget, str(error)) from None
    if not fits:
        raise _wrong(
            budget,
            f"days in {budget.timezone} do not begin on a full hour UTC, as this ledger's cells "
            "do; create a ledger with ledger.cell_minutes = 15, or choose another zone",
        )


def _wrong(budget: Budget, text: str) -> BudgetError:
    return BudgetError(f"budget {budget.name!r}: {text}")
