"""Rows of Google Cloud's billing export as lines of a bill, on two bases.

*billed* is as the invoice has it: usage at its full cost, and each credit by itself.
*effective* is net: credits that are a price (discounts of commitments and of sustained use,
free tiers) are taken off the usage that they are for; what is left of credits is money
that Google gives, such as promotions. Both have the same total.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from costmeter.model import MS_PER_DAY, NANO_PER_USD, BillLine, Labels, half_even
from costmeter.sources.reading import malformed, nano, plain

#: Types of credit that are a lower price of the usage that they stand beside.
DISCOUNTS = frozenset(
    {
        "COMMITTED_USAGE_DISCOUNT",
        "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE",
        "SUSTAINED_USAGE_DISCOUNT",
        "DISCOUNT",
        "FREE_TIER",
        "SUBSCRIPTION_BENEFIT",
        "FEE_UTILIZATION_OFFSET",
        "RESELLER_MARGIN",
    }
)
_CHARGES: Mapping[str, str] = {
    "regular": "usage",
    "tax": "tax",
    "adjustment": "adjustment",
    "rounding_error": "adjustment",
}


def charge_of(cost_type: str, service: str, sku: str) -> str:
    """What a row is for; a type that is not known is an adjustment, which nobody meters."""
    charge = _CHARGES.get(cost_type, "adjustment")
    if charge != "usage":
        return charge
    if service.lower() == "support" or service.lower().endswith(" support"):
        return "support"
    # A commitment is paid for whether it is used or not.
    return "purchase" if sku.lower().startswith("commitment") else "usage"


class _Sum:
    """Amounts by the rate of exchange that each came with, None where it had none."""

    __slots__ = ("by_rate", "charge", "labels")

    def __init__(self, labels: Labels, charge: str) -> None:
        self.labels = labels
        self.charge = charge
        self.by_rate: dict[str | None, Decimal] = {}

    def add(self, money: Decimal, rate: str | None) -> None:
        self.by_rate[rate] = self.by_rate.get(rate, Decimal(0)) + money


class Lines:
    """Lines by day, name, currency and basis."""

    def __init__(self, now_ms: int, final_after_days: int) -> None:
        self._now_ms = now_ms
        self._final_after_days = final_after_days
        self._found: dict[int, dict[tuple[str, str, str], _Sum]] = {}

    def add(
        self,
        day: int,
        name: str,
        labels: Labels,
        charge: str,
        money: Decimal,
        currency: str,
        rate: str | None,
        credit: str = "",
    ) -> None:
        """`credit` is the credit's type, empty for the cost itself; `rate` is units a USD."""
        currency = currency.upper()
        if len(currency) != 3 or not currency.isalpha():
            raise malformed("currency", "expected three letters")
        net = credit in DISCOUNTS
        apart = f"{name} | credit {credit}"
        for basis in ("effective", "billed"):
            if credit and not (net and basis == "effective"):
                self._sum(day, basis, apart, labels, "credit", currency).add(money, rate)
            else:
                self._sum(day, basis, name, labels, charge, currency).add(money, rate)

    def _sum(
        self, day: int, basis: str, name: str, labels: Labels, charge: str, currency: str
    ) -> _Sum:
        found = self._found.setdefault(day, {})
        # A line has one currency: another one is another line.
        name = name if currency == "USD" else f"{name} | {currency}"
        return found.setdefault((basis, name, currency), _Sum(labels, charge))

    def take(self, day: int) -> tuple[BillLine, ...]:
        """The lines of a day, which are not kept any longer."""
        return tuple(
            self._line(day, basis, name, currency, found)
            for (basis, name, currency), found in self._found.pop(day, {}).items()
        )

    def _line(self, day: int, basis: str, name: str, currency: str, found: _Sum) -> BillLine:
        whole = sum(found.by_rate.values(), Decimal(0))
        usd, rate = _in_usd(found.by_rate, whole, currency)
        charge = "credit" if found.charge == "usage" and whole < 0 else found.charge
        return BillLine(
            scope="",
            day=day,
            line=name,
            revision=0,
            amount=plain(whole),
            currency=currency,
            usd_nano=usd,
            labels=found.labels,
            maturity=maturity(day, self._now_ms, self._final_after_days),
            basis=basis,
            fx_rate=rate,
            fx_day=day,
            charge=charge,
        )


def maturity(day: int, now_ms: int, final_after_days: int) -> str:
    ended = (now_ms - (day + 1) * MS_PER_DAY) // MS_PER_DAY
    if ended < 0:
        return "estimated"
    return "final" if ended >= final_after_days else "provisional"


def _in_usd(
    by_rate: Mapping[str | None, Decimal], whole: Decimal, currency: str
) -> tuple[int | None, str]:
    """Nano-USD, and USD for one unit; None where the export gives no rate.

    The export's rate is units of the currency for one USD, so amounts are divided by it.
    """
    if currency == "USD":
        return nano(whole), "1"
    exact = Fraction(0)
    for rate, money in by_rate.items():
        if rate is None:
            return None, "1"
        exact += Fraction(money) / Fraction(rate)
    usd = exact * NANO_PER_USD
    if len(by_rate) == 1:
        (only,) = by_rate
        one = 1 / Fraction(only or "1")
    else:
        # Several rates in a day: the one that the whole came to.
        one = exact / Fraction(whole) if whole else Fraction(1)
    shown = Decimal(one.numerator) / Decimal(one.denominator)
    return half_even(usd.numerator, usd.denominator), plain(round(shown, 15))
