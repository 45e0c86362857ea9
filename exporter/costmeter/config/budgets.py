"""Budgets: how much may be spent, by whom, and who is told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated

from msgspec import Struct

from costmeter.config.category_thresholds import CategoryThreshold
from costmeter.config.currencies import CURRENCY, OPTIONAL_DAY, USD, Money
from costmeter.config.kinds import Amount, Choice, Pattern, Switch, Whole, Zone
from costmeter.config.records import ListOf, Records
from costmeter.config.spec import Setting
from costmeter.config.values import LABEL, NAME, PERCENT, PROSE
from costmeter.model import BUDGET_PERIODS, CATEGORIES

#: The attributes a budget can be narrowed by: exact values, all of them must match.
MATCHERS = (
    "tenant_id",
    "team",
    "provider",
    "model",
    "category",
    "environment",
    "feature",
    "project",
    "service",
    "user_id",
)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LOCAL_TIME = Pattern(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T([01][0-9]|2[0-3]):[0-5][0-9])?",
    "a local time",
    "it as 2026-12-01T02:00, or a date",
)


class Planned(Struct, frozen=True):
    """Spend that is known beforehand."""

    name: Annotated[str, Setting(NAME, "What it is called.", required=True)] = ""
    amount_nano: Annotated[
        int,
        Setting(Money(), "How much, in the budget's currency.", key="amount", required=True),
    ] = 1
    at: Annotated[
        str,
        Setting(_LOCAL_TIME, "When it begins, in the budget's time zone.", required=True),
    ] = ""
    hours: Annotated[int, Setting(Whole(1, 744), "How long it takes at most.", unit="hours")] = 24
    repeats: Annotated[
        str,
        Setting(
            Choice("day", "week", "month", "quarter", "year", empty=True),
            "How often it comes again. Empty: once. A day that a month has not is its last.",
        ),
    ] = ""


class Notify(Struct, frozen=True):
    """Somebody who is told, and of what."""

    to: Annotated[
        str, Setting(LABEL, "A mail address, a Slack channel (#name), or a link.", required=True)
    ] = ""
    level: Annotated[
        str,
        Setting(Choice("warning", "critical", "exceeded"), "The least level they hear of."),
    ] = "warning"
    projections: Annotated[
        bool, Setting(Switch(), "Whether they hear of projections over the limit too.")
    ] = True

    @property
    def kind(self) -> str:
        if self.to.startswith("#"):
            return "slack"
        return "email" if "@" in self.to and "://" not in self.to else "other"


class Budget(Struct, frozen=True):
    """One budget. A matcher that is empty matches everything."""

    name: Annotated[
        str, Setting(NAME, "What the budget is called in metrics and pages.", required=True)
    ] = ""
    limit_nano: Annotated[
        int,
        Setting(
            Amount(zero=True),
            "What may be spent in a period, exact to the nano-USD. 0: nothing may be spent. With "
            "`currency` it is an amount of that currency, whatever the key says.",
            unit="USD",
            key="limit_usd",
            required=True,
        ),
    ] = 1
    currency: Annotated[
        str,
        Setting(
            CURRENCY,
            "The currency of the limit and of planned amounts. Others than USD need `currencies`, "
            "and are converted with the rate of the day.",
        ),
    ] = USD
    period: Annotated[
        str,
        Setting(Choice(*BUDGET_PERIODS), "How long the limit lasts; custom: from start to end."),
    ] = "month"
    timezone: Annotated[
        str,
        Setting(
            Zone(empty=True),
            "Where the budget's period begins and ends. Empty: the ledger's reporting time zone.",
        ),
    ] = ""
    week_starts: Annotated[
        str, Setting(Choice(*WEEKDAYS), "The first day of a week; only for weeks.")
    ] = "monday"
    start: Annotated[
        str,
        Setting(
            OPTIONAL_DAY,
            "The first day of a custom period; of another one that does not renew, a day in it.",
        ),
    ] = ""
    end: Annotated[
        str, Setting(OPTIONAL_DAY, "The first day that is not in the custom period any more.")
    ] = ""
    repeats: Annotated[
        str,
        Setting(
            Choice("never", "length", "year", empty=True),
            "Empty: a calendar period renews and a custom one does not. never: one period only. "
            "length, year: a custom period comes again right after its end, or every year.",
        ),
    ] = ""
    rollover: Annotated[
        bool, Setting(Switch(), "Adds what a period leaves to the limit of the next one.")
    ] = False
    rollover_nano: Annotated[
        int | None,
        Setting(
            Amount(optional=True),
            "At most so much is carried over. Empty: as much as the limit.",
            unit="USD",
            key="rollover_max_usd",
        ),
    ] = None
    tenant_id: Annotated[str, Setting(LABEL, "Counts this tenant alone.")] = ""
    team: Annotated[str, Setting(LABEL, "Counts this team alone.")] = ""
    provider: Annotated[str, Setting(LABEL, "Counts this provider alone.")] = ""
    model: Annotated[str, Setting(LABEL, "Counts this model alone.")] = ""
    category: Annotated[
        str, Setting(Choice(*CATEGORIES), "Counts this category of cost alone.")
    ] = ""
    environment: Annotated[str, Setting(LABEL, "Counts this environment alone.")] = ""
    feature: Annotated[str, Setting(LABEL, "Counts this feature alone.")] = ""
    project: Annotated[str, Setting(LABEL, "Counts this project alone.")] = ""
    service: Annotated[str, Setting(LABEL, "Counts this service alone.")] = ""
    user_id: Annotated[
        str, Setting(LABEL, "Counts what the calls of this user cost, without bills.")
    ] = ""
    warning_percent: Annotated[
        Decimal, Setting(PERCENT, "Share of the limit at which somebody is warned.", unit="percent")
    ] = Decimal(80)
    critical_percent: Annotated[
        Decimal, Setting(PERCENT, "Share of the limit at which somebody is paged.", unit="percent")
    ] = Decimal(95)
    planned: Annotated[
        tuple[Planned, ...],
        Setting(
            Records(Planned),
            "Spend that is known beforehand: in the projection, and no alarm about its rate.",
        ),
    ] = ()
    owner: Annotated[str, Setting(PROSE, "Who answers for the budget.")] = ""
    contacts: Annotated[
        tuple[str, ...], Setting(ListOf(LABEL, "addresses"), "Who is told: mail, channel, link.")
    ] = ()
    notify: Annotated[
        tuple[Notify, ...],
        Setting(Records(Notify), "Who is told with preferences: of what, and from which level on."),
    ] = ()
    description: Annotated[str, Setting(PROSE, "What the money is for.")] = ""
    active: Annotated[bool, Setting(Switch(), "False keeps the budget but watches it no more.")] = (
        True
    )

    @property
    def matchers(self) -> Mapping[str, str]:
        """The attributes that narrow this budget; empty for one over the whole ledger."""
        named = ((name, getattr(self, name)) for name in MATCHERS)
        return {name: value for name, value in named if value}

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Settings that do not go together: (key, what to write instead)."""
        if self.warning_percent >= self.critical_percent:
            text = f"{self.warning_percent:f} is not below critical_percent"
            yield "warning_percent", f"{text} ({self.critical_percent:f}); write a smaller number"
        yield from self._dates()
        if self.rollover and self.currency != USD:
            yield "rollover", "is for budgets in USD; a rate of exchange leaves nothing over"
        if self.rollover_nano is not None and not self.rollover:
            yield "rollover_max_usd", "does nothing without rollover: true"
        for number, item in enumerate(self.planned):
            try:
                dt.datetime.fromisoformat(item.at or "2026-01-01")
            except ValueError:
                text = f"{item.at!r} is no day of the calendar; write one such as 2026-12-01T02:00"
                yield f"planned[{number}].at", text

    def _dates(self) -> Iterator[tuple[str, str]]:
        custom = self.period == "custom"
        if custom and not (self.start and self.end):
            yield "period", "custom needs start and end; write both, as 2026-11-01"
        elif custom and self.end <= self.start:
            yield "end", f"{self.end} is not after start ({self.start}); write a later day"
        elif not custom and self.end:
            yield "end", "is for a custom period; write period: custom, or remove it"
        elif not custom and self.repeats in ("length", "year"):
            yield (
                "repeats",
                f"{self.repeats} is for a custom period; other ones renew by themselves",
            )
        elif not custom and self.repeats == "never" and not self.start:
            yield "repeats", "never needs start, a day of the one period"
        elif not custom and self.start and self.repeats != "never":
            yield "start", "is for a custom period, or with repeats: never; remove it"
        elif custom and self.repeats == "year" and _over_a_year(self.start, self.end):
            yield "repeats", "year would overlap: from start to end is more than a year"


