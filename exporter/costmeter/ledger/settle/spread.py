"""Whole amounts in parts that add up to the whole."""

from __future__ import annotations

from collections.abc import Sequence


def spread(amount: int, weights: Sequence[int]) -> list[int]:
    """`amount` in proportion to `weights`; the parts always add up to it.

    By largest remainder: each part is rounded down, and what is left goes, one nano each,
    to the parts that lost most; of equal ones to the first. Weights are >= 0 and one of
    them is positive, or ValueError. A negative amount is spread as its opposite.
    """
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise ValueError("an amount is spread by weights of 0 or more, one of them positive")
    if amount < 0:
        return [-part for part in spread(-amount, weights)]
    parts, lost = [], []
    for place, weight in enumerate(weights):
        part, remainder = divmod(amount * weight, total)
        parts.append(part)
        lost.append((-remainder, place))
    for _, place in sorted(lost)[: amount - sum(parts)]:
        parts[place] += 1
    return parts
