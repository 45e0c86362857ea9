"""Azure's usage details of an enterprise agreement, as its portal and exports write them.

Such a file is either of actual or of amortised cost and does not say which, so its amount
stands on both bases.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from costmeter.sources.azure_meters import charge_of, model_of, service_of
from costmeter.sources.files.shapes import Amounts, Group, Whose, WrongFile, currency_of
from costmeter.sources.files.values import EXACT, Unreadable, amount, pairs, text

_NEEDED = ("Date", "MeterCategory", "CostInBillingCurrency")
_CURRENCIES = ("BillingCurrencyCode", "BillingCurrency")
_KEYS = (
    *_CURRENCIES, "MeterCategory", "MeterSubCategory", "MeterName", "ChargeType",
    "SubscriptionId", "BillingAccountId", "ResourceLocation", "ServiceFamily",
)  # fmt: skip


class AzureEa:
    name = "azure_ea"
    start = "Date"
    end = ""

    def __init__(self, columns: Sequence[str], whose: Whose) -> None:
        """Raises WrongFile where columns are missing."""
        missing = [name for name in _NEEDED if name not in columns]
        if not any(name in columns for name in _CURRENCIES):
            missing.append(_CURRENCIES[0])
        if missing:
            raise WrongFile(f"no usage details of Azure: it has no column {', '.join(missing)}")
        self._whose = whose
        tags = ("Tags",) if whose.tags.asked else ()
        self.keys = tuple(name for name in (*_KEYS, *tags) if name in columns)
        listed = ("PayGPrice", "Quantity")
        self._listed = all(name in columns for name in listed)
        self.costs = ("CostInBillingCurrency", *(listed if self._listed else ()))

    def group(self, cells: Sequence[Any]) -> Group:
        row = dict(zip(self.keys, cells, strict=True))
        said = {name: text(cell) for name, cell in row.items() if name != "Tags"}
        name = next(name for name in _CURRENCIES if name in said)
        currency = currency_of(said[name], name)
        meter, part = said.get("MeterName", ""), said.get("MeterSubCategory", "")
        category = said["MeterCategory"]
        llm = any(word in f"{category} {part}".lower() for word in ("openai", "foundry models"))
        service = service_of(category, part, meter)
        labels = self._whose.labels(
            "azure",
            service,
            account=said.get("SubscriptionId", ""),
            payer=said.get("BillingAccountId", ""),
            region=said.get("ResourceLocation", "").lower(),
            usage=meter,
            family=said.get("ServiceFamily", ""),
            model=model_of(meter, part) if llm else "",
            tags=pairs(row.get("Tags")),
        )
        return Group(labels, charge_of(said.get("ChargeType", "Usage"), category), currency)

    def amounts(self, _group: Group, cells: Sequence[Any]) -> Amounts:
        cost = amount(cells[0], self.costs[0])
        if cost is None:
            raise Unreadable(self.costs[0], "is empty")
        listed: Decimal | None = None
        if self._listed:
            price, quantity = (amount(c, n) for c, n in zip(cells[1:], self.costs[1:], strict=True))
            if price is not None and quantity is not None:
                listed = EXACT.multiply(price, quantity)
        return cost, cost, listed, None