def _over_a_year(start: str, end: str) -> bool:
    return (dt.date.fromisoformat(end) - dt.date.fromisoformat(start)).days > 365


#: What people write who think of a limit by another name.
_INSTEAD = dict.fromkeys(
    ("limit", "limit_eur", "limit_gbp"),
    "is no setting: write limit_usd, and beside it currency for another one than USD",
)


class Budgets(Struct, frozen=True):
    monthly_nano: Annotated[
        int | None,
        Setting(
            Amount(optional=True),
            "The monthly budget over the whole ledger, exported as llm_budget_monthly. "
            "Empty: none.",
            unit="USD",
            key="monthly_usd",
        ),
    ] = None
    items: Annotated[
        tuple[Budget, ...],
        Setting(Records(Budget, _INSTEAD), "Budgets of their own, in order of importance."),
    ] = ()
    categories: Annotated[
        tuple[CategoryThreshold, ...],
        Setting(
            Records(CategoryThreshold),
            "Amounts of a category's month-to-date spend at which somebody is told.",
        ),
    ] = ()

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Settings that do not go together: (key below `budgets`, what to write instead)."""
        seen: set[str] = set()
        for number, budget in enumerate(self.items):
            for key, text in budget.mistakes():
                yield f"items[{number}].{key}", text
        for number, one in enumerate(self.categories):
            for key, text in one.mistakes():
                yield f"categories[{number}].{key}", text
            if one.category and one.category in seen:
                yield f"categories[{number}].category", f"{one.category} stands twice; remove one"
            seen.add(one.category)
