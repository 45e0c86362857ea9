"""Prices by a genai-prices file of another day, worked out apart from the price book.

The file has prices in USD per million tokens. What these checks need of it is priced:
text tokens, caches, images and audio within the input or the output, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from costmeter.pricing.match import predicate
from normalise.conformance import DATA

AUGUST = DATA / "prices" / "genai_prices_2026-08-21.json"

#: Each class of tokens by the price that it has, the first that the model says.
_KEYS = {
    "input": ("input_mtok",),
    "cache_read": ("cache_read_mtok", "input_mtok"),
    "cache_write_5m": ("cache_write_mtok", "input_mtok"),
    "cache_write_1h": ("cache_write_mtok", "input_mtok"),
    "output": ("output_mtok",),
    "reasoning": ("output_mtok",),
    "input_audio": ("input_audio_mtok", "input_mtok"),
    "cache_read_audio": ("cache_audio_read_mtok", "cache_read_mtok", "input_mtok"),
    "output_audio": ("output_audio_mtok", "output_mtok"),
    "input_image": ("input_mtok",),
    "cache_read_image": ("cache_read_mtok", "input_mtok"),
    "output_image": ("output_mtok",),
    "input_video": ("input_mtok",),
    "cache_read_video": ("cache_video_read_mtok", "cache_read_mtok", "input_mtok"),
    "output_video": ("output_mtok",),
}
_INPUTS = tuple(name for name in _KEYS if not name.startswith(("output", "reasoning")))


class Priced(NamedTuple):
    """Exact nano-USD, and the classes for which the file has no price (they add nothing)."""

    nano: Decimal
    without: frozenset[str]


class PriceList:
    """One file of prices, for standard calls at the end of a day."""

    def __init__(self, path: Path, day: str) -> None:
        providers = json.loads(path.read_text(encoding="utf-8"))
        self._providers = {one["id"]: one for one in providers}
        self._day = day

    def price(self, provider: str, model: str, quantities: Mapping[str, int]) -> Priced | None:
        """None where the file does not know the model."""
        home = self._providers.get(provider)
        if home is None:
            return None
        for seller in (provider, *home.get("fallback_model_providers", [])):
            for entry in self._providers[seller]["models"]:
                if predicate(entry["match"])(model.lower()):
                    return _total(self._prices(entry["prices"]), quantities)
        return None

    def _prices(self, raw: Any) -> Mapping[str, Any]:
        """The last active set of figures, the first one when none is active."""
        if not isinstance(raw, list):
            return dict(raw)
        for dated in reversed(raw):
            rule = dated.get("constraint") or {}
            since = rule.get("start_date", "9999" if "start_time" in rule else "")
            if since <= self._day:
                return dict(dated["prices"])
        return dict(raw[0]["prices"])


def _total(prices: Mapping[str, Any], quantities: Mapping[str, int]) -> Priced:
    whole = sum(quantities.get(name, 0) for name in _INPUTS)
    nano, without = Decimal(0), set()
    for name, count in quantities.items():
        key = next((key for key in _KEYS.get(name, ()) if key in prices), None)
        if key is None:
            without.add(name)
        else:
            nano += count * _figure(prices[key], whole) * 1000
    return Priced(nano, frozenset(without))


def _figure(raw: Any, whole_input: int) -> Decimal:
    if not isinstance(raw, Mapping):
        return Decimal(str(raw))
    figure = Decimal(str(raw["base"]))
    for tier in raw["tiers"]:
        if whole_input > tier["start"]:
            figure = Decimal(str(tier["price"]))
    return figure
