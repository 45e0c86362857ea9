"""Which values of which dimension a difference comes from: few values first.

After Adtributor (Bhagwan et al., "Adtributor: Revenue Debugging in Advertising Systems",
NSDI 2014): a value's explanatory power is its share of the whole change, its surprise
how far its share of the spend moved. Standard library only; amounts are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from msgspec import Struct

from costmeter.analysis.anomaly.shapes import Share

#: What the named values of one dimension explain together before no more are named.
ENOUGH = 0.8
#: A value that explains less is part of the rest.
LEAST = 0.1
MOST = 3
#: The name under which everything unnamed stands; no value of a label is empty there.
REST = "(rest)"


class Part(Struct, frozen=True):
    """What one value of one dimension was expected to spend in a window, and did. Nano-USD."""

    dimension: str
    value: str
    expected: int
    actual: int


class Explanation(Struct, frozen=True):
    """Of each dimension a few values and the rest, which add up to the whole exactly.

    `dimensions` has the one that explains best first; `shares` are that dimension's.
    """

    expected: int
    actual: int
    dimensions: tuple[tuple[str, tuple[Share, ...]], ...]

    @property
    def shares(self) -> tuple[Share, ...]:
        return self.dimensions[0][1] if self.dimensions else ()


def explain(expected: int, actual: int, parts: Iterable[Part]) -> Explanation:
    """What the difference `actual - expected` of a window comes from.

    Parts of a dimension need not add up to the whole (expectations are made by series, and
    spend may have no value there): what is missing is in the rest. Parts of the same value
    are added. Dimensions of which no value explains a tenth of the change are left out.
    """
    by_dimension: dict[str, dict[str, list[int]]] = {}
    for part in parts:
        sums = by_dimension.setdefault(part.dimension, {}).setdefault(part.value, [0, 0])
        sums[0] += part.expected
        sums[1] += part.actual
    ranked = []
    for dimension, values in by_dimension.items():
        named = _named(expected, actual, dimension, values)
        if named:
            surprise = sum(_surprise(share, expected, actual) for share in named)
            told = sum(_power(share, expected, actual) for share in named)
            # Few values that explain much, and that moved: the others merely grew with the whole.
            score = min(told, 1.0) / len(named) + surprise
            rest = Share(
                dimension,
                REST,
                expected - sum(share.expected for share in named),
                actual - sum(share.actual for share in named),
            )
            whole = named if not (rest.expected or rest.actual) else (*named, rest)
            ranked.append((-score, dimension, whole))
    ranked.sort(key=lambda one: one[:2])
    return Explanation(expected, actual, tuple((name, shares) for _, name, shares in ranked))


def parts_of(dimension: str, expected: Mapping[str, int], actual: Mapping[str, int]) -> list[Part]:
    """Parts from two mappings of a dimension's values; a value absent from one spent 0 there."""
    return [
        Part(dimension, value, expected.get(value, 0), actual.get(value, 0))
        for value in sorted({*expected, *actual})
    ]


def expect_shares(expected: int, past: Mapping[str, int]) -> dict[str, int]:
    """`expected` spread over values as they spent in the past, exactly (largest remainder).

    For values that have no series of their own. A past that adds up to nothing or less
    says nothing: the answer is empty.
    """
    spent = {value: nano for value, nano in past.items() if nano > 0}
    total = sum(spent.values())
    if not total:
        return {}
    sign = -1 if expected < 0 else 1
    split = {value: divmod(abs(expected) * nano, total) for value, nano in spent.items()}
    left = abs(expected) - sum(whole for whole, _ in split.values())
    order = sorted(split, key=lambda value: (-split[value][1], value))
    more = set(order[:left])
    return {value: sign * (split[value][0] + (value in more)) for value in sorted(split)}


def _named(
    expected: int, actual: int, dimension: str, values: Mapping[str, list[int]]
) -> tuple[Share, ...]:
    shares = [Share(dimension, value, *sums) for value, sums in values.items()]
    shares.sort(key=lambda share: (-_power(share, expected, actual), share.value))
    named: list[Share] = []
    told = 0.0
    for share in shares:
        power = _power(share, expected, actual)
        if power < LEAST or told >= ENOUGH or len(named) == MOST:
            break
        named.append(share)
        told += power
    return tuple(named)


def _power(share: Share, expected: int, actual: int) -> float:
    """The part of the whole change that is this value's; 0 when there is no change."""
    change = actual - expected
    return share.difference / change if change else 0.0


def _surprise(share: Share, expected: int, actual: int) -> float:
    """Jensen-Shannon divergence of the value's share before and now, in bits (0 to 0.5)."""
    before = max(share.expected, 0) / expected if expected > 0 else 0.0
    now = max(share.actual, 0) / actual if actual > 0 else 0.0
    middle = (before + now) / 2
    return sum(p * math.log2(p / middle) / 2 for p in (before, now) if p > 0)
