"""Names in an Azure bill: which model a meter is of, and what a charge is for."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Where the model's name ends in a meter's: what is metered, where it ran, and how.
_ENDS = frozenset({
    "inp", "inpt", "input", "outp", "outpt", "output", "opt", "out", "prompt", "completion",
    "compl", "cached", "cchd", "cd", "cache", "batch", "glbl", "gl", "global", "regnl",
    "regional", "dz", "dzn", "dzone", "data", "datazone", "tokens", "token", "1k", "1m", "std",
    "pp", "prty", "priority", "flex", "ft", "longco", "shortco",
})  # fmt: skip
_DATE = re.compile(r"[0-9]{4}|[0-9]{8}")
_CHARGES: Mapping[str, str] = {
    "usage": "usage",
    "purchase": "purchase",
    # Nobody used what was reserved in vain: no meter is to be lifted by it.
    "unusedreservation": "purchase",
    "unusedsavingsplan": "purchase",
    "tax": "tax",
    "credit": "credit",
    "refund": "adjustment",
    "adjustment": "adjustment",
    "roundingadjustment": "adjustment",
}


def charge_of(charge_type: str, service: str) -> str:
    """What a ChargeType is for; one that is not known is an adjustment."""
    charge = _CHARGES.get(charge_type.lower(), "adjustment")
    if charge in ("usage", "purchase") and service.lower().startswith(("support", "azure support")):
        return "support"
    return charge


def model_of(meter: str, subcategory: str = "") -> str:
    """The model in a meter's name, as deployments call it; empty where there is none.

    Meters are named like `gpt-4o 1120 Inp glbl Tokens`, or `5.4 inp Gl 1M` in a subcategory
    like `Azure OpenAI GPT5`.
    """
    if "provisioned" in meter.lower():
        return ""  # it is paid by the hour, whatever runs on it
    words = re.split(r"[\s-]+", meter.strip().lower())
    model: list[str] = []
    for word in words:
        if word in _ENDS or (_DATE.fullmatch(word) and model):
            break
        model.append(word)
    else:
        return ""  # no meter of tokens
    if model and model[0][0].isdigit() and "gpt" in subcategory.lower():
        model.insert(0, "gpt")
    return "-".join(model)


def service_of(service: str, subcategory: str, meter: str) -> str:
    """The service with its part; what is paid by the hour is told from what is metered."""
    name = f"{service}/{subcategory}" if subcategory and subcategory != service else service
    return f"{name} provisioned" if "provisioned" in f"{subcategory} {meter}".lower() else name
