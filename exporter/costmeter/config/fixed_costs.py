"""Fixed costs: people, licences and contracts, which no provider meters."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

from msgspec import Struct

from costmeter.config.currencies import (
    CURRENCY,
    MONEY,
    OPTIONAL_DAY,
    OPTIONAL_MONEY,
    USD,
    Money,
    OptionalExact,
)
from costmeter.config.kinds import Choice, Exact, Whole
from costmeter.config.records import Records
from costmeter.config.spec import Setting
from costmeter.config.values import LABEL, NAME, OPTIONAL_LABEL, PERCENT
from costmeter.model import NANO_PER_USD, UNATTRIBUTED

#: Who is paid for what has no provider: the organization's own people and contracts.
INTERNAL = "internal"
ROLES = ("engineering", "operations", "management", "support")
#: Kinds of cost and the category that each is booked under.
KINDS = {
    "software_license": "software_license",
    "support_contract": "support",
    "compliance": "security_compliance",
    "training": "personnel",
    "data_annotation": "data_annotation",
}
MONTH, YEAR, ONCE = "month", "year", "once"
_DAY_TEXT = "Empty: from when costmeter first reads the entry."


class Entry(Struct, frozen=True):
    """What all costs of the configuration have: a name, dates, an owner, a currency."""

    name: Annotated[
        str,
        Setting(NAME, "What the entry is called; its past belongs to this name.", required=True),
    ] = ""
    start: Annotated[
        str, Setting(OPTIONAL_DAY, f"The first day, in the reporting time zone. {_DAY_TEXT}")
    ] = ""
    end: Annotated[
        str, Setting(OPTIONAL_DAY, "The first day that costs nothing more. Empty: no end.")
    ] = ""
    currency: Annotated[
        str, Setting(CURRENCY, "The currency of the amounts. Others than USD need `currencies`.")
    ] = USD
    tenant_id: Annotated[str, Setting(LABEL, "The tenant that bears it.")] = UNATTRIBUTED
    environment: Annotated[str, Setting(OPTIONAL_LABEL, "The environment.")] = ""
    team: Annotated[str, Setting(OPTIONAL_LABEL, "The team.")] = ""
    project: Annotated[str, Setting(OPTIONAL_LABEL, "The project.")] = ""
    feature: Annotated[str, Setting(OPTIONAL_LABEL, "The feature.")] = ""

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Settings that do not go together: (key, what to write instead)."""
        if self.start and self.end and self.end < self.start:
            yield "end", f"{self.end} is before start ({self.start}); write a later day"


class Person(Entry, frozen=True):
    """Salaries, or hours at a rate."""

    role: Annotated[str, Setting(Choice(*ROLES), "What they do.")] = "engineering"
    salary: Annotated[
        int | None,
        Setting(OPTIONAL_MONEY, "One person's salary for `per`. Empty: `hours_per_month` counts."),
    ] = None
    per: Annotated[str, Setting(Choice(YEAR, MONTH), "The time that `salary` is for.")] = YEAR
    benefits_factor: Annotated[
        Decimal,
        Setting(
            Exact("a factor", "a number such as 1.3", 10),
            "Taxes, insurance and benefits: the salary is multiplied by this, once.",
        ),
    ] = Decimal("1.3")
    headcount: Annotated[
        Decimal,
        Setting(Exact("a number of people", "a number such as 3 or 0.5", 1_000_000), "How many."),
    ] = Decimal(1)
    allocation_percent: Annotated[
        Decimal,
        Setting(PERCENT, "The share of their time that counts here.", unit="percent"),
    ] = Decimal(100)
    hours_per_month: Annotated[
        Decimal | None,
        Setting(
            OptionalExact("a number of hours", "a number such as 20 or 7.5", 10_000_000),
            "Hours that all of them work in a month, instead of a salary. They are multiplied by "
            "`hourly_rate` and nothing else.",
        ),
    ] = None
    hourly_rate: Annotated[int, Setting(MONEY, "What an hour costs with everything.")] = (
        150 * NANO_PER_USD
    )

    def mistakes(self) -> Iterator[tuple[str, str]]:
        yield from Entry.mistakes(self)
        if self.salary is None and self.hours_per_month is None:
            yield "salary", "is missing; write salary, or hours_per_month"
        if self.salary is not None and self.hours_per_month is not None:
            yield "hours_per_month", "stands beside salary; keep one of them"
        if self.hours_per_month is not None:
            for key, default in _OF_SALARIES.items():
                if getattr(self, key) != default:
                    yield key, "does not count for hours; remove it, or write salary"


_OF_SALARIES = {
    "benefits_factor": Decimal("1.3"),
    "headcount": Decimal(1),
    "allocation_percent": Decimal(100),
}


class Item(Entry, frozen=True):
    """A licence, a contract, an audit: an amount for a month, a year, or once."""

    kind: Annotated[str, Setting(Choice(*KINDS), "What it is for.", required=True)] = (
        "software_license"
    )
    amount: Annotated[int, Setting(Money(), "What is paid for `per`.", required=True)] = 1
    per: Annotated[
        str,
        Setting(
            Choice(MONTH, YEAR, ONCE),
            "The time that `amount` is for. A year is twelve equal months; what is paid once is "
            "spread over `months` from `start` on.",
        ),
    ] = MONTH
    months: Annotated[
        int, Setting(Whole(1, 600), "Over how many months a payment is amortised.", unit="months")
    ] = 36
    provider: Annotated[str, Setting(LABEL, "Who is paid, as metrics and scopes name it.")] = (
        INTERNAL
    )

    def mistakes(self) -> Iterator[tuple[str, str]]:
        yield from Entry.mistakes(self)
        if self.per == ONCE:
            if not self.start:
                yield "start", "is missing; write the day from which the payment is spread"
            if self.end and self.end != self.start:
                yield "end", "stands beside `per: once`, which ends after `months`; remove it"
        elif self.months != 36:
            yield "months", f"does not count for `per: {self.per}`; remove it, or write per: once"


class FixedCosts(Struct, frozen=True):
    personnel: Annotated[
        tuple[Person, ...], Setting(Records(Person), "People: salaries, or hours at a rate.")
    ] = ()
    items: Annotated[
        tuple[Item, ...],
        Setting(Records(Item), "Licences, support contracts, compliance, training, annotation."),
    ] = ()
