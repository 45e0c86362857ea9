"""FOCUS 1.0 to 1.4: the open format for bills, as https://focus.finops.org describes it.

Version 1.3 adds ServiceProviderName and HostProviderName, 1.4 drops ProviderName and
PublisherName. Columns that only some providers have, with names that begin with x_, tell
the model where they are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from costmeter.sources.azure_meters import model_of as azure_model
from costmeter.sources.azure_meters import service_of
from costmeter.sources.files.shapes import (
    Amounts,
    Group,
    Whose,
    WrongFile,
    currency_of,
    provider_of,
)
from costmeter.sources.files.values import Unreadable, amount, pairs, text
from costmeter.sources.gcp_billing import gemini_of

_COSTS = ("EffectiveCost", "BilledCost", "ListCost", "ContractedCost")
#: Without one of these a row of the bill is lost; the other two are beside them.
_SETTLING = ("EffectiveCost", "BilledCost")
_NEEDED = ("BillingCurrency", "ChargeCategory", "ChargePeriodStart", "ServiceName")
_PROVIDERS = ("ServiceProviderName", "ProviderName", "PublisherName", "HostProviderName",
              "InvoiceIssuerName")  # fmt: skip
_KEYS = (
    *_PROVIDERS, "BillingCurrency", "ChargeCategory", "ChargeClass", "ChargeFrequency",
    "ServiceName", "ServiceCategory", "SubAccountId", "BillingAccountId", "RegionId",
    "ResourceType", "SkuMeter", "CommitmentDiscountStatus", "x_UsageType", "x_SkuMeterName",
    "x_SkuMeterSubcategory", "x_SkuDescription",
)  # fmt: skip
_CHARGES: Mapping[str, str] = {
    "usage": "usage",
    "purchase": "purchase",
    "tax": "tax",
    "credit": "credit",
    "adjustment": "adjustment",
}


class Focus:
    name = "focus"
    start = "ChargePeriodStart"

    def __init__(self, columns: Sequence[str], whose: Whose) -> None:
        """Raises WrongFile where columns are missing that make it FOCUS."""
        there = frozenset(columns)
        missing = [name for name in _NEEDED if name not in there]
        if not there & frozenset(_SETTLING):
            missing += _SETTLING
        if not there & frozenset(_PROVIDERS):
            missing.append("ServiceProviderName")
        if missing:
            raise WrongFile(f"no FOCUS: it has no column {', '.join(missing)}")
        self._whose = whose
        tags = ("Tags",) if whose.tags.asked else ()
        self.keys = tuple(name for name in (*_KEYS, *tags) if name in there)
        self.end = "ChargePeriodEnd" if "ChargePeriodEnd" in there else ""
        self.costs = tuple(name for name in _COSTS if name in there)

    def group(self, cells: Sequence[Any]) -> Group:
        row = dict(zip(self.keys, cells, strict=True))
        said = {name: text(cell) for name, cell in row.items() if name != "Tags"}
        currency = currency_of(said["BillingCurrency"], "BillingCurrency")
        category = said["ChargeCategory"]
        if not category:
            raise Unreadable("ChargeCategory", "is empty")
        provider = provider_of(_first(said, *_PROVIDERS))
        service = said["ServiceName"]
        model, service = _model(provider, service, said)
        labels = self._whose.labels(
            provider,
            service,
            account=said.get("SubAccountId", ""),
            payer=said.get("BillingAccountId", ""),
            region=said.get("RegionId", ""),
            usage=" ".join(
                said.get(name, "")
                for name in ("SkuMeter", "x_UsageType", "x_SkuMeterName", "ResourceType")
            ),
            family=said.get("ServiceCategory", ""),
            model=model,
            tags=pairs(row.get("Tags")),
        )
        return Group(labels, _charge(category, said), currency, lasts=_lasts(said))

    def amounts(self, _group: Group, cells: Sequence[Any]) -> Amounts:
        found = {name: amount(cell, name) for name, cell in zip(self.costs, cells, strict=True)}
        for name in _SETTLING:
            if name in found and found[name] is None:
                raise Unreadable(name, "is empty")
        return tuple(found.get(name) for name in _COSTS)  # type: ignore[return-value]


def _first(said: Mapping[str, str], *names: str) -> str:
    return next((said[name] for name in names if said.get(name)), "")


def _charge(category: str, said: Mapping[str, str]) -> str:
    """A correction of an earlier bill is an adjustment, whatever it corrects."""
    if said.get("ChargeClass", "").lower() == "correction":
        return "adjustment"
    charge = _CHARGES.get(category.lower(), "adjustment")
    service = said["ServiceName"].lower()
    if charge in ("usage", "purchase") and (
        service.startswith(("aws support", "azure support", "support"))
        or service.endswith(" support")
    ):
        return "support"
    # What was committed and not used is paid for, and metered by nobody.
    if charge == "usage" and said.get("CommitmentDiscountStatus", "").lower() == "unused":
        return "purchase"
    return charge


def _lasts(said: Mapping[str, str]) -> bool:
    return said.get("ChargeFrequency", "").lower() != "one-time"


def _model(provider: str, service: str, said: Mapping[str, str]) -> tuple[str, str]:
    """The model, and the service with its part where the meter tells one.

    AWS calls models otherwise than applications do, so there they are none here.
    """
    meter = _first(said, "x_SkuMeterName", "SkuMeter")
    if provider == "azure" and any(w in service.lower() for w in ("openai", "foundry", "cognit")):
        part = said.get("x_SkuMeterSubcategory", "")
        return azure_model(meter, part), service_of(service, part, meter)
    if provider == "gcp":
        return gemini_of(" ".join((said.get("x_SkuDescription", ""), meter))), service
    return "", service
