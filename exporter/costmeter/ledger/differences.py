"""Two sets of sums beside each other: what is stored, and what lies under it gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

#: The figures by name of each key of a table.
Sums = dict[tuple[object, ...], dict[str, int]]


class Difference(NamedTuple):
    """One figure that is not what lies under it says."""

    table: str
    key: str
    figure: str
    stored: int
    computed: int

    def __str__(self) -> str:
        return (
            f"{self.table} {self.key}: {self.figure} is {self.stored}, "
            f"what lies under it gives {self.computed}"
        )


def add(sums: dict[str, int], figures: Mapping[str, int]) -> None:
    """Add each figure to the sum of its name."""
    for name, amount in figures.items():
        sums[name] = sums.get(name, 0) + amount


def compare(table: str, stored: Sums, computed: Sums) -> Iterator[Difference]:
    """Every figure that differs; a missing key or figure counts as 0."""
    for key in stored.keys() | computed.keys():
        left, right = stored.get(key, {}), computed.get(key, {})
        for figure in left.keys() | right.keys():
            if left.get(figure, 0) != right.get(figure, 0):
                text = "/".join(str(part) for part in key)
                yield Difference(table, text, figure, left.get(figure, 0), right.get(figure, 0))
