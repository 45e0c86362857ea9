"""What a GPU costs, asked on its node: the GPU list and price files alone.

The answer is the server's own, except for what contracts say: those are known there only.
An agent imports this module, so it needs nothing but PyYAML beside the standard library.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from costmeter.model import GPU_ENERGY, half_even
from costmeter.pricing.cards import Cards, card_query, numbered
from costmeter.pricing.overrides import embedded_gpu_prices, load_price_file
from costmeter.pricing.rates import GPU_MS, MILLION, Figure
from costmeter.segment import Placement

#: Answers that are remembered: a node has a few kinds of GPU, and its labels hardly change.
_REMEMBERED = 1_000


class NodePrice(NamedTuple):
    """Nano-USD of a GPU-hour and of a kWh; no price of a kWh: the hour's has it in it.

    `source` says for a person where the figures come from.
    """

    nano_per_gpu_hour: int
    nano_per_kwh: int | None
    source: str


class NodePrices:
    """Prices that never change; after a change of a file the caller loads new ones."""

    def __init__(self, cards: Cards) -> None:
        self._cards = cards
        self._known: dict[tuple[Placement, str], tuple[int, int, NodePrice | None]] = {}

    @classmethod
    def load(cls, files: Sequence[Path]) -> NodePrices:
        """The package's list with the files' lines; later files win.

        PriceFileError for a file that cannot be read or says something wrong.
        """
        read = [load_price_file(path, str.lower) for path in files]
        overrides = numbered(line for file in read for line in file.gpu)
        return cls(Cards(embedded_gpu_prices(), overrides))

    def of(self, placement: Placement, gpu_model: str, at_ms: int) -> NodePrice | None:
        """The price at an instant; None where none is known (unpriced, never free)."""
        key = (placement, gpu_model)
        found = self._known.get(key)
        if found is None or not found[0] <= at_ms < found[1]:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[key] = self._find(placement, gpu_model, at_ms)
        return found[2]

    def _find(
        self, placement: Placement, gpu_model: str, at_ms: int
    ) -> tuple[int, int, NodePrice | None]:
        query = card_query(
            placement.provider,
            gpu_model,
            placement.account,
            placement.region,
            placement.instance_type,
            placement.purchase,
        )
        told = self._cards.at_list(query, at_ms)
        figures = told.figures or {}
        hour, kwh = _nano(figures.get(GPU_MS)), _nano(figures.get(GPU_ENERGY))
        price = None if hour is None else NodePrice(hour, kwh, told.source)
        return told.from_ms, told.until_ms, price


def _nano(figure: Figure | None) -> int | None:
    """A whole unit's price from one per million; cards have no tiers."""
    return half_even(figure, MILLION) if isinstance(figure, int) else None
