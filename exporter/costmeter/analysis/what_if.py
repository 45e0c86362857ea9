"""What would it cost if: growth, efficiency, prices, another model, more users.

Integers of nano-USD and exact decimals; a month's figure is rounded half to even, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext


@dataclass(frozen=True, slots=True)
class Mix:
    """How cost follows usage: shares that add up to 1.

    `fixed` stays, `linear` goes with usage, `sublinear` with usage to the power `exponent`.
    """

    fixed: Decimal
    linear: Decimal
    sublinear: Decimal = Decimal(0)
    exponent: Decimal = Decimal("0.7")

    def __post_init__(self) -> None:
        parts = (self.fixed, self.linear, self.sublinear)
        if any(part < 0 for part in parts) or sum(parts) != 1:
            raise ValueError(
                f"shares are {' + '.join(map(str, parts))} = {sum(parts)}: they add up to 1, "
                "and none is negative"
            )

    def factor(self, usage: Decimal) -> Decimal:
        """fixed + linear x usage + sublinear x usage^exponent; usage 1 is the baseline."""
        if usage < 0:
            raise ValueError(f"usage of {usage}: 0 or more times the baseline")
        root = usage**self.exponent if self.sublinear and usage else Decimal(0)
        return self.fixed + self.linear * usage + self.sublinear * root


FIXED = Mix(Decimal(1), Decimal(0))
VARIABLE = Mix(Decimal(0), Decimal(1))
#: 60 % fixed, 40 % variable.
SEMI_VARIABLE = Mix(Decimal("0.6"), Decimal("0.4"))
#: 20 % fixed, 50 % linear, 30 % sub-linear with the exponent 0.7.
BY_USERS = Mix(Decimal("0.2"), Decimal("0.5"), Decimal("0.3"))


@dataclass(frozen=True, slots=True)
class Scenario:
    """What changes. Ratios: growth 0.10 = 10 % a year; price_change -0.2 = a fifth cheaper.

    Growth and efficiency act from month to month, the others from the first month on.
    `users` is the number of users over today's.
    """

    growth_per_year: Decimal = Decimal("0.10")
    efficiency_per_year: Decimal = Decimal("0.02")
    price_change: Decimal = Decimal(0)
    users: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        if self.growth_per_year <= -1 or self.price_change < -1 or self.users < 0:
            raise ValueError("growth is above -100 %, a price change at least that, users not < 0")
        if not 0 <= self.efficiency_per_year < 1:
            raise ValueError(f"efficiency {self.efficiency_per_year}: from 0 to under 1 a year")


@dataclass(frozen=True, slots=True)
class Part:
    """Cost that behaves alike: `monthly` nano-USD now, and how it follows usage and users.

    `switched` is what the same usage costs with another model (see `switch`), None = no switch.
    A fixed cost has no list price: `priced` says whether a price change reaches it.
    """

    name: str
    monthly: int
    usage: Mix = VARIABLE
    users: Mix = BY_USERS
    switched: int | None = None
    priced: bool = True


@dataclass(frozen=True, slots=True)
class Month:
    """One row: month 1 is the first one ahead; nano-USD. `saved` = baseline - scenario, both
    of the month; `saved_so_far` of all months up to it; `change` is scenario / baseline - 1,
    None where the baseline is 0. `parts` are the scenario's parts in order of their names."""

    month: int
    baseline: int
    scenario: int
    saved: int
    saved_so_far: int
    change: Decimal | None
    parts: tuple[tuple[str, int], ...]


def what_if(parts: Sequence[Part], scenario: Scenario, months: int) -> tuple[Month, ...]:
    """Scenario against baseline (all stays as it is) for 1 to 120 months.

    Of each part in month m, with its mixes u (usage) and p (users):

        base  = switched, or monthly without a switch
        usage = (1 + growth)^(m/12) x (1 - efficiency)^(m/12)
        cost  = base x u(usage) x p(users) x (1 + price change, where priced)
    """
    if not 1 <= months <= 120:
        raise ValueError(f"{months} months: 1 to 120 are possible")
    rows: list[Month] = []
    baseline, saved = sum(part.monthly for part in parts), 0
    for month in range(1, months + 1):
        costs = sorted((part.name, _cost(part, scenario, month)) for part in parts)
        total = sum(cost for _name, cost in costs)
        saved += baseline - total
        change = _ratio(total - baseline, baseline)
        rows.append(Month(month, baseline, total, baseline - total, saved, change, tuple(costs)))
    return tuple(rows)


def _cost(part: Part, scenario: Scenario, month: int) -> int:
    with localcontext() as exact:
        exact.prec = 40
        years = Decimal(month) / 12
        usage = (1 + scenario.growth_per_year) ** years
        usage *= (1 - scenario.efficiency_per_year) ** years
        base = part.monthly if part.switched is None else part.switched
        cost = base * part.usage.factor(usage) * part.users.factor(scenario.users)
        if part.priced:
            cost *= 1 + scenario.price_change
        return int(cost.to_integral_value(ROUND_HALF_EVEN))


@dataclass(frozen=True, slots=True)
class Switch:
    """Cost of one period's tokens with another model's prices. `nano` is None where a class of
    tokens has no price: `unpriced` names those."""

    nano: int | None
    unpriced: tuple[str, ...]


def switch(
    tokens: Mapping[str, int],
    usd_per_million: Mapping[str, Decimal],
    tokens_ratio: Decimal = Decimal(1),
) -> Switch:
    """Sum of tokens x USD per million x 1000 nano, over classes of tokens that are disjoint.

    `tokens_ratio` is how many tokens the other model needs for the same text: tokenizers
    differ. A class with tokens and without a price leaves the cost unknown, never 0.
    """
    missing = tuple(sorted(k for k, count in tokens.items() if count and k not in usd_per_million))
    if missing:
        return Switch(None, missing)
    nano = sum((Decimal(n) * usd_per_million[k] * 1000 for k, n in tokens.items() if n), Decimal(0))
    return Switch(int((nano * tokens_ratio).to_integral_value(ROUND_HALF_EVEN)), ())


def _ratio(part: int, whole: int) -> Decimal | None:
    return (Decimal(part) / whole).quantize(Decimal("0.000001")) if whole else None
