"""What another price book would say of the same calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from costmeter.model import PROCESSING, Labels
from costmeter.pricing.book import PriceBook
from costmeter.pricing.rates import CHAINS, Tariff


class PriceChange(NamedTuple):
    """One figure that differs, in nano-USD per million priced units; None is unpriced.

    `above` is the count of input tokens above which it holds, 0 for the figure below any
    threshold.
    """

    labels: Labels
    processing: str
    unit: str
    above: int
    old: int | None
    new: int | None


def changes(
    old: PriceBook, new: PriceBook, asked: Iterable[Labels], at_ms: int
) -> list[PriceChange]:
    """Every figure of these usages that the two books see differently at an instant.

    A class that only follows a wider one (cached input without a price of its own) is left
    out: the wider one says it.
    """
    found: list[PriceChange] = []
    for labels in asked:
        for processing in PROCESSING:
            before = old.found(labels, at_ms, processing).tariff
            after = new.found(labels, at_ms, processing).tariff
            if before is not after:
                found += _differences(labels, processing, before, after)
    return found


def _differences(
    labels: Labels, processing: str, before: Tariff | None, after: Tariff | None
) -> list[PriceChange]:
    edges = sorted({*(before.above if before else ()), *(after.above if after else ())})
    found: list[PriceChange] = []
    last: dict[str, tuple[int | None, int | None]] = {}
    for edge in edges:
        one, other = _prices(before, edge), _prices(after, edge)
        pairs = {name: (one.get(name), other.get(name)) for name in one.keys() | other.keys()}
        for name, pair in sorted(pairs.items()):
            follows = any(pairs.get(wider) == pair for wider in CHAINS.get(name, ()))
            if pair[0] != pair[1] and not follows and last.get(name) != pair:
                found.append(PriceChange(labels, processing, name, max(edge, 0), *pair))
        last = pairs
    return found


def _prices(tariff: Tariff | None, edge: int) -> dict[str, int]:
    if tariff is None:
        return {}
    place = max(n for n, above in enumerate(tariff.above) if above <= edge)
    return dict(tariff.rates[place].prices)
