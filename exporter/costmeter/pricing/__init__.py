"""The price book: what a quantity costs, where the figure comes from, since when."""

from costmeter.pricing.book import PriceBook, load_price_book
from costmeter.pricing.errors import PriceFileError
from costmeter.pricing.models import ModelInfo
from costmeter.pricing.rates import Rate

__all__ = ["ModelInfo", "PriceBook", "PriceFileError", "Rate", "load_price_book"]
