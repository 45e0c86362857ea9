"""The price book: what a quantity costs, where the figure comes from, since when.

Names are imported when they are first asked for: a GPU's node needs `node_prices` alone,
and the catalogue of models is large.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from costmeter.pricing.book import PriceBook, load_price_book
    from costmeter.pricing.contracts import Contract
    from costmeter.pricing.errors import PriceFileError
    from costmeter.pricing.models import ModelInfo
    from costmeter.pricing.rates import Rate

__all__ = ["Contract", "ModelInfo", "PriceBook", "PriceFileError", "Rate", "load_price_book"]

_HOMES = {
    "Contract": "contracts",
    "ModelInfo": "models",
    "PriceBook": "book",
    "PriceFileError": "errors",
    "Rate": "rates",
    "load_price_book": "book",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
