"""Budgets: how much may be spent, by whom, and who is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal

from costmeter.config.kinds import Amount, Choice, Switch, Zone
from costmeter.config.records import ListOf, Records
from costmeter.config.spec import Setting
from costmeter.config.values import LABEL, NAME, PERCENT, PROSE
from costmeter.model import CATEGORIES

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
)


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget. A matcher that is empty matches everything."""

    name: Annotated[
        str, Setting(NAME, "What the budget is called in metrics and pages.", required=True)
    ] = ""
    limit_nano: Annotated[
        int,
        Setting(
            Amount(),
            "What may be spent in a period, exact to the nano-USD.",
            unit="USD",
            key="limit_usd",
            required=True,
        ),
    ] = 1
    period: Annotated[Literal["month"], Setting(Choice("month"), "How long the limit lasts.")] = (
        "month"
    )
    timezone: Annotated[
        str,
        Setting(
            Zone(empty=True),
            "Where the budget's period begins and ends. Empty: the ledger's reporting time zone.",
        ),
    ] = ""
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
    warning_percent: Annotated[
        Decimal, Setting(PERCENT, "Share of the limit at which somebody is warned.", unit="percent")
    ] = Decimal(80)
    critical_percent: Annotated[
        Decimal, Setting(PERCENT, "Share of the limit at which somebody is paged.", unit="percent")
    ] = Decimal(95)
    owner: Annotated[str, Setting(PROSE, "Who answers for the budget.")] = ""
    contacts: Annotated[
        tuple[str, ...], Setting(ListOf(LABEL, "addresses"), "Who is told: mail, channel, link.")
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


@dataclass(frozen=True, slots=True)
class Budgets:
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
        Setting(Records(Budget), "Budgets of their own, in order of importance."),
    ] = ()
