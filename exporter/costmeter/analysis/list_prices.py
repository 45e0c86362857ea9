"""The prices in force of the models in use: what a token costs now, for queries.

A query of money saved or to be saved needs prices beside tokens. The ledger itself never
reads these: an event keeps the price of its own time.
"""

from __future__ import annotations

from collections.abc import Mapping

from costmeter.model import CHUNK_SIZE, Chunk, Labels
from costmeter.pricing import PriceBook

FAMILY = "llm_price_usd_per_million_tokens"
#: Shown for every model in use, so that a class can be compared with what it replaces.
_ALWAYS = ("input", "cache_read", "output")
_TOKENS = "llm_tokens_total"


def price_chunks(
    book: PriceBook, families: Mapping[str, tuple[Chunk, ...]], now_ms: int
) -> tuple[Chunk, ...]:
    """Nano-USD per million tokens by provider, model and token class.

    Of each model that `families` has tokens of: the price of standard processing at its first
    tier, at `now_ms`. A class without a price, and a model that nobody priced, are absent.
    """
    used: dict[tuple[str, str], set[str]] = {}
    for chunk in families.get(_TOKENS, ()):
        for provider, model, _, _, token_class in chunk.labels:
            used.setdefault((provider, model), set(_ALWAYS)).add(token_class)
    found: list[tuple[tuple[str, str, str], int]] = []
    for (provider, model), classes in sorted(used.items()):
        rate = book.rate(_call(provider, model), now_ms, "standard", {})
        if rate is not None:
            prices = (rate.listed or rate).prices
            found += [
                ((provider, model, name), prices[name])
                for name in sorted(classes)
                if name in prices
            ]
    pieces = (found[at : at + CHUNK_SIZE] for at in range(0, len(found), CHUNK_SIZE))
    return tuple(
        Chunk(tuple(labels for labels, _ in piece), tuple(price for _, price in piece))
        for piece in pieces
    )


def _call(provider: str, model: str) -> Labels:
    """A call of that model about which nothing else is said."""
    nothing = dict.fromkeys(Labels._fields, "")
    return Labels(**{**nothing, "category": "llm_api", "provider": provider, "model": model})
