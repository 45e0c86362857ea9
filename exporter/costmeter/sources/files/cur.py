"""AWS Cost and Usage Reports: the older CSV (`lineItem/UnblendedCost`) and CUR 2.0.

Amortised cost by type of line item is AWS's own rule: what a commitment has paid for costs
its share of the commitment, and fees cost only what of them was not used. Net columns,
where an account has them, hold discounts already and are taken instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from costmeter.sources.aws_bill import charge_of
from costmeter.sources.files.shapes import Amounts, Group, Whose, WrongFile, currency_of
from costmeter.sources.files.values import EXACT, Unreadable, amount, pairs, text

_NEEDED = ("line_item_line_item_type", "line_item_usage_start_date",
           "line_item_unblended_cost", "line_item_currency_code")  # fmt: skip
_KEYS = (
    "line_item_line_item_type", "line_item_currency_code", "line_item_product_code",
    "line_item_usage_type", "line_item_usage_account_id", "bill_payer_account_id",
    "bill_billing_entity", "product_product_name", "product_servicename",
    "product_product_family", "product_region_code", "product_region", "product",
    "reservation_reservation_a_r_n",
)  # fmt: skip
_COSTS = (
    "line_item_unblended_cost", "line_item_net_unblended_cost",
    "pricing_public_on_demand_cost",
    "reservation_effective_cost", "reservation_net_effective_cost",
    "reservation_unused_amortized_upfront_fee_for_billing_period",
    "reservation_net_unused_amortized_upfront_fee_for_billing_period",
    "reservation_unused_recurring_fee", "reservation_net_unused_recurring_fee",
    "savings_plan_savings_plan_effective_cost", "savings_plan_net_savings_plan_effective_cost",
    "savings_plan_total_commitment_to_date", "savings_plan_used_commitment",
)  # fmt: skip
_NOTHING = Decimal(0)
_UPPER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def column(name: str) -> str:
    """`lineItem/UnblendedCost` in the spelling of CUR 2.0: `line_item_unblended_cost`."""
    group, slash, rest = name.partition("/")
    if not slash or group == "resourceTags":
        return name
    if rest == "ReservationARN":
        return "reservation_reservation_a_r_n"
    return f"{_snake(group)}_{_snake(rest)}"


def _snake(name: str) -> str:
    return _UPPER.sub("_", name).lower().replace("-", "_")


class Cur:
    name = "cur"

    def __init__(self, columns: Sequence[str], whose: Whose) -> None:
        """Raises WrongFile where columns are missing that make it a CUR."""
        there = {column(name): name for name in reversed(columns)}
        missing = [name for name in _NEEDED if name not in there]
        if missing:
            raise WrongFile(
                f"no Cost and Usage Report: it has no column {', '.join(missing)} "
                "(lineItem/... in the older ones)"
            )
        self._whose = whose
        self._tags = self._tag_columns(columns) if whose.tags.asked else {}
        keys = [name for name in _KEYS if name in there]
        self._keys = (*keys, *self._tags)
        self.keys = (*(there[name] for name in keys), *self._tags)
        self.start = there["line_item_usage_start_date"]
        self.end = there.get("line_item_usage_end_date", "")
        self._costs = tuple(name for name in _COSTS if name in there)
        self.costs = tuple(there[name] for name in self._costs)
        self._spelt = there

    def _tag_columns(self, columns: Sequence[str]) -> Mapping[str, str]:
        """Columns that hold tags, and the key of each; the map of CUR 2.0 has none."""
        asked = self._whose.tags.asked
        found = {name: "" for name in columns if name == "resource_tags"}
        for name in columns:
            group, _, key = name.partition("/")
            bare = key.removeprefix("user:")
            if group == "resourceTags" and (key in asked or bare in asked):
                found[name] = bare if bare in asked else key
        return found

    def group(self, cells: Sequence[Any]) -> Group:
        row = dict(zip(self._keys, cells, strict=True))
        said = {n: text(c) for n, c in row.items() if n != "product" and n not in self._tags}
        kind = said["line_item_line_item_type"]
        if not kind:
            raise Unreadable(self._spelt["line_item_line_item_type"], "is empty")
        currency = currency_of(
            said["line_item_currency_code"], self._spelt["line_item_currency_code"]
        )
        product = pairs(row.get("product"))
        code = said.get("line_item_product_code", "")
        service = (
            said.get("product_product_name")
            or product.get("product_name")
            or said.get("product_servicename")
            or product.get("servicename")
            or code
        )
        labels = self._whose.labels(
            "aws",
            service,
            account=said.get("line_item_usage_account_id", ""),
            payer=said.get("bill_payer_account_id", ""),
            region=said.get("product_region_code") or said.get("product_region", ""),
            usage=f"{code} {said.get('line_item_usage_type', '')}",
            tags=self._tags_of(row),
        )
        charge = charge_of(kind, service)
        if charge in ("usage", "purchase") and code.lower().startswith("awssupport"):
            charge = "support"
        reserved = "+reserved" if said.get("reservation_reservation_a_r_n") else ""
        return Group(labels, charge, currency, f"{kind}{reserved}", lasts=kind != "Fee")

    def _tags_of(self, row: Mapping[str, Any]) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for name, key in self._tags.items():
            if key:
                found[key] = text(row[name])
                continue
            for raw, value in pairs(row[name]).items():
                bare = raw.removeprefix("user_").removeprefix("user:")
                found[bare] = found[raw] = value
        return found

    def amounts(self, group: Group, cells: Sequence[Any]) -> Amounts:
        said = {
            name: amount(cell, self._spelt[name])
            for name, cell in zip(self._costs, cells, strict=True)
        }
        unblended = said["line_item_unblended_cost"]
        if unblended is None:
            raise Unreadable(self._spelt["line_item_unblended_cost"], "is empty")
        net = said.get("line_item_net_unblended_cost")
        billed = unblended if net is None else net
        listed = said.get("pricing_public_on_demand_cost")
        return _effective(group.kind, billed, said), billed, listed, None


def _effective(kind: str, billed: Decimal, said: Mapping[str, Decimal | None]) -> Decimal:
    """What a line item costs when commitments are spread over what they pay for."""

    def first(*names: str) -> Decimal | None:
        return next((said[name] for name in names if said.get(name) is not None), None)

    if kind.startswith("DiscountedUsage"):
        found = first("reservation_net_effective_cost", "reservation_effective_cost")
        return billed if found is None else found
    if kind.startswith("SavingsPlanCoveredUsage"):
        found = first(
            "savings_plan_net_savings_plan_effective_cost",
            "savings_plan_savings_plan_effective_cost",
        )
        return billed if found is None else found
    if kind.startswith("SavingsPlanRecurringFee"):
        whole = first("savings_plan_total_commitment_to_date")
        used = first("savings_plan_used_commitment")
        return billed if whole is None else EXACT.subtract(whole, used or _NOTHING)
    if kind.startswith("RIFee"):
        unused = "unused_amortized_upfront_fee_for_billing_period"
        upfront = first(f"reservation_net_{unused}", f"reservation_{unused}")
        fee = "unused_recurring_fee"
        recurring = first(f"reservation_net_{fee}", f"reservation_{fee}")
        if upfront is None and recurring is None:
            return billed
        return EXACT.add(upfront or _NOTHING, recurring or _NOTHING)
    if kind.startswith(("SavingsPlanNegation", "SavingsPlanUpfrontFee")) or kind == "Fee+reserved":
        return _NOTHING
    return billed
